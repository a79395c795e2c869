import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';

export interface LoginAttempt {
  readonly name: string;
  readonly address: string;
}

/**
 * Slows down guessing without shutting the real user out. Failures are counted per address and name, per address, and
 * per name; the count per name alone does not bind an address from which that user signed in before.
 */
export interface LoginBackoff {
  /** Counts the attempt as failed until `succeeded` is told; answers how long to wait instead, 0 to go on. */
  begin(attempt: LoginAttempt): number;
  succeeded(attempt: LoginAttempt): void;
  /** It was no guess, and no success either: it counts for nothing. */
  withdrawn(attempt: LoginAttempt): void;
}

interface Counter {
  failures: number;
  lastMs: number;
}

const FREE_FAILURES = { pair: 5, address: 20, name: 20 } as const;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;
const FORGOTTEN_AFTER_MS = 15 * 60_000;
const MOST_COUNTERS = 20_000;
const MOST_TRUSTED = 5_000;

export function createLoginBackoff(clock: Clock): LoginBackoff {
  const counters = new Map<string, Counter>();
  const trusted = new Set<string>();
  const keysOf = (attempt: LoginAttempt) => {
    const pair = pairOf(attempt);
    const keys: (readonly [kind: keyof typeof FREE_FAILURES, key: string])[] = [
      ['pair', pair],
      ['address', `a ${networkOf(attempt.address)}`],
    ];
    return trusted.has(pair) ? keys : [...keys, ['name', `n ${attempt.name}`] as const];
  };
  const waitOf = (kind: keyof typeof FREE_FAILURES, key: string, now: number): number => {
    const counter = counters.get(key);
    if (!counter || now - counter.lastMs > FORGOTTEN_AFTER_MS) return 0;
    const beyond = counter.failures - FREE_FAILURES[kind];
    if (beyond < 0) return 0;
    return counter.lastMs + Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(beyond, 20)) - now;
  };
  return {
    begin(attempt) {
      const now = clock.monotonic();
      const keys = keysOf(attempt);
      const wait = Math.max(0, ...keys.map(([kind, key]) => waitOf(kind, key, now)));
      if (wait > 0) return wait;
      for (const [, key] of keys) count(counters, key, now);
      return 0;
    },
    succeeded(attempt) {
      for (const [kind, key] of keysOf(attempt)) {
        const counter = counters.get(key);
        if (kind === 'pair') counters.delete(key);
        else if (counter) counter.failures -= 1;
      }
      trusted.delete(pairOf(attempt));
      trusted.add(pairOf(attempt));
      forgetOldest(trusted, MOST_TRUSTED);
    },
    withdrawn(attempt) {
      for (const [, key] of keysOf(attempt)) {
        const counter = counters.get(key);
        if (counter) counter.failures -= 1;
      }
    },
  };
}

/** Throws `too-many-requests` while the attempt has to wait. */
export function assertMayTry(backoff: LoginBackoff, attempt: LoginAttempt): void {
  const waitMs = backoff.begin(attempt);
  if (waitMs <= 0) return;
  throw new Problem('too-many-requests', {
    detail: 'The password was wrong several times; wait before the next try.',
    retryAfterSeconds: Math.ceil(waitMs / 1000),
  });
}

/** The oldest entry stands first: a counted key moves to the end. */
function count(counters: Map<string, Counter>, key: string, now: number): void {
  const known = counters.get(key);
  const failures = known && now - known.lastMs <= FORGOTTEN_AFTER_MS ? known.failures + 1 : 1;
  counters.delete(key);
  counters.set(key, { failures, lastMs: now });
  forgetOldest(counters, MOST_COUNTERS);
}

function forgetOldest(entries: { size: number; keys(): Iterator<string>; delete(key: string): boolean }, most: number) {
  while (entries.size > most) {
    const { value, done } = entries.keys().next();
    if (done) return;
    entries.delete(value);
  }
}

function pairOf({ name, address }: LoginAttempt): string {
  return `p ${networkOf(address)} ${name}`;
}

/** An IPv6 host has a whole /64 to choose from, so that counts as one address. */
function networkOf(address: string): string {
  return address.includes(':') ? address.split(':').slice(0, 4).join(':') : address;
}
