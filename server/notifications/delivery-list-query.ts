import { Problem } from '../../lib/problem.js';
import { keysetOf, pageOf, parsePage, type ListOrder, type Page } from '../admin-api/page.js';
import type { Scope } from '../access/scope.js';
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

/** Where the scope's parameters begin. */
const FIRST = 2;

/** What a reader sees of the log: messages of routes that belong to the scope, and of their alerts those of its computers. */
function seenBy(scope: Scope) {
  const { sql: visible, parameters } = scope.predicate('routes.policy_id', FIRST);
  const own = scope.predicate('concerned.policy_id', FIRST);
  const listed = scope.isAll
    ? 'notification_delivery_alerts listed'
    : `(SELECT one.* FROM notification_delivery_alerts one JOIN computers concerned ON concerned.id = one.computer_id
        WHERE ${own.sql}) AS listed`;
  const count = scope.isAll
    ? 'deliveries.alert_count'
    : `(SELECT count(*)::integer FROM ${listed} WHERE listed.delivery_id = deliveries.id)`;
  return { visible, parameters, listed, columns: columnsOf(listed, count) };
}

const columnsOf = (
  listed: string,
  count: string,
): string => `deliveries.id, deliveries.channel_id AS "channelId", channels.name AS "channelName",
  deliveries.route_id AS "routeId", deliveries.kind, deliveries.state, deliveries.attempts,
  deliveries.last_error AS "lastError", ${count} AS "alertCount",
  deliveries.created_fleet_ms AS "createdAt", deliveries.due_fleet_ms AS "dueAt",
  deliveries.ended_fleet_ms AS "endedAt",
  ARRAY(SELECT listed.alert_id::text FROM ${listed}
        WHERE listed.delivery_id = deliveries.id ORDER BY listed.position, listed.alert_id LIMIT ${IDS_SHOWN}) AS "alertIds"`;

const TABLES = `notification_deliveries deliveries
  LEFT JOIN notification_channels channels ON channels.id = deliveries.channel_id
  LEFT JOIN notification_routes routes ON routes.id = deliveries.route_id`;

/** The log of messages, newest first. */
export async function listDeliveries(sql: Sql, scope: Scope, query: DeliveriesQuery): Promise<Page<LoggedDelivery>> {
  const page = parsePage(query, DELIVERY_ORDER);
  const { visible, parameters, listed, columns } = seenBy(scope);
  const next = FIRST + parameters.length;
  const keyset = keysetOf(page, next + 4);
  const rows = await sql.query<LoggedDelivery>(
    `SELECT ${columns} FROM ${TABLES}
     WHERE ($${next}::text IS NULL OR deliveries.state = $${next})
       AND ($${next + 1}::uuid IS NULL OR deliveries.channel_id = $${next + 1})
       AND ($${next + 2}::uuid IS NULL OR deliveries.route_id = $${next + 2})
       AND ($${next + 3}::uuid IS NULL OR deliveries.id IN (
         SELECT listed.delivery_id FROM ${listed} WHERE listed.alert_id = $${next + 3}))
       AND ${visible} AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $1`,
    [
      page.limit + 1,
      ...parameters,
      query.state ?? null,
      query.channelId ?? null,
      query.routeId ?? null,
      query.alertId ?? null,
      ...keyset.parameters,
    ],
  );
  return pageOf(rows, page, ({ createdAt, id }) => [createdAt, id]);
}

/** Throws `notification-delivery-not-found`. */
export async function getDelivery(sql: Sql, scope: Scope, id: string): Promise<LoggedDelivery> {
  const { visible, parameters, columns } = seenBy(scope);
  const [row] = await sql.query<LoggedDelivery>(
    `SELECT ${columns} FROM ${TABLES} WHERE deliveries.id = $1 AND ${visible}`,
    [id, ...parameters],
  );
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
