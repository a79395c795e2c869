/** A named periodic job. It never overlaps itself, whoever starts it. */
export interface Job {
  readonly name: string;
  /** A cron expression of six fields, seconds first, UTC. */
  readonly cron: string;
  run(signal: AbortSignal): Promise<void>;
}

/** Proof and clock keeping: by the monotonic timer, never by the wall clock. */
export interface MonotonicJob {
  readonly name: string;
  readonly everyMs: number;
  run(signal: AbortSignal): Promise<void>;
}

export const RUN_CAUSES = ['cron', 'wakeup', 'supervisor'] as const;
export type RunCause = (typeof RUN_CAUSES)[number];

/** What GET /system/jobs tells; instants are wall milliseconds. */
export interface JobStatistics {
  readonly name: string;
  readonly cron: string | null;
  readonly lastRunAt: number | null;
  readonly nextRunAt: number | null;
  readonly lastDurationMs: number | null;
  readonly runs: Readonly<Record<RunCause, number>>;
  readonly lastError: string | null;
}

/** A schedule that fires by the wall clock. */
export interface CronTask {
  /** Wall milliseconds; null when it never fires again. */
  nextRunAt(): number | null;
  stop(): void;
}

export type CronPort = (job: Pick<Job, 'name' | 'cron'>, fire: () => void) => CronTask;
