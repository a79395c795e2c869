import { EventRate } from '../../policies/event-rate.js';
import { createBoundedMap } from '../../lib/token-bucket.js';

/**
 * How much of `eventRateLimitPerMinute` each computer has used, in memory: a restart forgives, and of several managers each
 * counts what it stores itself.
 */
export interface EventRates {
  of(computerId: string): EventRate;
  /** Its events are stored. */
  keep(computerId: string, rate: EventRate): void;
}

/** As many as send events at about the same time; who is forgotten begins anew. */
const MOST_COMPUTERS = 100_000;

export function createEventRates(): EventRates {
  const held = createBoundedMap(MOST_COMPUTERS, () => ({ rate: new EventRate() }));
  return {
    of: (computerId) => held(computerId).rate,
    keep(computerId, rate) {
      held(computerId).rate = rate;
    },
  };
}
