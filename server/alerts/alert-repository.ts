import type { HeldBy, Told } from '../../policies/notice-rules.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import type { Alert, AlertState } from './alert.js';
import { alertsSeenBy, seenInPart, type SeenColumns } from './alert-scope.js';

interface AlertRow extends SeenColumns {
  readonly id: string;
  readonly type: string;
  readonly severity: string;
  readonly state: AlertState;
  readonly computer_id: string | null;
  readonly computer_name: string | null;
  readonly raised_fleet_ms: number;
  readonly occurrences: number;
  readonly closed_fleet_ms: number | null;
  readonly closed_by: string | null;
  readonly acknowledged_fleet_ms: number | null;
  readonly acknowledged_by: string | null;
  readonly comment: string | null;
  readonly incident_id: string | null;
  readonly assignee: string | null;
  readonly snoozed_until_fleet_ms: number | null;
  readonly is_flapping: boolean;
  readonly held_by: HeldBy | null;
  readonly told: Told;
  readonly reason: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Of the computer that an alert is about, the last one where its record was removed. */
export const COMPUTER_NAME = 'COALESCE(computers.name, alerts.computer_name)';

/** What an `Alert` is read from, out of `ALERT_TABLES`, beside the columns of `alertsSeenBy`. */
export const ALERT_COLUMNS = `
  alerts.id, alerts.type, alerts.severity, alerts.state, alerts.computer_id, ${COMPUTER_NAME} AS computer_name,
  alerts.raised_fleet_ms, alerts.occurrences, alerts.closed_fleet_ms, alerts.closed_by, alerts.acknowledged_fleet_ms,
  alerts.acknowledged_by, alerts.comment, alerts.incident_id, alerts.assignee, alerts.snoozed_until_fleet_ms,
  alerts.is_flapping, alert_notices.held_by, COALESCE(alert_notices.told, 'nothing') AS told, alerts.reason, alerts.detail`;

export const ALERT_TABLES = `alerts LEFT JOIN computers ON computers.id = alerts.computer_id
  LEFT JOIN alert_notices ON alert_notices.alert_id = alerts.id`;

export function toAlert(row: AlertRow): Alert {
  const alert: Alert = {
    id: row.id,
    type: row.type,
    severity: row.severity,
    state: row.state,
    computerId: row.computer_id,
    computerName: row.computer_name,
    raisedAt: row.raised_fleet_ms,
    occurrences: row.occurrences,
    closedAt: row.closed_fleet_ms,
    closedBy: row.closed_by,
    acknowledgedAt: row.acknowledged_fleet_ms,
    acknowledgedBy: row.acknowledged_by,
    comment: row.comment,
    incidentId: row.incident_id,
    assignee: row.assignee,
    snoozedUntil: row.snoozed_until_fleet_ms,
    isFlapping: row.is_flapping,
    heldBy: row.held_by,
    told: row.told,
    reason: row.reason,
    detail: row.detail,
  };
  return row.is_seen_in_part ? seenInPart(alert, row) : alert;
}

export type { AlertRow };

/** An alert that the caller may see, an incident in part; one outside the scope looks like one that does not exist. */
export async function findAlert(sql: Sql, scope: Scope, id: string): Promise<Alert | undefined> {
  return readAlert(sql, scope, { id, lock: '' });
}

/** The same, locked until the transaction ends. */
export async function lockAlert(sql: Sql, scope: Scope, id: string): Promise<Alert | undefined> {
  return readAlert(sql, scope, { id, lock: 'FOR NO KEY UPDATE OF alerts' });
}

async function readAlert(
  sql: Sql,
  scope: Scope,
  { id, lock }: { id: string; lock: string },
): Promise<Alert | undefined> {
  const seen = alertsSeenBy(scope, 2);
  const [row] = await sql.query<AlertRow>(
    `SELECT ${ALERT_COLUMNS}, ${seen.columns} FROM ${ALERT_TABLES}
     WHERE alerts.id = $1 AND ${seen.visible} ${lock}`,
    [id, ...seen.parameters],
  );
  return row && toAlert(row);
}

/** Stores what acting on an alert changes. */
export async function saveAlert(sql: Sql, alert: Alert): Promise<void> {
  await sql.query(
    `UPDATE alerts SET state = $2, closed_fleet_ms = $3, closed_by = $4, acknowledged_fleet_ms = $5,
       acknowledged_by = $6, comment = $7, assignee = $8, snoozed_until_fleet_ms = $9
     WHERE id = $1`,
    [
      alert.id,
      alert.state,
      alert.closedAt,
      alert.closedBy,
      alert.acknowledgedAt,
      alert.acknowledgedBy,
      alert.comment,
      alert.assignee,
      alert.snoozedUntil,
    ],
  );
}
