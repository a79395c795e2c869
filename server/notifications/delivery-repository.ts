import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { MessageKind } from './message.js';

export const DELIVERY_STATES = ['queued', 'delivered', 'failed', 'dead'] as const;
export type DeliveryState = (typeof DELIVERY_STATES)[number];

export interface CollectingDelivery {
  readonly id: string;
  readonly routeId: string;
  readonly kind: MessageKind;
}

export interface NewDelivery extends CollectingDelivery {
  readonly channelId: string;
  readonly createdAt: FleetInstant;
  readonly dueAt: FleetInstant;
  readonly expiresAt: FleetInstant;
}

/** The messages that still take alerts, one per route and kind: those that exist, or the new ones. Locks them. */
export async function openDeliveries(sql: Sql, wanted: readonly NewDelivery[]): Promise<readonly CollectingDelivery[]> {
  const column = <Key extends keyof NewDelivery>(key: Key) => wanted.map((one) => one[key]);
  return sql.query(
    `INSERT INTO notification_deliveries AS known
       (id, route_id, kind, channel_id, created_fleet_ms, due_fleet_ms, expires_fleet_ms)
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[])
       AS wanted (id, route_id, kind, channel_id, created_at, due_at, expires_at)
     ORDER BY wanted.route_id, wanted.kind
     ON CONFLICT (route_id, kind) WHERE is_collecting DO UPDATE SET channel_id = EXCLUDED.channel_id
     RETURNING known.id, known.route_id AS "routeId", known.kind`,
    [
      column('id'),
      column('routeId'),
      column('kind'),
      column('channelId'),
      column('createdAt'),
      column('dueAt'),
      column('expiresAt'),
    ],
  );
}

export interface ListedAlert {
  readonly deliveryId: string;
  readonly alertId: string;
  readonly computerId: string | null;
}

export async function listedAlerts(sql: Sql, deliveryIds: readonly string[]): Promise<readonly ListedAlert[]> {
  return sql.query(
    `SELECT listed.delivery_id AS "deliveryId", listed.alert_id AS "alertId", listed.computer_id AS "computerId"
     FROM notification_delivery_alerts listed WHERE listed.delivery_id = ANY($1::uuid[])
     ORDER BY listed.delivery_id, listed.position, listed.alert_id`,
    [deliveryIds],
  );
}

export interface NewListedAlert extends ListedAlert {
  readonly position: number;
  readonly shown: object;
}

export async function listAlerts(sql: Sql, listed: readonly NewListedAlert[]): Promise<void> {
  if (listed.length === 0) return;
  await sql.query(
    `INSERT INTO notification_delivery_alerts (delivery_id, alert_id, computer_id, position, shown)
     SELECT wanted.delivery_id, wanted.alert_id, wanted.computer_id, wanted.position, wanted.shown::jsonb
     FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[], $5::text[])
       AS wanted (delivery_id, alert_id, computer_id, position, shown)
     ORDER BY wanted.delivery_id, wanted.alert_id`,
    [
      listed.map(({ deliveryId }) => deliveryId),
      listed.map(({ alertId }) => alertId),
      listed.map(({ computerId }) => computerId),
      listed.map(({ position }) => position),
      listed.map(({ shown }) => JSON.stringify(shown)),
    ],
  );
}

/** What waits for its channel is tried again with the next news of an alert that it tells of. */
export async function hastenOlder(sql: Sql, deliveryIds: readonly string[]): Promise<void> {
  await sql.query(
    `WITH waiting AS (
       SELECT older.id, min(newer.due_fleet_ms) AS due_fleet_ms
       FROM notification_deliveries newer
       JOIN notification_delivery_alerts own ON own.delivery_id = newer.id
       JOIN notification_delivery_alerts older_alerts ON older_alerts.alert_id = own.alert_id
       JOIN notification_deliveries older ON older.id = older_alerts.delivery_id AND older.id <> newer.id
         AND older.route_id = newer.route_id AND older.state = 'failed' AND older.awaits_channel
         AND older.due_fleet_ms > newer.due_fleet_ms
       WHERE newer.id = ANY($1::uuid[])
       GROUP BY older.id),
     locked AS (
       SELECT notification_deliveries.id, waiting.due_fleet_ms FROM notification_deliveries
       JOIN waiting ON waiting.id = notification_deliveries.id
       ORDER BY notification_deliveries.id FOR UPDATE OF notification_deliveries SKIP LOCKED)
     UPDATE notification_deliveries SET due_fleet_ms = locked.due_fleet_ms FROM locked
     WHERE notification_deliveries.id = locked.id AND notification_deliveries.state = 'failed'`,
    [deliveryIds],
  );
}

/** How many alerts each message tells of more, listed or not. */
export async function countAlerts(
  sql: Sql,
  added: readonly { readonly deliveryId: string; readonly added: number }[],
): Promise<void> {
  await sql.query(
    `UPDATE notification_deliveries SET alert_count = notification_deliveries.alert_count + more.added
     FROM unnest($1::uuid[], $2::integer[]) AS more (delivery_id, added)
     WHERE notification_deliveries.id = more.delivery_id`,
    [added.map(({ deliveryId }) => deliveryId), added.map((one) => one.added)],
  );
}

export interface Claim {
  readonly now: FleetInstant;
  readonly until: FleetInstant;
  /** Channels at which this process is at work. */
  readonly busy: readonly string[];
  readonly limit: number;
}

export interface ClaimedDelivery {
  readonly id: string;
  readonly channelId: string;
  readonly kind: MessageKind;
  readonly attempts: number;
  readonly failures: number;
  readonly alertCount: number;
  readonly createdAt: FleetInstant;
  readonly expiresAt: FleetInstant;
}

/** An older message of the same route about the same alert waits for its turn or its channel: the end is not told first. */
const IS_BEHIND_ANOTHER = `EXISTS (
  SELECT FROM notification_delivery_alerts own
  JOIN notification_delivery_alerts older_alerts ON older_alerts.alert_id = own.alert_id
  JOIN notification_deliveries older ON older.id = older_alerts.delivery_id
  WHERE own.delivery_id = due.id AND older.route_id = due.route_id AND older.channel_id = due.channel_id
    AND (older.state = 'queued' OR (older.state = 'failed' AND older.awaits_channel))
    AND (older.created_fleet_ms, older.id) < (due.created_fleet_ms, due.id))`;

/** What is due of a channel where nothing is under way, the oldest of each channel. */
const DUE = `
  SELECT DISTINCT ON (due.channel_id) due.id, due.due_fleet_ms FROM notification_deliveries due
  WHERE due.state IN ('queued', 'failed') AND due.due_fleet_ms <= $1 AND due.channel_id <> ALL($2::uuid[])
    AND NOT EXISTS (
      SELECT FROM notification_deliveries other WHERE other.channel_id = due.channel_id
        AND other.state IN ('queued', 'failed') AND other.claimed_until_fleet_ms > $1)
    AND NOT ${IS_BEHIND_ANOTHER}
  ORDER BY due.channel_id, due.created_fleet_ms, due.id`;

/** Claims one due message per channel; it takes no further alerts. */
export async function claimDeliveries(
  sql: Sql,
  { now, until, busy, limit }: Claim,
): Promise<readonly ClaimedDelivery[]> {
  return sql.query(
    `WITH due AS (${DUE}), first AS (SELECT due.id FROM due ORDER BY due.due_fleet_ms, due.id LIMIT $3),
     locked AS (
       SELECT notification_deliveries.id FROM notification_deliveries
       WHERE notification_deliveries.id IN (SELECT first.id FROM first)
         AND notification_deliveries.state IN ('queued', 'failed')
       ORDER BY notification_deliveries.id FOR UPDATE SKIP LOCKED)
     UPDATE notification_deliveries AS claimed SET is_collecting = false, attempts = claimed.attempts + 1,
       claimed_until_fleet_ms = $4
     FROM locked WHERE claimed.id = locked.id
     RETURNING claimed.id, claimed.channel_id AS "channelId", claimed.kind, claimed.attempts, claimed.failures,
       claimed.alert_count AS "alertCount", claimed.created_fleet_ms AS "createdAt",
       claimed.expires_fleet_ms AS "expiresAt"`,
    [now, busy, limit, until],
  );
}

/** Whether anything is due, or a reminder is: asked before the job is claimed. */
export async function isAnythingDue(sql: Sql, now: FleetInstant, busy: readonly string[]): Promise<boolean> {
  const [row] = await sql.query<{ due: boolean }>(
    `SELECT EXISTS (SELECT FROM notification_deliveries WHERE state IN ('queued', 'failed') AND due_fleet_ms <= $1
         AND channel_id <> ALL($2::uuid[]))
       OR EXISTS (SELECT FROM notification_told WHERE next_fleet_ms <= $1) AS due`,
    [now, busy],
  );
  return row?.due ?? false;
}

export interface AttemptEnd {
  readonly delivery: Pick<ClaimedDelivery, 'id' | 'attempts'>;
  readonly state: DeliveryState;
  readonly at: FleetInstant;
  readonly durationMs: number;
  readonly error: string | null;
  /** When it is tried again. */
  readonly dueAt: FleetInstant;
  readonly awaitsChannel: boolean;
}

/** Stores how an attempt ended, unless a later one was begun meanwhile. */
export async function endAttempt(sql: Sql, end: AttemptEnd): Promise<void> {
  const { delivery, state, at, durationMs, error, dueAt, awaitsChannel } = end;
  const isEnded = state === 'delivered' || state === 'dead';
  await sql.query(
    `UPDATE notification_deliveries SET state = $3, claimed_until_fleet_ms = NULL, last_error = $4,
       failures = failures + CASE WHEN $4::text IS NULL THEN 0 ELSE 1 END, due_fleet_ms = $5, awaits_channel = $6,
       ended_fleet_ms = $7
     WHERE id = $1 AND attempts = $2`,
    [delivery.id, delivery.attempts, state, error, dueAt, awaitsChannel, isEnded ? at : null],
  );
  await sql.query(
    `INSERT INTO notification_attempts (delivery_id, attempt, at_fleet_ms, duration_ms, error)
     SELECT $1, $2, $3, $4, $5 WHERE EXISTS (SELECT FROM notification_deliveries WHERE id = $1)
     ON CONFLICT (delivery_id, attempt) DO NOTHING`,
    [delivery.id, delivery.attempts, at, durationMs, error],
  );
}

/** A message arrived, so what waits for the channel is tried at once, oldest first. */
export async function wakeChannel(sql: Sql, channelId: string, now: FleetInstant): Promise<void> {
  await sql.query(
    `WITH waiting AS (
       SELECT notification_deliveries.id FROM notification_deliveries
       WHERE notification_deliveries.channel_id = $1 AND notification_deliveries.state = 'failed'
         AND notification_deliveries.awaits_channel AND notification_deliveries.due_fleet_ms > $2
       ORDER BY notification_deliveries.id FOR UPDATE SKIP LOCKED)
     UPDATE notification_deliveries SET due_fleet_ms = $2 FROM waiting WHERE notification_deliveries.id = waiting.id`,
    [channelId, now],
  );
}

/** Gives an attempt back that a stop has interrupted: whether it arrived nobody knows. */
export async function releaseDelivery(sql: Sql, { id, attempts }: Pick<ClaimedDelivery, 'id' | 'attempts'>) {
  await sql.query('UPDATE notification_deliveries SET claimed_until_fleet_ms = NULL WHERE id = $1 AND attempts = $2', [
    id,
    attempts,
  ]);
}

/** What waits for a channel that goes becomes dead letters. */
export async function giveUpDeliveries(
  sql: Sql,
  { channelId, at, error }: { readonly channelId: string; readonly at: FleetInstant; readonly error: string },
): Promise<void> {
  await sql.query(
    `WITH waiting AS (
       SELECT notification_deliveries.id FROM notification_deliveries
       WHERE notification_deliveries.channel_id = $1 AND notification_deliveries.state IN ('queued', 'failed')
       ORDER BY notification_deliveries.id FOR UPDATE)
     UPDATE notification_deliveries SET state = 'dead', is_collecting = false, last_error = $3, ended_fleet_ms = $2
     FROM waiting WHERE notification_deliveries.id = waiting.id`,
    [channelId, at, error],
  );
}

/** Queues a message anew, under the same id. */
export async function requeueDelivery(
  sql: Sql,
  { id, now, expiresAt }: { readonly id: string; readonly now: FleetInstant; readonly expiresAt: FleetInstant },
): Promise<void> {
  await sql.query(
    `UPDATE notification_deliveries SET state = 'queued', failures = 0, due_fleet_ms = $2, expires_fleet_ms = $3,
       awaits_channel = false, ended_fleet_ms = NULL WHERE id = $1`,
    [id, now, expiresAt],
  );
}

/** What the log forgets, and the alerts closed long ago whose end was never told. What somebody has locked waits a day. */
export async function forgetDeliveries(
  sql: Sql,
  {
    deliveredBefore,
    deadBefore,
    closedBefore,
  }: Readonly<Record<'deliveredBefore' | 'deadBefore' | 'closedBefore', number>>,
): Promise<void> {
  await sql.query(
    `WITH old AS (
       SELECT notification_deliveries.id FROM notification_deliveries
       WHERE (notification_deliveries.state = 'delivered' AND notification_deliveries.ended_fleet_ms < $1)
         OR (notification_deliveries.state = 'dead' AND notification_deliveries.ended_fleet_ms < $2)
       ORDER BY notification_deliveries.id FOR UPDATE SKIP LOCKED)
     DELETE FROM notification_deliveries USING old WHERE notification_deliveries.id = old.id`,
    [deliveredBefore, deadBefore],
  );
  await sql.query(
    `WITH old AS (
       SELECT told.route_id, told.alert_id FROM notification_told told JOIN alerts ON alerts.id = told.alert_id
       WHERE alerts.closed_fleet_ms < $1 ORDER BY told.route_id, told.alert_id FOR UPDATE OF told SKIP LOCKED)
     DELETE FROM notification_told USING old
     WHERE notification_told.route_id = old.route_id AND notification_told.alert_id = old.alert_id`,
    [closedBefore],
  );
}
