import type { DialFacts } from '../../policies/dial-rules.js';
import { dialStatusReason, type GoodbyeReason, type PowerState } from '../../policies/status-model.js';
import type { VerdictFacts } from '../../policies/verdict-rules.js';
import type { ComputerSettings, SettingsSubject } from '../policies/settings-cache.js';
import type { Status } from './status.js';

/**
 * What verdicts are judged by, from the tables of `LIVENESS_TABLES` joined under these very names. Dials are only looked
 * at where the manager dials; misses count by them where `managerInitiated` is in force, elsewhere they only explain.
 * NOTE: a statement that waits for row locks sees the tables it did not lock as they were before it waited; lock the
 * live rows in one statement and read this list in the next.
 */
export const LIVENESS_COLUMNS = `
  computers.id AS computer_id, computers.kind, computers.policy_id, computers.overrides::text AS overrides,
  computers.power_state, computers.power_since_fleet_ms, computers.power_expires_fleet_ms,
  computers.verdict_rules_fleet_ms, computers.created_fleet_ms,
  computer_live.last_seen_fleet_ms, computer_live.contact_due_fleet_ms,
  computer_live.confirmed_interval_ms, computer_live.delivered_interval_ms,
  computer_status.status, computer_status.reason AS status_reason, computer_status.since_fleet_ms,
  computer_status.offline_fleet_ms, computer_status.goodbye_reason, computer_status.goodbye_fleet_ms,
  computer_status.goodbye_expected_ms,
  computer_contacts.direction AS direction_in_force, computer_dials.last_result AS dial_result,
  computer_dials.last_ended_fleet_ms AS dial_ended_fleet_ms, computer_dials.last_host_up AS dial_host_up,
  computer_dials.failed_begun_fleet_ms, computer_dials.failed_ended_fleet_ms`;

/** The tables that hold one row of every computer. */
export const STANDING_TABLES = `computers
  JOIN computer_live ON computer_live.computer_id = computers.id
  JOIN computer_status ON computer_status.computer_id = computers.id`;

export const LIVENESS_TABLES = `${STANDING_TABLES}
  LEFT JOIN computer_contacts ON computer_contacts.computer_id = computers.id
  LEFT JOIN computer_dials ON computer_dials.computer_id = computers.id
    AND computer_contacts.direction IN ('managerInitiated', 'bidirectional')`;

type Instant = number | null;

/** One row of `LIVENESS_COLUMNS`. */
export interface LivenessRow {
  readonly computer_id: string;
  readonly kind: 'agent' | 'appliance';
  readonly policy_id: string;
  readonly overrides: string | null;
  readonly power_state: PowerState;
  readonly power_since_fleet_ms: Instant;
  readonly power_expires_fleet_ms: Instant;
  readonly verdict_rules_fleet_ms: number;
  readonly created_fleet_ms: number;
  readonly last_seen_fleet_ms: Instant;
  readonly contact_due_fleet_ms: Instant;
  readonly confirmed_interval_ms: number | null;
  readonly delivered_interval_ms: number | null;
  readonly status: Status;
  readonly status_reason: string;
  readonly since_fleet_ms: number;
  readonly offline_fleet_ms: Instant;
  readonly goodbye_reason: GoodbyeReason | null;
  readonly goodbye_fleet_ms: Instant;
  readonly goodbye_expected_ms: Instant;
  readonly direction_in_force: string | null;
  /** Of the last dial that failed; null where none did, or where the manager does not dial. */
  readonly dial_result: string | null;
  readonly dial_ended_fleet_ms: Instant;
  readonly dial_host_up: boolean | null;
  readonly failed_begun_fleet_ms: readonly number[] | null;
  readonly failed_ended_fleet_ms: readonly number[] | null;
}

/** Whether only the manager dials this computer, so that its misses need dials that fail. */
export function isDialled(row: Pick<LivenessRow, 'direction_in_force'>): boolean {
  return row.direction_in_force === 'managerInitiated';
}

export function settingsSubjectOf(row: Pick<LivenessRow, 'kind' | 'policy_id' | 'overrides'>): SettingsSubject {
  return { kind: row.kind, policyId: row.policy_id, overrides: row.overrides };
}

/** The interval that deadlines count in: the longer of the confirmed and the delivered one, else the effective one. */
export function countedIntervalMs(
  row: Pick<LivenessRow, 'confirmed_interval_ms' | 'delivered_interval_ms'>,
  settings: Pick<ComputerSettings, 'intervalMs'>,
): number {
  return Math.max(row.confirmed_interval_ms ?? 0, row.delivered_interval_ms ?? 0) || settings.intervalMs;
}

type SettingsForFacts = Pick<ComputerSettings, 'intervalMs' | 'rulesSince'>;

/** The facts that `judge` decides by. */
export function verdictFactsOf(row: LivenessRow, settings: SettingsForFacts): VerdictFacts {
  const intervalMs = countedIntervalMs(row, settings);
  const seenAt = row.last_seen_fleet_ms;
  const lastSeenAt = seenAt ?? row.created_fleet_ms;
  return {
    everSeen: seenAt !== null,
    lastSeenAt,
    contactDueAt: row.contact_due_fleet_ms ?? lastSeenAt + intervalMs,
    intervalMs,
    dials: isDialled(row) ? dialsOf(row) : null,
    standbyReason: dialReasonOf(row),
    goodbye: goodbyeOf(row),
    power: {
      state: row.power_state,
      since: row.power_since_fleet_ms ?? Number.NEGATIVE_INFINITY,
      expiresAt: row.power_expires_fleet_ms,
    },
    revokedAt: row.status === 'revoked' ? row.since_fleet_ms : null,
    rulesSince: Math.max(settings.rulesSince, row.verdict_rules_fleet_ms),
  };
}

function goodbyeOf(row: LivenessRow): VerdictFacts['goodbye'] {
  if (row.goodbye_reason === null || row.goodbye_fleet_ms === null) return null;
  return {
    reason: row.goodbye_reason,
    receivedAt: row.goodbye_fleet_ms,
    expectedBackMs: row.goodbye_expected_ms,
  };
}

/** Whether the last failed dial is of the present silence. */
function isDialOfSilence(row: LivenessRow): boolean {
  const silentSince = row.last_seen_fleet_ms ?? row.created_fleet_ms;
  return (row.dial_ended_fleet_ms ?? Number.NEGATIVE_INFINITY) > silentSince;
}

function dialReasonOf(row: LivenessRow): DialFacts['reason'] {
  return isDialOfSilence(row) ? dialStatusReason(row.dial_result ?? '') : null;
}

/** Whether the machine answered the manager's last dial of this silence; null where nobody can tell. */
export function hostUpOfDial(row: LivenessRow): boolean | null {
  return isDialOfSilence(row) ? row.dial_host_up : null;
}

function dialsOf(row: LivenessRow): DialFacts {
  const ended = row.failed_ended_fleet_ms ?? [];
  const failed = (row.failed_begun_fleet_ms ?? []).flatMap((begunAt, index) => {
    const endedAt = ended[index];
    return endedAt === undefined ? [] : [{ begunAt, endedAt }];
  });
  return { failed, reason: dialReasonOf(row) };
}
