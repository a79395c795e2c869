import { expect } from 'chai';

import { SecondWay, type OpenWay } from '../../../agent/transport/second-way.js';
import type { ManagerConnection } from '../../../agent/transport/tls-connection.js';
import { ManagerRefusal, TransportError } from '../../../agent/transport/transport-error.js';
import { FakeClock } from '../../support/fake-clock.js';

const ATTEMPT_MS = 10_000;

/** What a proxy does with a report: the milliseconds until the answer, or what is thrown at once. */
type Conduct = number | Error;

describe('the second way of a report', () => {
  let clock: FakeClock;
  let ways: SecondWay;
  let opened: string[];
  let closed: string[];
  let posted: { readonly way: string; readonly body: string }[];

  const connectionOf = (way: string, conduct: Conduct, hasAnotherWay: boolean): ManagerConnection => ({
    managerUrl: 'https://m:4120',
    proxy: way,
    carrier: { kind: 'dial', route: way },
    warning: undefined,
    hasAnotherWay,
    async post(_path, body, signal) {
      posted.push({ way, body });
      if (conduct instanceof Error) throw conduct;
      await clock.sleep(conduct, signal);
      return way;
    },
    close: () => void closed.push(way),
  });
  /** Ways in their order, each with what it does; more than one is another way for each. */
  const opening = (...conducts: Conduct[]): OpenWay => {
    let next = 0;
    return () => {
      const way = `p${next % conducts.length}`;
      const conduct = conducts[next % conducts.length]!;
      next += 1;
      opened.push(way);
      return Promise.resolve(connectionOf(way, conduct, conducts.length > 1));
    };
  };
  const report = async (open: OpenWay, signal = new AbortController().signal) => {
    const begun = clock.monotonic();
    const limit = AbortSignal.any([signal]);
    const connection = await ways.connect({ open }, ATTEMPT_MS, limit);
    const answer = connection.post('/r', 'body', limit).then(
      (way) => ({ way, afterMs: clock.monotonic() - begun, connection }),
      (error: Error) => ({ error, afterMs: clock.monotonic() - begun, connection }),
    );
    await clock.advance(ATTEMPT_MS);
    return answer;
  };

  beforeEach(() => {
    clock = new FakeClock();
    ways = new SecondWay(clock);
    [opened, closed, posted] = [[], [], []];
  });

  it('is taken with the same bytes after half of the attempt, and told', async () => {
    const { way, afterMs, connection } = (await report(opening(60_000, 10))) as { way: string; afterMs: number } & {
      connection: ManagerConnection;
    };
    expect([way, afterMs]).to.deep.equal(['p1', 5010]);
    expect(posted).to.deep.equal([
      { way: 'p0', body: 'body' },
      { way: 'p1', body: 'body' },
    ]);
    expect([connection.proxy, connection.carrier, closed]).to.deep.equal(['p1', { kind: 'dial', route: 'p1' }, ['p0']]);
    expect(connection.warning).to.include({ code: 'timeout' });
    expect(connection.warning?.message).to.contain('proxy p0');
  });

  it('is taken at once where the first one is cut', async () => {
    const cut = new TransportError('reset', 'cut');
    expect(await report(opening(cut, 10))).to.include({ way: 'p1', afterMs: 10 });
  });

  it('is not taken where there is none, where the manager refused, nor after the end of the attempt', async () => {
    expect(await report(opening(7000))).to.include({ way: 'p0', afterMs: 7000 });
    const refusal = new ManagerRefusal('unavailable', 503, { detail: 'no' });
    expect(await report(opening(refusal, 10))).to.include({ error: refusal });
    expect(opened).to.deep.equal(['p0', 'p0']);
    const aborted = AbortSignal.abort(new Error('over'));
    expect(await report(opening(60_000, 10), aborted)).to.have.property('error');
    expect(opened).to.have.length(3);
  });

  it('leaves a slow line the whole time of every second attempt', async () => {
    const silent = new TransportError('proxy-unreachable', 'gone');
    const slow = opening(7000, silent);
    expect(await report(slow)).to.include({ error: silent });
    expect(await report(slow)).to.include({ way: 'p0', afterMs: 7000 });
    expect(await report(opening(60_000, 10))).to.include({ way: 'p1', afterMs: 5010 });
  });

  it('closes what is opened after its end', async () => {
    let give: ((connection: ManagerConnection) => void) | undefined;
    const first = connectionOf('p0', new TransportError('reset', 'cut'), true);
    const open = (): Promise<ManagerConnection> =>
      opened.push('p') === 1 ? Promise.resolve(first) : new Promise((resolve) => (give = resolve));
    const connection = await ways.connect({ open }, ATTEMPT_MS, new AbortController().signal);
    const answer = connection.post('/r', 'body', new AbortController().signal);
    await clock.advance(1);
    connection.close();
    give!(connectionOf('p1', 10, true));
    await clock.advance(100);
    await answer;
    expect(closed).to.include('p1');
  });
});
