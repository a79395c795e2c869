import type { Clock } from './clock.js';

export interface DeadlineOptions {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly milliseconds: number;
  readonly signal?: AbortSignal | undefined;
  /** What the work is aborted with at its deadline. */
  readonly reason: () => Error;
}

/**
 * Runs `work` with a signal that is aborted at the deadline or with the outer signal, and settles when the work does. Its
 * timer never outlives it.
 */
export async function withDeadline<T>(options: DeadlineOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, milliseconds, signal, reason } = options;
  const limited = new AbortController();
  const timer = new AbortController();
  const forward = (): void => limited.abort(signal?.reason);
  if (signal?.aborted) forward();
  signal?.addEventListener('abort', forward, { once: true });
  clock.sleep(milliseconds, timer.signal).then(
    () => limited.abort(reason()),
    () => undefined,
  );
  try {
    return await work(limited.signal);
  } finally {
    timer.abort();
    signal?.removeEventListener('abort', forward);
  }
}
