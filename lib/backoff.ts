import type { Random } from './random.js';

export interface BackoffOptions {
  readonly firstMs: number;
  readonly capMs: number;
}

/**
 * Exponential back-off with full jitter applied after the cap (the herd of a clamped jitter is what it avoids):
 * a delay spread evenly from 0 to min(cap, first · 2^attempt). `attempt` counts from 0.
 */
export function backoffDelayMs(
  attempt: number,
  { firstMs, capMs }: BackoffOptions,
  random: Pick<Random, 'fraction'>,
): number {
  const ceiling = Math.min(capMs, firstMs * 2 ** Math.min(attempt, 30));
  return Math.floor(random.fraction() * ceiling);
}
