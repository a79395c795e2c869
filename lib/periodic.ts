import type { Clock } from './clock.js';
import { shareRun, type Lifecycle } from './lifecycle.js';

export interface PeriodicOptions {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly everyMs: number;
  /** Reports its own failures; a rejection ends nothing. */
  readonly action: () => Promise<void>;
}

/** Runs an action again and again, `everyMs` after the run before has ended, and once more at the stop. */
export function createPeriodic({ clock, everyMs, action }: PeriodicOptions): Lifecycle {
  let aborter: AbortController | undefined;
  let running: Promise<void> = Promise.resolve();
  const loop = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await clock.sleep(everyMs, signal).catch(() => undefined);
      await action().catch(() => undefined);
    }
  };
  return {
    start: shareRun(async () => {
      if (aborter) return;
      aborter = new AbortController();
      running = loop(aborter.signal);
    }),
    stop: shareRun(async () => {
      aborter?.abort();
      aborter = undefined;
      await running;
      await action().catch(() => undefined);
    }),
  };
}
