import type { GoodbyeReason, PowerState } from '../../policies/status-model.js';
import type { VerdictFacts } from '../../policies/verdict-rules.js';
import type { ComputerSettings, SettingsSubject } from '../policies/settings-cache.js';
import type { Status } from './status.js';

/**
 * What verdicts are judged by, from `computers`, `computer_live` and `computer_status` joined under these very names.
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
  computer_status.goodbye_expected_ms`;

export const LIVENESS_TABLES = `computers
  JOIN computer_live ON computer_live.computer_id = computers.id
  JOIN computer_status ON computer_status.computer_id = computers.id`;

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
