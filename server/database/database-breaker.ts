/**
 * Knows that the database was away a moment ago, so that requests are turned away at once instead of finding it out one
 * by one. While it is away one caller per pause is let through to look.
 */
export interface DatabaseBreaker {
  /** False: turn the request away. */
  admits(): boolean;
  /** The database was away at the last looks. */
  isAway(): boolean;
  /** What a caller that was let through has seen. */
  note(seen: 'there' | 'away'): void;
}

const LOOK_EVERY_MS = 500;
/** One connection that breaks is not yet a database that is away. */
const FAILURES = 2;

export function createDatabaseBreaker(monotonic: () => number, lookEveryMs = LOOK_EVERY_MS): DatabaseBreaker {
  let failures = 0;
  let lookAt = 0;
  const isAway = (): boolean => failures >= FAILURES;
  return {
    isAway,
    admits() {
      if (!isAway()) return true;
      const now = monotonic();
      if (now < lookAt) return false;
      lookAt = now + lookEveryMs;
      return true;
    },
    note(seen) {
      if (seen === 'away') lookAt = monotonic() + lookEveryMs;
      failures = seen === 'away' ? failures + 1 : 0;
    },
  };
}
