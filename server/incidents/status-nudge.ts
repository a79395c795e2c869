import type { Clock } from '../../lib/clock.js';
import type { StatusWriter } from '../statuses/status.js';

/** Says that statuses are being stored, so that who follows them need not wait for its schedule. */
export interface StatusNudge {
  nudge(): void;
  /** Calls `fire` a moment after nudges, once for many, until the signal. */
  wakeUps(signal: AbortSignal, fire: () => Promise<void>): Promise<void>;
}

/** What is stored is committed by then, mostly; the schedule finds the rest. */
const COMMIT_MS = 200;
const LONGEST_SLEEP_MS = 60_000;

export function createStatusNudge(clock: Pick<Clock, 'sleep'>): StatusNudge {
  let isNudged = false;
  let rearm = new AbortController();
  const sleep = async (ms: number, signal: AbortSignal): Promise<void> => {
    try {
      await clock.sleep(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  };
  return {
    nudge() {
      isNudged = true;
      rearm.abort();
    },
    async wakeUps(signal, fire) {
      while (!signal.aborted) {
        rearm = new AbortController();
        if (!isNudged) await sleep(LONGEST_SLEEP_MS, AbortSignal.any([signal, rearm.signal]));
        if (!isNudged) continue;
        await sleep(COMMIT_MS, signal);
        isNudged = false;
        await fire();
      }
    },
  };
}

/** The writer, which nudges with every batch of transitions that is being stored. */
export function nudging(statuses: StatusWriter, { nudge }: Pick<StatusNudge, 'nudge'>): StatusWriter {
  return {
    ...statuses,
    async apply(sql, transitions, noticedAt) {
      await statuses.apply(sql, transitions, noticedAt);
      if (transitions.length > 0) nudge();
    },
  };
}
