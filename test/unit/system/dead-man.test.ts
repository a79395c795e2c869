import { expect } from 'chai';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createDeadMan, type DeadMan } from '../../../server/system/dead-man.js';
import { FakeClock } from '../../support/fake-clock.js';

describe("the dead man's ping", () => {
  let receiver: Server;
  let status: number;
  let pings: string[];
  let faults: Record<string, string | null>;
  let worstLagMs: number;
  let said: unknown[];
  let clock: FakeClock;
  let deadMan: DeadMan;

  before((done) => {
    receiver = createServer((request, response) => {
      pings.push(request.url ?? '');
      response.writeHead(status).end();
    });
    receiver.listen(0, '127.0.0.1', done);
  });
  after((done) => void receiver.close(done));
  beforeEach(() => {
    [status, pings, faults, worstLagMs, said] = [200, [], { database: null, verdicts: null }, 0, []];
    clock = new FakeClock();
    const note = (...words: unknown[]) => void said.push(words);
    deadMan = createDeadMan({
      url: `http://user:canary@127.0.0.1:${(receiver.address() as AddressInfo).port}/canary`,
      checks: Object.keys(faults).map((name) => ({ name, check: async () => faults[name] ?? null })),
      lag: { worstMs: () => worstLagMs },
      clock,
      log: { info: note, warn: note } as never,
    });
  });
  const tick = () => deadMan.tick(new AbortController().signal);

  it('is sent while all is well, and remembered', async () => {
    expect(deadMan.state()).to.include({ lastOkAt: null, lastError: null, withheld: null });
    await tick();
    expect(pings).to.deep.equal(['/canary']);
    expect(deadMan.state()).to.deep.include({ lastOkAt: clock.fleet(), results: { ok: 1, failed: 0, withheld: 0 } });
  });

  for (const [what, spoil] of [
    ['a check does not hold', () => (faults['verdicts'] = 'held: draining')],
    ['verdicts are looked for late', () => (worstLagMs = 5000)],
  ] as const)
    it(`is not sent while ${what}`, async () => {
      spoil();
      await tick();
      expect(pings).to.deep.equal([]);
      expect(deadMan.state().withheld).to.match(/^verdicts: /);
      [faults, worstLagMs] = [{}, 0];
      await tick();
      expect(pings).to.have.length(1);
      expect(deadMan.state()).to.deep.include({ withheld: null, results: { ok: 1, failed: 0, withheld: 1 } });
    });

  it('is not sent while a check is not answered', async () => {
    const slow = { name: 'database', check: () => new Promise<null>(() => undefined) };
    const asked = createDeadMan({
      url: 'http://127.0.0.1:1/',
      checks: [slow],
      lag: undefined,
      clock,
      log: {} as never,
    });
    const ticked = asked.tick(new AbortController().signal);
    await clock.advance(2000);
    await ticked;
    expect(asked.state().withheld).to.contain('no answer');
  });

  it('says once why it is not taken, and shows nothing but the origin', async () => {
    status = 410;
    await tick();
    await tick();
    expect(deadMan.state()).to.include({ lastOkAt: null, lastError: 'answered 410' });
    expect(said).to.have.length(1);
    status = 200;
    await tick();
    expect(deadMan.state().lastError).to.equal(null);
    expect(said).to.have.length(2);
    expect(JSON.stringify([said, deadMan.state()]))
      .to.contain('http://127.0.0.1')
      .and.not.contain('canary');
  });
});
