import type { Clock } from '../../lib/clock.js';

/** How late a periodic job begins. */
export interface LagWatch {
  /** From now on the job is expected. */
  start(): void;
  /** The job begins to run. */
  began(): void;
  /** The greatest lag within the last `withinMs` (at most five minutes), that of a run which has not begun yet included. */
  worstMs(withinMs: number): number;
}

const REMEMBER_MS = 300_000;

interface Late {
  readonly at: number;
  readonly ms: number;
}

/** Watches a job that is to begin every `everyMs`, by the monotonic clock. */
export function createLagWatch(clock: Pick<Clock, 'monotonic'>, everyMs: number): LagWatch {
  let begunAt = Number.POSITIVE_INFINITY;
  let late: readonly Late[] = [];
  const presentMs = (now: number): number => Math.max(0, now - begunAt - everyMs);
  return {
    start() {
      begunAt = clock.monotonic();
    },
    began() {
      const now = clock.monotonic();
      const ms = presentMs(now);
      begunAt = now;
      // Only what is greater than all that came later can be the greatest of any time.
      if (ms > 0) late = [...late.filter((one) => one.ms > ms && one.at > now - REMEMBER_MS), { at: now, ms }];
    },
    worstMs(withinMs) {
      const now = clock.monotonic();
      const recent = late.filter(({ at }) => at > now - withinMs);
      return Math.max(presentMs(now), ...recent.map(({ ms }) => ms));
    },
  };
}
