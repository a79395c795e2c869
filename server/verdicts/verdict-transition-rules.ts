import type { Verdict } from '../../policies/verdict-rules.js';
import type { LivenessRow } from '../statuses/liveness-row.js';
import type { StatusTransition } from '../statuses/status.js';

/** What is stored of a computer's verdict. */
export type StoredVerdict = Pick<LivenessRow, 'computer_id' | 'status' | 'status_reason' | 'since_fleet_ms'> & {
  readonly offline_alert_open: boolean;
};

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
