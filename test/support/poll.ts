import { setTimeout as delay } from 'node:timers/promises';

/** Each wait is half as long again as the one before: what comes soon is seen at once, and what takes long costs little. */
const FIRST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 250;

/** Polls until `probe` answers something other than undefined, null or false; fails after `withinMs`, saying what was awaited. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T> | T,
  withinMs = 30_000,
): Promise<NonNullable<T>> {
  const until = performance.now() + withinMs;
  let lastError: unknown;
  let waitMs = FIRST_WAIT_MS;
  while (performance.now() < until) {
    try {
      const value = await probe();
      if (value !== undefined && value !== null && value !== false) return value;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    await delay(waitMs);
    waitMs = Math.min(waitMs * 1.5, LONGEST_WAIT_MS);
  }
  throw new Error(`Not within ${withinMs} ms: ${what}`, { cause: lastError });
}
