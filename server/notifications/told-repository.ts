import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ChannelType } from './channel.js';
import { ROUTING_COLUMNS } from './routing-repository.js';
import type { Routing } from './routing.js';

/** A route with what its messages depend on. */
export interface UsedRouting extends Routing {
  readonly channelType: ChannelType;
}

const USED = `SELECT ${ROUTING_COLUMNS}, notification_channels.type AS "channelType"
  FROM notification_routes JOIN notification_channels ON notification_channels.id = notification_routes.channel_id`;

export async function readEnabledRoutings(sql: Sql): Promise<readonly UsedRouting[]> {
  return sql.query(`${USED} WHERE notification_routes.is_enabled ORDER BY notification_routes.id`);
}

export interface Told {
  readonly routeId: string;
  readonly alertId: string;
}

export interface Reminded extends Told {
  readonly nextAt: FleetInstant | null;
}

/** Notes who was told that an alert began, and when they are reminded next. */
export async function noteTold(sql: Sql, told: readonly Reminded[]): Promise<void> {
  if (told.length === 0) return;
  await sql.query(
    `INSERT INTO notification_told (route_id, alert_id, next_fleet_ms)
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS told (route_id, alert_id, next_at)
     ORDER BY told.route_id, told.alert_id
     ON CONFLICT (route_id, alert_id) DO UPDATE SET next_fleet_ms = EXCLUDED.next_fleet_ms`,
    [told.map(({ routeId }) => routeId), told.map(({ alertId }) => alertId), told.map(({ nextAt }) => nextAt)],
  );
}

const LOCKED = `locked AS (
  SELECT told.route_id, told.alert_id FROM notification_told told WHERE told.alert_id = ANY($1::uuid[])
  ORDER BY told.route_id, told.alert_id FOR UPDATE)`;

/** Who was told of these alerts hears of their end, and is forgotten. */
export async function takeTold(sql: Sql, alertIds: readonly string[]): Promise<readonly Told[]> {
  if (alertIds.length === 0) return [];
  return sql.query(
    `WITH ${LOCKED}
     DELETE FROM notification_told USING locked
     WHERE notification_told.route_id = locked.route_id AND notification_told.alert_id = locked.alert_id
     RETURNING notification_told.route_id AS "routeId", notification_told.alert_id AS "alertId"`,
    [alertIds],
  );
}

/** Somebody has seen these alerts: nobody is reminded of them any more. Answers who was told of them. */
export async function silenceTold(sql: Sql, alertIds: readonly string[]): Promise<readonly Told[]> {
  if (alertIds.length === 0) return [];
  return sql.query(
    `WITH ${LOCKED}
     UPDATE notification_told SET next_fleet_ms = NULL FROM locked
     WHERE notification_told.route_id = locked.route_id AND notification_told.alert_id = locked.alert_id
     RETURNING notification_told.route_id AS "routeId", notification_told.alert_id AS "alertId"`,
    [alertIds],
  );
}

export interface DueReminder extends Told {
  readonly state: string | null;
  readonly heldBy: string | null;
  readonly snoozedUntil: FleetInstant | null;
}

/** Reminders that are due, with what may hold them back; locked, those that somebody else has locked left out. */
export async function lockDueReminders(sql: Sql, now: FleetInstant, limit: number): Promise<readonly DueReminder[]> {
  return sql.query(
    `WITH due AS (
       SELECT told.route_id, told.alert_id, told.next_fleet_ms FROM notification_told told
       WHERE told.next_fleet_ms <= $1 ORDER BY told.next_fleet_ms, told.route_id, told.alert_id
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     SELECT due.route_id AS "routeId", due.alert_id AS "alertId", alerts.state,
       alert_notices.held_by AS "heldBy", alerts.snoozed_until_fleet_ms AS "snoozedUntil"
     FROM due LEFT JOIN alerts ON alerts.id = due.alert_id
       LEFT JOIN alert_notices ON alert_notices.alert_id = due.alert_id
     ORDER BY due.route_id, due.alert_id`,
    [now, limit],
  );
}
