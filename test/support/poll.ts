import { setTimeout as delay } from 'node:timers/promises';

/** Polls until `probe` answers something other than undefined, null or false; fails after `withinMs`, saying what was awaited. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T> | T,
  withinMs = 30_000,
): Promise<NonNullable<T>> {
  const until = performance.now() + withinMs;
  let lastError: unknown;
  while (performance.now() < until) {
    try {
      const value = await probe();
      if (value !== undefined && value !== null && value !== false) return value;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    await delay(100);
  }
  throw new Error(`Not within ${withinMs} ms: ${what}`, { cause: lastError });
}
