/** How much of the runs of each property is enough for now, 0 to 1: mutation testing runs each property thousands of times. */
const share = Number(process.env['WARDBEAT_TEST_PROPERTY_SHARE'] ?? 1);
const LEAST_RUNS = 40;

/** The parameters of a property of so many runs; the same cases each time where only a share of them is run. */
export function runs(count: number): { readonly numRuns: number; readonly seed?: number } {
  return share < 1 ? { numRuns: Math.max(LEAST_RUNS, Math.round(count * share)), seed: 1 } : { numRuns: count };
}

/** How many of so many cases are to be expected of the runs that are made. */
export function shareOf(count: number): number {
  return count * Math.min(share, 1);
}
