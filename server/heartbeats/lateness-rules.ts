/**
 * Upper bounds of the buckets of lateness, milliseconds, inclusive. Lateness is the receipt less the instant at which
 * contact was due: the first bucket holds what came on time or early (a confirmation, a drain, a restarted agent), the
 * one after the last bound everything later. What is stored refers to these by place, so that they are never changed.
 */
export const LATENESS_BOUNDS_MS: readonly number[] = [
  0, 50, 100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
  21_600_000, 86_400_000,
];

export const LATENESS_BUCKETS = LATENESS_BOUNDS_MS.length + 1;

/** The place of the bucket that a lateness falls into. */
export function latenessBucket(latenessMs: number): number {
  const place = LATENESS_BOUNDS_MS.findIndex((bound) => latenessMs <= bound);
  return place === -1 ? LATENESS_BOUNDS_MS.length : place;
}
