import { backoffDelayMs } from '../../lib/backoff.js';
import type { Random } from '../../lib/random.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DeliveryFailure } from './delivery-failure.js';

const BACKOFF = { firstMs: 10_000, capMs: 3_600_000 };
const SHORTEST_MS = 1000;

export interface RetryFacts {
  /** Failures before this one. */
  readonly failures: number;
  readonly failure: Pick<DeliveryFailure, 'retryAfterMs'>;
  readonly now: FleetInstant;
  readonly expiresAt: FleetInstant;
}

/** When a message is tried again; undefined when it is given up. */
export function nextAttemptAt(
  { failures, failure, now, expiresAt }: RetryFacts,
  random: Pick<Random, 'fraction'>,
): FleetInstant | undefined {
  if (now >= expiresAt) return undefined;
  const delay = Math.max(SHORTEST_MS, failure.retryAfterMs ?? 0, backoffDelayMs(failures, BACKOFF, random));
  // The last attempt is made when the time is over, not dropped.
  return Math.min(now + delay, expiresAt);
}
