import type { FlapHistory } from '../../../policies/flapping-rules.js';
import type { HeldBy, NoticeDecision, Told } from '../../../policies/notice-rules.js';
import type { Sql } from '../../database/sql.js';
import type { FleetInstant } from '../../fleet-clock/fleet-clock.js';
import { LIVENESS_COLUMNS, LIVENESS_TABLES, type LivenessRow } from '../../statuses/liveness-row.js';
import type { AlertState } from '../alert.js';
import type { AlertChange } from '../alert-outbox.js';

/** Whether anything waits to be decided about. */
export async function isAnythingDue(sql: Sql, at: FleetInstant): Promise<boolean> {
  const [row] = await sql.query<{ readonly due: boolean }>(
    `SELECT EXISTS (SELECT 1 FROM alert_outbox)
       OR EXISTS (SELECT 1 FROM alert_notices WHERE alert_notices.look_fleet_ms <= $1) AS due`,
    [at],
  );
  return row?.due ?? false;
}

/** Takes changes out of the outbox, oldest first. Only the holder of the job calls it. */
export function takeChanges(sql: Sql, limit: number): Promise<AlertChange[]> {
  return sql.query<AlertChange>(
    `DELETE FROM alert_outbox WHERE alert_outbox.id IN (
       SELECT oldest.id FROM alert_outbox AS oldest ORDER BY oldest.at_fleet_ms, oldest.id LIMIT $1)
     RETURNING alert_outbox.alert_id AS "alertId", alert_outbox.change, alert_outbox.at_fleet_ms AS at`,
    [limit],
  );
}

export async function listDue(sql: Sql, at: FleetInstant, limit: number): Promise<string[]> {
  const rows = await sql.query<{ readonly alert_id: string }>(
    `SELECT alert_notices.alert_id FROM alert_notices WHERE alert_notices.look_fleet_ms <= $1
     ORDER BY alert_notices.look_fleet_ms, alert_notices.alert_id LIMIT $2`,
    [at, limit],
  );
  return rows.map(({ alert_id: id }) => id);
}

/** Has everything looked at again that a window holds back, or that recipients are reminded of outside of windows. */
export async function lookAgainForWindows(sql: Sql, at: FleetInstant): Promise<void> {
  await sql.query(
    `UPDATE alert_notices SET look_fleet_ms = $1
     WHERE (alert_notices.told = 'open' OR alert_notices.held_by = 'maintenance')
       AND (alert_notices.held_by IS NULL OR alert_notices.held_by = 'maintenance')`,
    [at],
  );
}

export interface NoticeRow {
  readonly id: string;
  readonly type: string;
  readonly state: AlertState;
  readonly computer_id: string | null;
  readonly raised_fleet_ms: FleetInstant;
  readonly incident_id: string | null;
  readonly snoozed_until_fleet_ms: FleetInstant | null;
  readonly is_flapping: boolean;
  /** Null where nothing was decided yet. */
  readonly told: Told | null;
  readonly held_by: HeldBy | null;
  readonly look_fleet_ms: FleetInstant | null;
}

/** What is decided by, as it is now, in id order. */
export function readNoticeRows(sql: Sql, alertIds: readonly string[]): Promise<NoticeRow[]> {
  return sql.query<NoticeRow>(
    `SELECT alerts.id, alerts.type, alerts.state, alerts.computer_id, alerts.raised_fleet_ms, alerts.incident_id,
       alerts.snoozed_until_fleet_ms, alerts.is_flapping, alert_notices.told, alert_notices.held_by,
       alert_notices.look_fleet_ms
     FROM alerts LEFT JOIN alert_notices ON alert_notices.alert_id = alerts.id
     WHERE alerts.id = ANY($1::uuid[]) ORDER BY alerts.id`,
    [alertIds],
  );
}

export interface NoticeComputer extends LivenessRow {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly changed_fleet_ms: readonly FleetInstant[] | null;
  readonly calm_fleet_ms: FleetInstant | null;
  readonly is_told: boolean | null;
}

export async function readNoticeComputers(sql: Sql, ids: readonly string[]): Promise<Map<string, NoticeComputer>> {
  const rows = await sql.query<NoticeComputer>(
    `SELECT ${LIVENESS_COLUMNS}, computers.name, computers.labels, computer_flaps.changed_fleet_ms,
       computer_flaps.calm_fleet_ms, computer_flaps.is_told
     FROM ${LIVENESS_TABLES} LEFT JOIN computer_flaps ON computer_flaps.computer_id = computers.id
     WHERE computers.id = ANY($1::uuid[]) ORDER BY computers.id`,
    [ids],
  );
  return new Map(rows.map((row) => [row.computer_id, row]));
}

export interface StoredFlaps extends FlapHistory {
  readonly computerId: string;
  readonly isTold: boolean;
}

export async function saveFlaps(sql: Sql, flaps: readonly StoredFlaps[]): Promise<void> {
  if (flaps.length === 0) return;
  await sql.query(
    `INSERT INTO computer_flaps AS known (computer_id, changed_fleet_ms, calm_fleet_ms, is_told)
     SELECT made.computer_id, ARRAY(SELECT jsonb_array_elements_text(made.changes::jsonb)::bigint), made.calm, made.told
     FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::boolean[]) AS made (computer_id, changes, calm, told)
     ORDER BY made.computer_id
     ON CONFLICT (computer_id) DO UPDATE SET changed_fleet_ms = excluded.changed_fleet_ms,
       calm_fleet_ms = excluded.calm_fleet_ms, is_told = excluded.is_told`,
    [
      flaps.map(({ computerId }) => computerId),
      flaps.map(({ changes }) => JSON.stringify(changes)),
      flaps.map(({ calmAt }) => calmAt),
      flaps.map(({ isTold }) => isTold),
    ],
  );
}

export async function saveFlapping(
  sql: Sql,
  alerts: readonly { readonly id: string; readonly isFlapping: boolean }[],
): Promise<void> {
  if (alerts.length === 0) return;
  await sql.query(
    `WITH held AS (SELECT alerts.id FROM alerts WHERE alerts.id = ANY($1::uuid[]) ORDER BY alerts.id FOR NO KEY UPDATE)
     UPDATE alerts SET is_flapping = made.is_flapping
     FROM held JOIN unnest($1::uuid[], $2::boolean[]) AS made (id, is_flapping) ON made.id = held.id
     WHERE alerts.id = held.id`,
    [alerts.map(({ id }) => id), alerts.map(({ isFlapping }) => isFlapping)],
  );
}

export type StoredDecision = Omit<NoticeDecision, 'tell'> & { readonly alertId: string };

export async function saveDecisions(sql: Sql, decisions: readonly StoredDecision[]): Promise<void> {
  if (decisions.length === 0) return;
  await sql.query(
    `INSERT INTO alert_notices AS known (alert_id, told, held_by, look_fleet_ms)
     SELECT made.alert_id, made.told, made.held_by, made.look
     FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[]) AS made (alert_id, told, held_by, look)
     ORDER BY made.alert_id
     ON CONFLICT (alert_id) DO UPDATE SET told = excluded.told, held_by = excluded.held_by,
       look_fleet_ms = excluded.look_fleet_ms`,
    [
      decisions.map(({ alertId }) => alertId),
      decisions.map(({ told }) => told),
      decisions.map(({ heldBy }) => heldBy),
      decisions.map(({ lookAt }) => lookAt),
    ],
  );
}

/** Of alerts that came and went untold, and of those that are no more. */
export async function forgetDecisions(sql: Sql, alertIds: readonly string[]): Promise<void> {
  if (alertIds.length === 0) return;
  await sql.query('DELETE FROM alert_notices WHERE alert_notices.alert_id = ANY($1::uuid[])', [alertIds]);
}
