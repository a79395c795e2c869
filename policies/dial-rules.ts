import type { Ledger } from './listening-ledger.js';
import type { DialFailureReason } from './status-model.js';

/** A dial of the manager that did not end in a stored report; fleet milliseconds. */
export interface FailedDial {
  readonly begunAt: number;
  readonly endedAt: number;
}

/** What is known of the dials to a computer that only the manager dials. */
export interface DialFacts {
  /**
   * Failed dials since the last report, in any order. Some may be missing, which puts misses off to later dials and
   * never brings one forward.
   */
  readonly failed: readonly FailedDial[];
  /** Why the last of them failed, where there is a reason code for it. */
  readonly reason: DialFailureReason | null;
}

/** The instants that the due times of a computer are counted from; fleet milliseconds. */
interface DueFacts {
  readonly lastSeenAt: number;
  readonly contactDueAt: number;
  readonly intervalMs: number;
}

/**
 * From when miss `k` counts by the dials: the end of the first failed dial that was begun at or after the k-th due time,
 * which is the earliest t ≥ contactDue with Λ(t) ≥ Λ(contactDue) + (k−1)·i. Infinity while there is none. A dial during
 * which the manager was deaf tells nothing of the agent.
 */
export function dialFailedAt(k: number, facts: DueFacts, { dials, ledger }: KnownDials): number {
  const due = ledger.listeningAt(facts.contactDueAt) + (k - 1) * facts.intervalMs;
  const dueAt = Math.max(facts.contactDueAt, ledger.earliestAt(due));
  let failedAt = Number.POSITIVE_INFINITY;
  for (const dial of dials.failed)
    if (dial.begunAt >= dueAt && dial.endedAt < failedAt && isEvidence(dial, facts, ledger)) failedAt = dial.endedAt;
  return failedAt;
}

/** How many misses the dials that failed by `at` allow for. */
export function dialMissesBy(at: number, facts: DueFacts, { dials, ledger }: KnownDials): number {
  let begunAt = Number.NEGATIVE_INFINITY;
  for (const dial of dials.failed)
    if (dial.endedAt <= at && dial.begunAt > begunAt && isEvidence(dial, facts, ledger)) begunAt = dial.begunAt;
  if (begunAt < facts.contactDueAt) return 0;
  const sinceDue = ledger.listeningAt(begunAt) - ledger.listeningAt(facts.contactDueAt);
  return Math.floor(sinceDue / facts.intervalMs) + 1;
}

export interface KnownDials {
  readonly dials: DialFacts;
  readonly ledger: Ledger;
}

function isEvidence(dial: FailedDial, { lastSeenAt }: DueFacts, ledger: Ledger): boolean {
  if (dial.begunAt < lastSeenAt) return false;
  const span = ledger.spans[ledger.firstEndingAfter(dial.begunAt)];
  return !span || span.from >= dial.endedAt;
}
