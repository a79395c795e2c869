import { expect } from 'chai';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createLog } from '../../../lib/log.js';
import type { CronPort, Job } from '../../../server/scheduler/job.js';
import { createNodeCronPort } from '../../../server/scheduler/node-cron-port.js';
import { createScheduler, type Scheduler } from '../../../server/scheduler/scheduler.js';
import { isFireMissing, isStepped } from '../../../server/scheduler/supervision-rules.js';
import { FakeClock } from '../../support/fake-clock.js';
import { eventually } from '../../support/poll.js';

let warnings = 0;
const log = Object.assign(createLog({ name: 'test', level: 'silent' }), { warn: () => void (warnings += 1) });

/** Fires each second of the wall clock, as node-cron does: never again before the instant it had planned. */
function wallCron(clock: FakeClock) {
  const state = { isBroken: false, armed: 0 };
  const port: CronPort = (_job, fire) => {
    state.armed += 1;
    const stopping = new AbortController();
    let next = Math.floor(clock.wall() / 1000) * 1000 + 1000;
    const loop = async () => {
      for (;;) {
        await clock.sleep(100, stopping.signal);
        if (clock.wall() < next) continue;
        next = Math.floor(clock.wall() / 1000) * 1000 + 1000;
        if (!state.isBroken) fire();
      }
    };
    loop().catch(() => undefined);
    return { nextRunAt: () => next, stop: () => stopping.abort() };
  };
  return { state, port };
}

describe('the scheduler', () => {
  let clock: FakeClock;
  let ran: number;
  let scheduler: Scheduler;
  let cron: ReturnType<typeof wallCron>;
  let action: () => Promise<void>;

  const build = () => {
    const job: Job = { name: 'verdicts', cron: '* * * * * *', run: () => action() };
    return createScheduler({ clock, log, cron: cron.port, jobs: [job], monotonicJobs: [] });
  };
  const runs = () => scheduler.statistics()[0]?.runs;

  beforeEach(() => {
    clock = new FakeClock();
    cron = wallCron(clock);
    ran = 0;
    action = async () => void (ran += 1);
    scheduler = build();
    scheduler.start();
  });
  afterEach(() => scheduler.stop());

  it('runs by cron alone while nothing is wrong', async () => {
    await clock.advance(10_000);
    expect(runs()).to.deep.equal({ cron: 10, wakeup: 0, supervisor: 0 });
    expect(scheduler.statistics()[0]).to.include({ name: 'verdicts', cron: '* * * * * *', lastError: null });
  });

  it('goes on after the wall clock is set back, and sets the schedule anew', async () => {
    await clock.advance(5000);
    clock.stepWall(-3_600_000);
    await clock.advance(10_000);
    expect(ran).to.be.at.least(14);
    expect(runs()?.supervisor).to.equal(1);
    expect(cron.state.armed).to.equal(2);
  });

  it('does not flood after the wall clock is set forward', async () => {
    await clock.advance(5000);
    clock.stepWall(86_400_000);
    await clock.advance(10_000);
    expect(ran).to.be.within(14, 18);
  });

  it('neither floods nor rests while the wall clock gains a second and a half per second', async () => {
    await clock.advance(1500);
    const before = { ran, warnings };
    for (let second = 0; second < 30; second += 1) {
      clock.stepWall(1500);
      await clock.advance(1000);
    }
    expect(ran - before.ran).to.be.within(25, 65);
    expect(runs()?.supervisor).to.be.at.most(2);
    expect(warnings - before.warnings).to.equal(1);
  });

  it('runs the job itself when a fire is missing', async () => {
    await clock.advance(3000);
    cron.state.isBroken = true;
    await clock.advance(10_000);
    expect(runs()?.supervisor).to.be.at.least(3);
  });

  it('never runs a job twice at a time, and runs it again for a wake-up during a run', async () => {
    let running = 0;
    let most = 0;
    action = async () => {
      running += 1;
      most = Math.max(most, running);
      ran += 1;
      await clock.sleep(2500);
      running -= 1;
    };
    const first = scheduler.wake('verdicts');
    const second = scheduler.wake('verdicts');
    const third = scheduler.wake('verdicts');
    await clock.advance(6000);
    await Promise.all([first, second, third]);
    expect(most).to.equal(1);
    expect(runs()?.wakeup).to.equal(2);
    action = async () => {};
    await clock.advance(5000);
  });

  it('keeps a failure in the statistics and goes on', async () => {
    action = async () => {
      ran += 1;
      throw new Error('no luck');
    };
    await clock.advance(3000);
    expect(scheduler.statistics()[0]?.lastError).to.equal('no luck');
    expect(ran).to.equal(3);
    action = async () => {};
    await clock.advance(1000);
    expect(scheduler.statistics()[0]?.lastError).to.equal(null);
  });

  it('runs monotonic jobs whatever the wall clock does', async () => {
    await scheduler.stop();
    let renewed = 0;
    const proof = { name: 'listening-proof', everyMs: 1000, run: async () => void (renewed += 1) };
    scheduler = createScheduler({ clock, log, cron: cron.port, jobs: [], monotonicJobs: [proof] });
    scheduler.start();
    clock.stepWall(-1e9);
    await clock.advance(4500);
    expect(renewed).to.equal(5);
  });

  it('starts nothing after it was stopped', async () => {
    await clock.advance(1000);
    await scheduler.stop();
    const before = ran;
    await scheduler.wake('verdicts');
    await clock.advance(5000);
    expect(ran).to.equal(before);
    expect(clock.sleeping).to.equal(0);
  });
});

describe('the supervision of schedules', () => {
  const before = { wallMs: 1000, monotonicMs: 50 };
  const steps = [
    [{ wallMs: 2000, monotonicMs: 1050 }, false],
    [{ wallMs: 3000, monotonicMs: 1050 }, false],
    [{ wallMs: 3001, monotonicMs: 1050 }, true],
    [{ wallMs: 999, monotonicMs: 1050 }, true],
  ] as const;
  for (const [now, stepped] of steps)
    it(`says ${stepped} for a wall clock at ${now.wallMs}`, () => expect(isStepped(before, now)).to.equal(stepped));
  it('takes a fire for missing only when it is well overdue', () => {
    expect([isFireMissing(null, 9e9), isFireMissing(0, 1500), isFireMissing(0, 1501)]).to.deep.equal([
      false,
      false,
      true,
    ]);
  });
});

describe('the schedules of node-cron', () => {
  it('plans in UTC with seconds and stops', () => {
    const port = createNodeCronPort({ log, wall: () => Date.now() });
    const task = port({ name: 'yearly', cron: '0 0 0 1 1 *' }, () => undefined);
    const next = new Date(task.nextRunAt() ?? 0);
    expect(next.toISOString().slice(5)).to.equal('01-01T00:00:00.000Z');
    task.stop();
  });

  it('do not hold the event loop when the wall clock is set forward by thirty days', async () => {
    const System = Date;
    let stepMs = 0;
    const now = () => System.now() + stepMs;
    class Stepped extends System {
      constructor(...given: readonly [] | readonly [number | string | Date]) {
        super(given[0] ?? now());
      }
      static override now = now;
    }
    let fired = 0;
    globalThis.Date = Stepped as DateConstructor;
    const task = createNodeCronPort({ log, wall: now })(
      { name: 'secondly', cron: '* * * * * *' },
      () => void (fired += 1),
    );
    const delays = monitorEventLoopDelay();
    try {
      await eventually('it has fired', () => fired > 0, 3000);
      delays.enable();
      stepMs = 30 * 86_400_000;
      const before = fired;
      await eventually('it fires again', () => fired > before + 1, 6000);
      expect(delays.max / 1e6).to.be.lessThan(1000);
    } finally {
      task.stop();
      globalThis.Date = System;
    }
  });
});
