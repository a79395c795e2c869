import type { Clock } from '../lib/clock.js';
import { withDeadline as limit } from '../lib/deadline.js';

/** Thrown where something did not end within the time it was given. */
export class DeadlinePassed extends Error {
  constructor(readonly milliseconds: number) {
    super(`No end within ${Math.round(milliseconds)} ms`);
    this.name = 'DeadlinePassed';
  }
}

export interface DeadlineOptions {
  readonly clock: Clock;
  readonly milliseconds: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs `action` with a signal that is aborted after the milliseconds (reason `DeadlinePassed`) or with the outer
 * signal. Settles at the deadline even where the action ignores its signal.
 */
export async function withDeadline<T>(
  { clock, milliseconds, signal }: DeadlineOptions,
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const reason = (): Error => new DeadlinePassed(milliseconds);
  return limit({ clock, milliseconds, signal, reason }, (limited) =>
    Promise.race([rejectOnAbort(limited), action(limited)]),
  );
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

/** Sleeps; an abort of the signal ends the sleep early instead of throwing. */
export async function sleepUnlessAborted(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
