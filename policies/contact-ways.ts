/** What is known of the two ways between a manager and a computer; instants are fleet milliseconds. */
export interface WayFacts {
  readonly lastSeenAt: number | null;
  /** The last report over a connection that the agent opened. */
  readonly seenByAgentAt: number | null;
  /** The last one over a dial of the manager's, while the listener stayed open. */
  readonly seenByDialAt: number | null;
  /** By the agent's own word; null before it said anything. */
  readonly listenerState: 'closed' | 'listening' | 'failed' | null;
  /** The begin of the last dial if that one failed. */
  readonly failedDialAt: number | null;
  /** The last probe if that one was answered: the listener proved to be that computer's. */
  readonly probedAt: number | null;
}

/** How reports come: over the listener, over HTTPS that the agent dials, or over the channel that it holds. */
export function carrierInUse(
  { seenByAgentAt, seenByDialAt }: WayFacts,
  { isHeld }: { readonly isHeld: boolean },
): 'https' | 'channel' | 'listener' {
  if (seenByDialAt !== null && (seenByAgentAt === null || seenByDialAt > seenByAgentAt)) return 'listener';
  return isHeld ? 'channel' : 'https';
}

/** Whether the manager reaches the listener: as the last dial or answered probe went; null where nothing listens or nobody tried. */
export function listenerReachable(facts: WayFacts): boolean | null {
  const { listenerState, seenByDialAt, probedAt, failedDialAt } = facts;
  if (listenerState === 'failed') return false;
  if (listenerState === 'closed') return null;
  const never = Number.NEGATIVE_INFINITY;
  const reachedAt = Math.max(seenByDialAt ?? never, probedAt ?? never);
  if (failedDialAt !== null && failedDialAt > reachedAt) return false;
  return reachedAt === never ? null : true;
}

/** Whether the agent has ever reported over a connection of its own. Without any dial there is no other way. */
export function agentDialled({ lastSeenAt, seenByAgentAt, seenByDialAt }: WayFacts): boolean {
  return seenByAgentAt !== null || (lastSeenAt !== null && seenByDialAt === null);
}

/** The way that an edit of the direction forbids. */
export type ClosedWay = 'agent' | 'listener';

/** Whether a computer would lose the only way that is known to work: it was heard, and never over the one that is left. */
export function losesOnlyWay(closed: ClosedWay, facts: WayFacts): boolean {
  if (facts.lastSeenAt === null) return false;
  return closed === 'agent' ? listenerReachable(facts) !== true : !agentDialled(facts);
}
