/** A bucket of `burst` tokens, refilled at `perSecond`; instants in milliseconds of a monotonic clock. */
export interface TokenBucket {
  /** 0 when a token is there now, else the milliseconds until one is. */
  waitMs(now: number): number;
  /** Takes tokens; the bucket may go below zero, and then waits the longer. */
  take(now: number, tokens?: number): void;
  /** Tokens that are there now. */
  left(now: number): number;
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
    take(now, count = 1) {
      fill(now);
      tokens -= count;
    },
    left(now) {
      fill(now);
      return tokens;
    },
  };
}

/** A map of at most `limit` entries that forgets the least recently used; `make` gives what is not there. */
export function createBoundedMap<Value>(limit: number, make: () => Value): (key: string) => Value {
  const entries = new Map<string, Value>();
  return (key) => {
    const value = entries.get(key) ?? make();
    entries.delete(key);
    entries.set(key, value);
    const [oldest] = entries.size > limit ? entries.keys() : [];
    if (oldest !== undefined) entries.delete(oldest);
    return value;
  };
}
