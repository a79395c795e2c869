import { toRfc3339 } from '../../lib/clock.js';

/** What says when a command reaches its agent. Instants are wall milliseconds. */
export interface DeliveryFacts {
  readonly now: number;
  readonly notBefore: number | null;
  /** An agent has enrolled as this computer. */
  readonly isEnrolled: boolean;
  /** Its status says that it reports. */
  readonly isInContact: boolean;
  /** It holds a connection open. */
  readonly isHeld: boolean;
  /** The manager dials it and reached it last time. */
  readonly isDialled: boolean;
  readonly nextContactAt: number | null;
}

export interface Delivery {
  /** In words. */
  readonly how: string;
  /** RFC 3339; null where nobody can tell. */
  readonly at: string | null;
}

/** When a command that is not delivered yet will be. */
export function deliveryOf(facts: DeliveryFacts): Delivery {
  const { now, notBefore } = facts;
  if (!facts.isEnrolled) return { how: 'when an agent enrolls as this computer', at: null };
  const earliest = notBefore !== null && notBefore > now ? notBefore : null;
  const expected = whenInContact(facts, earliest ?? now);
  if (earliest === null) return expected;
  return { how: `not before ${timeOf(earliest)}; then ${expected.how}`, at: expected.at };
}

function whenInContact(facts: DeliveryFacts, from: number): Delivery {
  const { isInContact, isHeld, isDialled, nextContactAt, now } = facts;
  const when = from > now ? 'at once' : 'now';
  if (isHeld) return { how: `held: ${when}`, at: toRfc3339(from) };
  if (!isInContact) return { how: 'when the agent is back in contact', at: null };
  if (isDialled) return { how: `dialled by the manager: ${when}`, at: toRfc3339(from) };
  if (nextContactAt === null || nextContactAt < from) return { how: 'at the next heartbeat', at: null };
  return { how: `at the next heartbeat, ${timeOf(nextContactAt)}`, at: toRfc3339(nextContactAt) };
}

/** The time of day in UTC, as people read it. */
function timeOf(wallMs: number): string {
  return toRfc3339(wallMs).slice(11, 19);
}
