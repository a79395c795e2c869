import type { Clock } from './clock.js';

export interface DeadlineOptions {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly milliseconds: number;
  readonly signal?: AbortSignal | undefined;
  /** Asked when the time is over: how many milliseconds more there are; none at 0 or less. */
  readonly more?: (() => number) | undefined;
  /** What the work is aborted with at its deadline, after so many milliseconds. */
  readonly reason: (afterMs: number) => Error;
}

/**
 * Runs `work` with a signal that is aborted at the deadline or with the outer signal, and settles when the work does. Its
 * timer never outlives it.
 */
export async function withDeadline<T>(options: DeadlineOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal, reason } = options;
  const limited = new AbortController();
  const timer = new AbortController();
  const forward = (): void => limited.abort(signal?.reason);
  if (signal?.aborted) forward();
  signal?.addEventListener('abort', forward, { once: true });
  waitFor(options, timer.signal).then(
    (afterMs) => limited.abort(reason(afterMs)),
    () => undefined,
  );
  try {
    return await work(limited.signal);
  } finally {
    timer.abort();
    signal?.removeEventListener('abort', forward);
  }
}

async function waitFor({ clock, milliseconds, more }: DeadlineOptions, signal: AbortSignal): Promise<number> {
  let total = 0;
  for (let left = milliseconds; left > 0; left = more?.() ?? 0) {
    await clock.sleep(left, signal);
    total += left;
  }
  return total;
}
