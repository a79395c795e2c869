import type { Clock } from './clock.js';

export interface DeadlineOptions {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly milliseconds: number;
  readonly signal?: AbortSignal | undefined;
  /** Asked when the time is over: how many milliseconds more there are; none below 1, by which a timer may be early. */
  readonly more?: (() => number) | undefined;
  /** What the work is aborted with at its deadline, after so many milliseconds. */
  readonly reason: (afterMs: number) => Error;
}

/** A timer may fire so much before its time (libuv counts whole milliseconds). */
const TIMER_ROUNDING_MS = 1;

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
  let left = milliseconds;
  while (left > 0) {
    await clock.sleep(left, signal);
    total += left;
    const asked = more?.() ?? 0;
    left = asked < TIMER_ROUNDING_MS ? 0 : asked;
  }
  return total;
}
