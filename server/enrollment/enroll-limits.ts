/** A bucket of `burst` tokens, refilled at `perSecond`; instants in milliseconds of a monotonic clock. */
export interface TokenBucket {
  /** 0 when a token is there now, else the milliseconds until one is. */
  waitMs(now: number): number;
  take(now: number): void;
}

export function createTokenBucket(perSecond: number, burst: number): TokenBucket {
  let tokens = burst;
  let filledAt: number | undefined;
  const fill = (now: number): void => {
    const elapsed = Math.max(0, now - (filledAt ?? now));
    tokens = Math.min(burst, tokens + (elapsed * perSecond) / 1000);
    filledAt = now;
  };
  return {
    waitMs(now) {
      fill(now);
      if (tokens >= 1) return 0;
      return perSecond > 0 ? ((1 - tokens) * 1000) / perSecond : Number.POSITIVE_INFINITY;
    },
    take(now) {
      fill(now);
      tokens -= 1;
    },
  };
}

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

/** An IPv4 address, or the /64 of an IPv6 address, which is one subscriber's. */
export function addressGroup(address: string | null): string {
  if (address === null) return 'unknown';
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros =
    tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  return [...left, ...zeros, ...right]
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':');
}
