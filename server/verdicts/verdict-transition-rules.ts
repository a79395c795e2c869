import type { Verdict } from '../../policies/verdict-rules.js';
import { isDialled, type LivenessRow } from '../statuses/liveness-row.js';
import type { Status, StatusTransition } from '../statuses/status.js';

/** What is stored of a computer's verdict. */
export type StoredVerdict = Pick<LivenessRow, 'computer_id' | 'status' | 'status_reason' | 'since_fleet_ms'> & {
  readonly offline_alert_open: boolean;
};

/** How far the clock of another process, or the proof of its listening, may be behind this one's. */
const PROOF_LAG_MS = 2000;
const SILENCES: readonly Status[] = ['online', 'late', 'offline'];

interface JudgedRow {
  readonly row: Pick<LivenessRow, 'status' | 'direction_in_force'>;
  readonly verdict: Pick<Verdict, 'status' | 'nextChangeAt'>;
}

/**
 * Whether a computer only seems to be back because the failed dial that its silence now rests on ended after the instant
 * that it is judged for: of many failed dials only the first ones and the last one are kept.
 */
export function isDialUnproven({ row, verdict }: JudgedRow, at: number): boolean {
  const isMilder =
    SILENCES.indexOf(verdict.status) >= 0 && SILENCES.indexOf(verdict.status) < SILENCES.indexOf(row.status);
  return isMilder && isDialled(row) && verdict.nextChangeAt <= at + PROOF_LAG_MS;
}

/**
 * What has to be written so that the verdict is stored; undefined when it is. A status that goes on keeps the instant
 * at which it began, and an open alert the one at which it was raised.
 */
export function transitionOf(stored: StoredVerdict, verdict: Verdict): StatusTransition | undefined {
  const goesOn = stored.status === verdict.status;
  const isAlertStored = (verdict.alert !== null) === stored.offline_alert_open;
  const isReasonStored = verdict.status !== 'late' || stored.status_reason === verdict.reason;
  if (goesOn && isAlertStored && isReasonStored) return undefined;
  return {
    computerId: stored.computer_id,
    from: stored.status,
    to: verdict.status,
    reason: verdict.reason,
    since: goesOn ? stored.since_fleet_ms : verdict.since,
    offlineAt: verdict.offlineAt,
    offlineAlert: verdict.alert,
  };
}
