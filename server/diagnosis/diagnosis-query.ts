import type { RefusalCode } from '../../policies/diagnosis-rules.js';
import type { Scope } from '../access/scope.js';
import { shownFactor } from '../alerts/alert-scope.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { LIVENESS_COLUMNS, LIVENESS_TABLES, type LivenessRow } from '../statuses/liveness-row.js';

type Instant = FleetInstant | null;

/** What there is one of per computer. */
export interface DiagnosisRow extends LivenessRow {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly power_source: string | null;
  readonly enrolled_fleet_ms: Instant;
  readonly clock_offset_ms: number | null;
  readonly clock_sampled_fleet_ms: Instant;
  readonly seen_by_agent_fleet_ms: Instant;
  readonly seen_by_dial_fleet_ms: Instant;
  readonly observed_address: string | null;
  readonly last_transport_error: { readonly code: string; readonly at: number; readonly detail: string } | null;
  readonly listener_state: string | null;
  readonly listener_detail: string | null;
  readonly candidate_state: 'proving' | 'reverted' | null;
  readonly candidate_reason: string | null;
  readonly candidate_detail: string | null;
  readonly candidate_since_fleet_ms: Instant;
  readonly last_dial_ended_fleet_ms: Instant;
  readonly last_dial_result: string | null;
  readonly last_dial_detail: string | null;
  readonly last_dial_host_up: boolean | null;
  readonly last_dial_failures: number | null;
  readonly probe_ended_fleet_ms: Instant;
  readonly probe_result: string | null;
  readonly probe_detail: string | null;
  readonly probe_host_up: boolean | null;
  readonly farewell_ordered_fleet_ms: Instant;
  readonly not_before: Date | null;
  readonly not_after: Date | null;
}

const READ = `
SELECT ${LIVENESS_COLUMNS}, computers.name, computers.labels, computers.power_source, computers.enrolled_fleet_ms,
  computer_live.clock_offset_ms, computer_live.clock_sampled_fleet_ms,
  computer_live.seen_by_agent_fleet_ms, computer_live.seen_by_dial_fleet_ms,
  computer_facts.observed_address, computer_facts.last_transport_error,
  computer_contacts.listener_state, computer_contacts.listener_detail, computer_contacts.candidate_state,
  computer_contacts.candidate_reason, computer_contacts.candidate_detail, computer_contacts.candidate_since_fleet_ms,
  last_dial.last_ended_fleet_ms AS last_dial_ended_fleet_ms, last_dial.last_result AS last_dial_result,
  last_dial.last_detail AS last_dial_detail, last_dial.last_host_up AS last_dial_host_up,
  last_dial.failures AS last_dial_failures,
  computer_probes.ended_fleet_ms AS probe_ended_fleet_ms, computer_probes.result AS probe_result,
  computer_probes.detail AS probe_detail, computer_probes.host_up AS probe_host_up,
  farewells.ordered_fleet_ms AS farewell_ordered_fleet_ms, newest.not_before, newest.not_after
FROM ${LIVENESS_TABLES}
  LEFT JOIN computer_facts ON computer_facts.computer_id = computers.id
  LEFT JOIN computer_dials AS last_dial ON last_dial.computer_id = computers.id
  LEFT JOIN computer_probes ON computer_probes.computer_id = computers.id
  LEFT JOIN farewells ON farewells.computer_id = computers.id
  LEFT JOIN LATERAL (
    SELECT certificates.not_before, certificates.not_after FROM certificates
    WHERE certificates.computer_id = computers.id AND certificates.revoked_at IS NULL
    ORDER BY certificates.issued_at DESC, certificates.serial LIMIT 1
  ) AS newest ON TRUE
WHERE computers.id = $1`;

export async function readDiagnosisRow(sql: Sql, scope: Scope, computerId: string): Promise<DiagnosisRow | undefined> {
  const visible = scope.predicate('computers.policy_id', 2);
  const [row] = await sql.query<DiagnosisRow>(`${READ} AND ${visible.sql}`, [computerId, ...visible.parameters]);
  return row;
}

export interface StatusChangeRow {
  readonly status: string;
  readonly previous_status: string;
  readonly reason: string;
  readonly since_fleet_ms: FleetInstant;
}

export interface GapRow {
  readonly from_fleet_ms: FleetInstant;
  readonly until_fleet_ms: FleetInstant;
  readonly deaf_ms: number;
}

export interface RefusalRow {
  readonly code: RefusalCode;
  /** Oldest first. */
  readonly instants: readonly FleetInstant[];
  readonly source_address: string | null;
  readonly detail: string | null;
}

export interface OpenAlertRow {
  readonly type: string;
  readonly reason: string;
  readonly raised_fleet_ms: FleetInstant;
  /** Of the mass outage that holds it. */
  readonly incident_subject: string | null;
  readonly incident_raised_fleet_ms: Instant;
}

/** What there may be several of; newest first, the last few of each. */
export interface DiagnosisLists {
  readonly changes: readonly StatusChangeRow[];
  readonly gaps: readonly GapRow[];
  readonly refusals: readonly RefusalRow[];
  readonly alerts: readonly OpenAlertRow[];
}

const CHANGES_MAX = 10;
const GAPS_MAX = 5;
const ALERTS_MAX = 10;

/** The caller has checked that the computer may be seen. */
export async function readDiagnosisLists(sql: Sql, scope: Scope, computerId: string): Promise<DiagnosisLists> {
  const shown = shownFactor(scope, 'incident.subject', 2);
  return {
    changes: await sql.query<StatusChangeRow>(
      `SELECT status_history.status, status_history.previous_status, status_history.reason, status_history.since_fleet_ms
       FROM status_history WHERE status_history.computer_id = $1
       ORDER BY status_history.since_fleet_ms DESC, status_history.id DESC LIMIT ${CHANGES_MAX}`,
      [computerId],
    ),
    gaps: await sql.query<GapRow>(
      `SELECT heartbeat_gaps.from_fleet_ms, heartbeat_gaps.until_fleet_ms, heartbeat_gaps.deaf_ms
       FROM heartbeat_gaps WHERE heartbeat_gaps.computer_id = $1
       ORDER BY heartbeat_gaps.from_fleet_ms DESC, heartbeat_gaps.id DESC LIMIT ${GAPS_MAX}`,
      [computerId],
    ),
    refusals: await sql.query<RefusalRow>(
      `SELECT computer_refusals.code, to_jsonb(computer_refusals.refused_fleet_ms) AS instants,
         computer_refusals.source_address, computer_refusals.detail
       FROM computer_refusals WHERE computer_refusals.computer_id = $1 ORDER BY computer_refusals.code`,
      [computerId],
    ),
    alerts: await sql.query<OpenAlertRow>(
      `SELECT alerts.type, alerts.reason, alerts.raised_fleet_ms, ${shown.sql} AS incident_subject,
         incident.raised_fleet_ms AS incident_raised_fleet_ms
       FROM alerts LEFT JOIN alerts AS incident ON incident.id = alerts.incident_id
       WHERE alerts.computer_id = $1 AND alerts.state IN ('raised', 'acknowledged')
       ORDER BY alerts.raised_fleet_ms DESC, alerts.id DESC LIMIT ${ALERTS_MAX}`,
      [computerId, ...shown.parameters],
    ),
  };
}

export interface EndedProbe {
  readonly computerId: string;
  readonly at: FleetInstant;
  readonly result: string;
  readonly detail: string | null;
  readonly hostUp: boolean | null;
}

/** Keeps the last one; false where the computer is gone. */
export async function storeProbe(sql: Sql, { computerId, at, result, detail, hostUp }: EndedProbe): Promise<boolean> {
  const rows = await sql.query(
    `INSERT INTO computer_probes (computer_id, ended_fleet_ms, result, detail, host_up)
     SELECT computers.id, $2, $3, $4, $5 FROM computers WHERE computers.id = $1
     ON CONFLICT (computer_id) DO UPDATE SET ended_fleet_ms = EXCLUDED.ended_fleet_ms, result = EXCLUDED.result,
       detail = EXCLUDED.detail, host_up = EXCLUDED.host_up RETURNING computer_id`,
    [computerId, at, result, detail, hostUp],
  );
  return rows.length > 0;
}
