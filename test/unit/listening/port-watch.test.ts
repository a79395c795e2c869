import { expect } from 'chai';
import { createLog } from '../../../lib/log.js';
import { createPortWatch } from '../../../server/listening/port-watch.js';
import type { DialReport } from '../../../server/listening/self-dialler.js';
import { FakeClock } from '../../support/fake-clock.js';

const START = 1_000_000;
const log = createLog({ name: 'test', level: 'silent' });
const ANSWERED: DialReport = { fault: null, tookMs: 3, isVoid: false };
const REFUSED: DialReport = { fault: 'connect ECONNREFUSED', tookMs: 1, isVoid: false };

describe('the watch of the agent port', () => {
  function world() {
    const clock = new FakeClock(START);
    const begun: [string, number][] = [];
    const ended: string[] = [];
    const seen = { handshakes: 0, dials: 0 };
    let answer: (report: DialReport) => void = () => undefined;
    const watch = createPortWatch({
      dialler: {
        dial: () => {
          seen.dials += 1;
          return new Promise((resolve) => (answer = resolve));
        },
      },
      ledger: {
        beginDeaf: (cause, since) => void begun.push([cause, since - START]),
        endDeaf: (cause) => void ended.push(cause),
      },
      fleetClock: clock,
      log,
    });
    watch.open({ host: '127.0.0.1', port: 4120, handshakes: () => seen.handshakes });
    const stopping = new AbortController();
    const look = async (report: DialReport, tookMs = 3) => {
      const looked = watch.look(stopping.signal);
      await clock.advance(tookMs);
      answer(report);
      await looked;
    };
    return { clock, watch, begun, ended, seen, stopping, look, reply: (report: DialReport) => answer(report) };
  }

  it('tells that the port does not accept since the last look that was answered', async () => {
    const { clock, begun, ended, look } = world();
    await clock.advance(2000);
    await look(ANSWERED);
    await clock.advance(1997);
    await look(REFUSED);
    expect(begun).to.deep.equal([['not-accepting', 2000]]);
    await look(ANSWERED);
    expect(ended).to.deep.equal(['not-accepting', 'not-accepting']);
  });

  it('takes the beginning of the watch for answered', async () => {
    const { begun, look } = world();
    await look(REFUSED, 4000);
    expect(begun).to.deep.equal([['not-accepting', 0]]);
  });

  it('believes who else got through at the same time', async () => {
    const { begun, seen, watch, clock, stopping } = world();
    const looked = watch.look(stopping.signal);
    await clock.advance(1501);
    expect(watch.isInDoubt()).to.equal(true);
    seen.handshakes += 1;
    expect(watch.isInDoubt()).to.equal(false);
    stopping.abort();
    await looked;
    expect(begun).to.deep.equal([]);
  });

  it('is in doubt while a handshake waits for too long, and no more when it ended', async () => {
    const { watch, clock, stopping, reply } = world();
    const looked = watch.look(stopping.signal);
    await clock.advance(1500);
    expect(watch.isInDoubt()).to.equal(false);
    await clock.advance(1);
    expect(watch.isInDoubt()).to.equal(true);
    reply({ ...REFUSED, fault: 'handshake timeout' });
    await looked;
    expect(watch.isInDoubt()).to.equal(false);
  });

  it('says nothing where the other thread did not run', async () => {
    const { begun, ended, look } = world();
    await look({ ...REFUSED, isVoid: true });
    expect([begun, ended]).to.deep.equal([[], []]);
  });

  for (const [what, report] of [
    ['could not be told', { ...REFUSED, isVoid: true }],
    ['was told late', ANSWERED],
  ] as const)
    it(`looks again at once where a pause lay in the look and it ${what}, so that the next one is dated after it`, async () => {
      const { clock, begun, seen, watch, stopping, look, reply } = world();
      await look(ANSWERED);
      const looked = watch.look(stopping.signal);
      await clock.advance(15_000);
      reply(report);
      await clock.advance(0);
      expect(seen.dials).to.equal(3);
      reply(ANSWERED);
      await looked;
      await clock.advance(2000);
      await look({ ...REFUSED, fault: 'handshake timeout' }, 5000);
      expect(begun).to.deep.equal([['not-accepting', 15_003]]);
      expect(seen.dials).to.equal(4);
    });

  it('looks again once only', async () => {
    const { clock, seen, watch, stopping, reply } = world();
    const looked = watch.look(stopping.signal);
    for (let dials = 1; dials <= 2; dials += 1) {
      expect(seen.dials).to.equal(dials);
      await clock.advance(15_000);
      reply({ ...REFUSED, isVoid: true });
      await clock.advance(0);
    }
    await looked;
    expect(seen.dials).to.equal(2);
  });

  it('does not look before the port is open', async () => {
    const { clock, seen } = world();
    const watch = createPortWatch({
      dialler: { dial: () => Promise.reject(new Error('nobody dials')) },
      ledger: { beginDeaf: () => undefined, endDeaf: () => undefined },
      fleetClock: clock,
      log,
    });
    await watch.look(new AbortController().signal);
    expect([watch.port(), watch.isInDoubt(), seen.dials]).to.deep.equal([undefined, false, 0]);
  });
});
