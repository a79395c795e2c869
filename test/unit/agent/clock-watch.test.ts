import { expect } from 'chai';
import { changeWhileAway, watchClock } from '../../../agent/clock-watch.js';
import type { IncomingEvent } from '../../../agent/spool/event-intake.js';
import { FakeClock } from '../../support/fake-clock.js';

const HOUR = 3_600_000;

describe('the watch over the clocks of a computer', () => {
  let clock: FakeClock;
  let stopping: AbortController;
  let watching: Promise<void>;
  let events: IncomingEvent[];
  /** What the boot clock has not noticed yet. */
  let bootLagMs: number;

  beforeEach(() => {
    clock = new FakeClock();
    stopping = new AbortController();
    events = [];
    bootLagMs = 0;
    const seen = {
      wall: clock.wall,
      monotonic: () => clock.monotonic(),
      boot: () => clock.boot() - bootLagMs,
      sleep: (ms: number, signal?: AbortSignal) => clock.sleep(ms, signal),
    };
    watching = watchClock(seen, stopping.signal, async (event) => void events.push(event));
  });
  afterEach(async () => {
    stopping.abort();
    await clock.advance(2000);
    await watching;
  });

  const told = () => events.map(({ kind, code, data }) => [kind, code, data]);

  it('tells each step once, with its size', async () => {
    await clock.advance(3000);
    clock.stepWall(90_000);
    await clock.advance(5000);
    clock.stepWall(-HOUR);
    await clock.advance(5000);
    expect(events.map(({ code, data }) => [code, (data as { stepMs: number }).stepMs])).to.deep.equal([
      [5004, 90_000],
      [5004, -HOUR],
    ]);
  });

  it('says nothing of a slew, nor of a process that was stopped for hours', async () => {
    for (let n = 0; n < 100; n += 1) {
      clock.stepWall(1);
      await clock.advance(1000);
    }
    await clock.jump(8 * HOUR);
    await clock.advance(3000);
    expect(told()).to.deep.equal([]);
  });

  it('takes no lag of the boot clock for a step', async () => {
    await clock.advance(900);
    await clock.jump(8 * HOUR);
    bootLagMs = 8 * HOUR;
    await clock.advance(150);
    bootLagMs = 0;
    await clock.advance(5000);
    expect(told().filter(([kind]) => kind === 'clock-changed')).to.deep.equal([]);
  });
});

describe('a clock that was set while no agent ran', () => {
  const anchor = { bootId: 'boot-1', boot: 10_000, managerWall: 0 };
  const last = { lastExchangeAt: 1_000_000, anchor };
  const away = (changes: object) =>
    changeWhileAway(last, { bootId: 'boot-1', wall: 1_060_000, boot: 70_000, ...changes })?.data;

  it('is told as the difference between wall clock and boot clock since the last exchange', () => {
    expect(away({ wall: 1_260_000 })).to.include({ stepMs: 200_000 });
    expect(away({ wall: 860_000 })).to.include({ stepMs: -200_000 });
  });

  it('is told once, also to a manager that is away: what an event told already is known', () => {
    const clockTold = { bootId: 'boot-1', wall: 1_250_000, boot: 60_000 };
    const since = (changes: object) =>
      changeWhileAway(
        { ...last, clockTold: { ...clockTold, ...changes } },
        { ...clockTold, wall: 1_260_000, boot: 70_000 },
      )?.data;
    expect(since({})).to.equal(undefined);
    expect(since({ wall: 1_240_000 })).to.include({ stepMs: 10_000 });
    expect(since({ boot: 9000 }), 'older than the exchange').to.include({ stepMs: 200_000 });
    expect(since({ bootId: 'boot-0' }), 'of another boot').to.include({ stepMs: 200_000 });
  });

  it('is nothing within a second, after another boot, or before any exchange', () => {
    expect(away({})).to.equal(undefined);
    expect(away({ wall: 1_060_900 })).to.equal(undefined);
    expect(away({ bootId: 'boot-2', wall: 9_000_000 })).to.equal(undefined);
    expect(changeWhileAway({}, { bootId: 'boot-1', wall: 9_000_000, boot: 70_000 })).to.equal(undefined);
  });
});
