import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { CronPort, CronTask, Job, JobStatistics, MonotonicJob } from './job.js';
import { JobRunner, type JobChange } from './job-runner.js';
import { isFireMissing, isStepped, type ClockReading } from './supervision-rules.js';

export interface SchedulerDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly cron: CronPort;
  readonly jobs: readonly Job[];
  readonly monotonicJobs: readonly MonotonicJob[];
  /** Told of every job that begins to fail or runs again. */
  readonly onJobChange?: (change: JobChange) => void;
}

export interface Scheduler {
  start(): void;
  /** No run begins any more; resolves when those under way have ended. */
  stop(): Promise<void>;
  /** Starts a cron job at once, beside its schedule; resolves after a run that began after the call. Never rejects. */
  wake(name: string): Promise<void>;
  /** What is wanted beside the schedules, until `stop`: the loop gets the scheduler's signal. */
  addLoop(name: string, loop: (signal: AbortSignal) => Promise<void>): void;
  statistics(): JobStatistics[];
}

/** What a step begins (a line in the log, a run of every job) is not begun again for so long. */
const STEP_HANDLED_FOR_MS = 60_000;
const SUPERVISE_EVERY_MS = 1000;

export function createScheduler(deps: SchedulerDeps): Scheduler {
  return new SupervisedScheduler(deps);
}

interface Armed {
  readonly job: Job;
  readonly runner: JobRunner;
  task: CronTask | undefined;
  /** The monotonic instant of the next fire; null when there is none. */
  dueAt: number | null;
}

/** node-cron fires by the wall clock and stops when it is set back; a monotonic loop watches it. */
class SupervisedScheduler implements Scheduler {
  readonly #deps: SchedulerDeps;
  readonly #stopping = new AbortController();
  readonly #armed: Armed[];
  readonly #monotonic: { readonly job: MonotonicJob; readonly runner: JobRunner }[];
  readonly #loops: Promise<void>[] = [];
  /** Loops that were added before the start and begin with it; undefined afterwards. */
  #waiting: (() => void)[] | undefined = [];
  #reading: ClockReading;
  #stepHandledAt = Number.NEGATIVE_INFINITY;

  constructor(deps: SchedulerDeps) {
    this.#deps = deps;
    const runnerDeps = { clock: deps.clock, log: deps.log, signal: this.#stopping.signal, onChange: deps.onJobChange };
    this.#armed = deps.jobs.map((job) => ({
      job,
      runner: new JobRunner(job, runnerDeps),
      task: undefined,
      dueAt: null,
    }));
    this.#monotonic = deps.monotonicJobs.map((job) => ({ job, runner: new JobRunner(job, runnerDeps) }));
    this.#reading = this.#readClocks();
  }

  start(): void {
    this.#reading = this.#readClocks();
    for (const armed of this.#armed) this.#arm(armed);
    for (const { job, runner } of this.#monotonic)
      this.addLoop(job.name, (signal) => this.#every(job.everyMs, signal, () => void runner.start('supervisor')));
    this.addLoop('supervisor', (signal) => this.#every(SUPERVISE_EVERY_MS, signal, () => this.#supervise()));
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const begin of waiting) begin();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const { task } of this.#armed) task?.stop();
    await Promise.all(this.#loops);
    await Promise.all([...this.#armed, ...this.#monotonic].map(({ runner }) => runner.idle()));
  }

  wake(name: string): Promise<void> {
    const armed = this.#armed.find(({ job }) => job.name === name);
    if (!armed) throw new Error(`No job is called ${name}`);
    return armed.runner.startAfresh('wakeup');
  }

  addLoop(name: string, loop: (signal: AbortSignal) => Promise<void>): void {
    if (this.#waiting) this.#waiting.push(() => this.#begin(name, loop));
    else this.#begin(name, loop);
  }

  #begin(name: string, loop: (signal: AbortSignal) => Promise<void>): void {
    const { signal } = this.#stopping;
    const ended = loop(signal).catch((error: unknown) => {
      if (!signal.aborted) this.#deps.log.error({ err: error, loop: name }, 'a loop ended');
    });
    this.#loops.push(ended);
  }

  statistics(): JobStatistics[] {
    const cronJobs = this.#armed.map(({ job, runner, task }) => ({
      ...runner.statistics(),
      cron: job.cron,
      nextRunAt: task?.nextRunAt() ?? null,
    }));
    const others = this.#monotonic.map(({ runner }) => ({ ...runner.statistics(), cron: null, nextRunAt: null }));
    return [...cronJobs, ...others];
  }

  async #every(ms: number, signal: AbortSignal, action: () => void): Promise<void> {
    while (!signal.aborted) {
      action();
      await this.#deps.clock.sleep(ms, signal);
    }
  }

  #arm(armed: Armed): void {
    armed.task?.stop();
    armed.task = this.#deps.cron(armed.job, () => {
      this.#setDue(armed);
      void armed.runner.start('cron');
    });
    this.#setDue(armed);
  }

  #setDue(armed: Armed): void {
    const { clock } = this.#deps;
    const nextRunAt = armed.task?.nextRunAt() ?? null;
    armed.dueAt = nextRunAt === null ? null : clock.monotonic() + Math.max(0, nextRunAt - clock.wall());
  }

  #supervise(): void {
    const before = this.#reading;
    this.#reading = this.#readClocks();
    const stepped = isStepped(before, this.#reading);
    const isNews = stepped && this.#isNewStep();
    if (isNews) this.#deps.log.warn('the wall clock was stepped; the schedules are set anew');
    for (const armed of this.#armed) {
      const isMissing = isFireMissing(armed.dueAt, this.#reading.monotonicMs);
      if (stepped || isMissing) this.#arm(armed);
      if (isNews || isMissing) void armed.runner.start('supervisor');
    }
  }

  /** A clock that gains a second per second steps at every look: that floods neither the log nor the jobs. */
  #isNewStep(): boolean {
    const { monotonicMs } = this.#reading;
    if (monotonicMs - this.#stepHandledAt < STEP_HANDLED_FOR_MS) return false;
    this.#stepHandledAt = monotonicMs;
    return true;
  }

  #readClocks(): ClockReading {
    return { wallMs: this.#deps.clock.wall(), monotonicMs: this.#deps.clock.monotonic() };
  }
}
