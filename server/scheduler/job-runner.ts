import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { JobStatistics, RunCause } from './job.js';

interface Runnable {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
}

/** A job began to fail, fails for another reason, or runs again. */
export interface JobChange {
  readonly job: string;
  readonly error: string | null;
}

interface RunnerDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly onChange?: ((change: JobChange) => void) | undefined;
}

/** Runs one job, once at a time, and counts who started it. A failure is logged when it is not the one before. */
export class JobRunner {
  readonly #job: Runnable;
  readonly #deps: RunnerDeps;
  #running: Promise<void> | undefined;
  #following: Promise<void> | undefined;
  readonly #runs: Record<RunCause, number> = { cron: 0, wakeup: 0, supervisor: 0 };
  #lastRunAt: number | null = null;
  #lastDurationMs: number | null = null;
  #lastError: string | null = null;

  constructor(job: Runnable, deps: RunnerDeps) {
    this.#job = job;
    this.#deps = deps;
  }

  /** Runs now, or does nothing while a run is under way; never rejects. */
  start(cause: RunCause): Promise<void> {
    if (this.#deps.signal.aborted) return Promise.resolve();
    this.#running ??= this.#runOnce(cause).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** A run that begins after this call: the one under way may have looked already. Never rejects. */
  startAfresh(cause: RunCause): Promise<void> {
    if (!this.#running) return this.start(cause);
    this.#following ??= this.#running.then(() => {
      this.#following = undefined;
      return this.start(cause);
    });
    return this.#following;
  }

  /** Resolves when nothing runs any more. */
  async idle(): Promise<void> {
    await this.#following;
    await this.#running;
  }

  statistics(): Omit<JobStatistics, 'cron' | 'nextRunAt'> {
    return {
      name: this.#job.name,
      lastRunAt: this.#lastRunAt,
      lastDurationMs: this.#lastDurationMs,
      runs: { ...this.#runs },
      lastError: this.#lastError,
    };
  }

  async #runOnce(cause: RunCause): Promise<void> {
    const { clock, log, signal } = this.#deps;
    this.#runs[cause] += 1;
    this.#lastRunAt = Math.floor(clock.wall());
    const startedAt = clock.monotonic();
    try {
      await this.#job.run(signal);
      this.#setError(null);
    } catch (error) {
      if (signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      if (message !== this.#lastError) log.error({ err: error, job: this.#job.name }, 'a job failed');
      this.#setError(message);
    } finally {
      this.#lastDurationMs = Math.round(clock.monotonic() - startedAt);
    }
  }
  #setError(error: string | null): void {
    if (error === this.#lastError) return;
    this.#lastError = error;
    this.#deps.onChange?.({ job: this.#job.name, error });
  }
}
