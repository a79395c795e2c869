import { Problem } from '../../lib/problem.js';
import { keysetOf, pageOf, parsePage, type ListOrder, type Page } from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DeliveriesQuery } from './delivery-dto.js';
import type { DeliveryState } from './delivery-repository.js';
import type { MessageKind } from './message.js';

export interface LoggedDelivery {
  readonly id: string;
  readonly channelId: string;
  readonly channelName: string | null;
  readonly routeId: string;
  readonly kind: MessageKind;
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly lastError: string | null;
  readonly alertIds: readonly string[];
  readonly alertCount: number;
  readonly createdAt: FleetInstant;
  readonly dueAt: FleetInstant;
  readonly endedAt: FleetInstant | null;
}

export interface LoggedAttempt {
  readonly attempt: number;
  readonly endedAt: FleetInstant;
  readonly durationMs: number;
  readonly error: string | null;
}

export const DELIVERY_ORDER: ListOrder = {
  list: 'notification-deliveries',
  keys: { createdAt: { column: 'deliveries.created_fleet_ms', type: 'integer' } },
  default: '-createdAt',
  id: 'deliveries.id',
};

const IDS_SHOWN = 100;

const COLUMNS = `deliveries.id, deliveries.channel_id AS "channelId", channels.name AS "channelName",
  deliveries.route_id AS "routeId", deliveries.kind, deliveries.state, deliveries.attempts,
  deliveries.last_error AS "lastError", deliveries.alert_count AS "alertCount",
  deliveries.created_fleet_ms AS "createdAt", deliveries.due_fleet_ms AS "dueAt",
  deliveries.ended_fleet_ms AS "endedAt",
  ARRAY(SELECT listed.alert_id::text FROM notification_delivery_alerts listed
        WHERE listed.delivery_id = deliveries.id ORDER BY listed.position, listed.alert_id LIMIT ${IDS_SHOWN}) AS "alertIds"`;

const TABLES = `notification_deliveries deliveries
  LEFT JOIN notification_channels channels ON channels.id = deliveries.channel_id`;

/** The log of messages, newest first. It names alerts by id only, so it takes no scope. */
export async function listDeliveries(sql: Sql, query: DeliveriesQuery): Promise<Page<LoggedDelivery>> {
  const page = parsePage(query, DELIVERY_ORDER);
  const keyset = keysetOf(page, 6);
  const rows = await sql.query<LoggedDelivery>(
    `SELECT ${COLUMNS} FROM ${TABLES}
     WHERE ($1::text IS NULL OR deliveries.state = $1) AND ($2::uuid IS NULL OR deliveries.channel_id = $2)
       AND ($3::uuid IS NULL OR deliveries.route_id = $3)
       AND ($4::uuid IS NULL OR deliveries.id IN (
         SELECT listed.delivery_id FROM notification_delivery_alerts listed WHERE listed.alert_id = $4))
       AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $5`,
    [
      query.state ?? null,
      query.channelId ?? null,
      query.routeId ?? null,
      query.alertId ?? null,
      page.limit + 1,
      ...keyset.parameters,
    ],
  );
  return pageOf(rows, page, ({ createdAt, id }) => [createdAt, id]);
}

/** Throws `notification-delivery-not-found`. */
export async function getDelivery(sql: Sql, id: string): Promise<LoggedDelivery> {
  const [row] = await sql.query<LoggedDelivery>(`SELECT ${COLUMNS} FROM ${TABLES} WHERE deliveries.id = $1`, [id]);
  if (!row) throw new Problem('notification-delivery-not-found');
  return row;
}

export async function readAttempts(sql: Sql, id: string): Promise<readonly LoggedAttempt[]> {
  return sql.query(
    `SELECT attempts.attempt, attempts.at_fleet_ms AS "endedAt", attempts.duration_ms AS "durationMs", attempts.error
     FROM notification_attempts attempts WHERE attempts.delivery_id = $1 ORDER BY attempts.attempt DESC LIMIT 100`,
    [id],
  );
}
