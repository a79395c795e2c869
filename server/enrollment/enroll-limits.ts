import { addressGroup } from '../../lib/address-group.js';
import { createTokenBucket, type TokenBucket } from '../../lib/token-bucket.js';

export interface EnrollLimitsOptions {
  readonly perAddressPerSecond?: number;
  readonly totalPerSecond?: number;
}

export interface EnrollLimits {
  /**
   * Counts an attempt and answers 0, or the milliseconds to wait. A token that is known to carry a rate of its own is
   * counted by that rate alone.
   */
  admit(attempt: { readonly tokenKey: string; readonly address: string | null; readonly now: number }): number;
  /** Remembers that a token carries its own rate. */
  learn(tokenKey: string, perSecond: number): void;
}

export const ENROLL_BURST = 60;
const MOST_ADDRESSES = 10_000;
const MOST_TOKENS = 1000;

export function createEnrollLimits({
  perAddressPerSecond = 1,
  totalPerSecond = 10,
}: EnrollLimitsOptions = {}): EnrollLimits {
  const total = createTokenBucket(totalPerSecond, ENROLL_BURST);
  const addresses = new Map<string, TokenBucket>();
  const tokens = new Map<string, TokenBucket>();
  return {
    admit({ tokenKey, address, now }) {
      const own = tokens.get(tokenKey);
      const buckets = own ? [own] : [total, bucketOf(addresses, addressGroup(address), perAddressPerSecond)];
      const wait = Math.max(...buckets.map((bucket) => bucket.waitMs(now)));
      if (wait > 0) return wait;
      for (const bucket of buckets) bucket.take(now);
      return 0;
    },
    learn(tokenKey, perSecond) {
      if (tokens.has(tokenKey)) return;
      tokens.set(tokenKey, createTokenBucket(perSecond, ENROLL_BURST));
      dropOldest(tokens, MOST_TOKENS);
    },
  };
}

function bucketOf(buckets: Map<string, TokenBucket>, key: string, perSecond: number): TokenBucket {
  const bucket = buckets.get(key) ?? createTokenBucket(perSecond, ENROLL_BURST);
  // Moved to the end: the first is the least recently used.
  buckets.delete(key);
  buckets.set(key, bucket);
  dropOldest(buckets, MOST_ADDRESSES);
  return bucket;
}

function dropOldest(map: Map<string, unknown>, limit: number): void {
  const [oldest] = map.size > limit ? map.keys() : [];
  if (oldest !== undefined) map.delete(oldest);
}
