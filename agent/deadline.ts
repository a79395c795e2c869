import type { Clock } from '../lib/clock.js';

/** Thrown where something did not end within the time it was given. */
export class DeadlinePassed extends Error {
  constructor(readonly milliseconds: number) {
    super(`No end within ${milliseconds} ms`);
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
  const work = new AbortController();
  const timer = new AbortController();
  const forward = (): void => work.abort(signal?.reason);
  if (signal?.aborted) forward();
  signal?.addEventListener('abort', forward, { once: true });
  clock.sleep(milliseconds, timer.signal).then(
    () => work.abort(new DeadlinePassed(milliseconds)),
    () => undefined,
  );
  try {
    return await Promise.race([rejectOnAbort(work.signal), action(work.signal)]);
  } finally {
    timer.abort();
    signal?.removeEventListener('abort', forward);
  }
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
