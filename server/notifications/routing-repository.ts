import { Problem } from '../../lib/problem.js';
import { containing, keysetOf, namedOrder, pageOfNamed, parsePage, type Page } from '../admin-api/page.js';
import { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { refusingTakenName } from '../database/taken-name.js';
import type { RoutingsQuery } from './routing-dto.js';
import type { Routing } from './routing.js';

export const ROUTING_ORDER = namedOrder('notification-routes', 'notification_routes');

/** What a `Routing` is read from. */
export const ROUTING_COLUMNS = `notification_routes.id, notification_routes.name,
  notification_routes.channel_id AS "channelId", notification_routes.min_severity AS "minSeverity",
  notification_routes.types, notification_routes.policy_id AS "policyId", notification_routes.label,
  notification_routes.group_seconds AS "groupSeconds", notification_routes.repeat_minutes AS "repeatMinutes",
  notification_routes.is_enabled AS enabled, notification_routes.revision,
  notification_routes.created_at AS "createdAt", notification_routes.created_by AS "createdBy",
  notification_routes.updated_at AS "updatedAt"`;

/** A route belongs to the policy that it names; one that names none, to no scope but the whole. */
export async function listRoutings(sql: Sql, scope: Scope, query: RoutingsQuery): Promise<Page<Routing>> {
  const page = parsePage(query, ROUTING_ORDER);
  const visible = scope.predicate('notification_routes.policy_id', 4);
  const keyset = keysetOf(page, visible.parameters.length + 4);
  const rows = await sql.query<Routing>(
    `SELECT ${ROUTING_COLUMNS} FROM notification_routes
     WHERE ($1::text IS NULL OR notification_routes.name ILIKE $1 ESCAPE '\\')
       AND ($2::uuid IS NULL OR notification_routes.channel_id = $2) AND ${visible.sql} AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $3`,
    [
      query.q === undefined ? null : containing(query.q),
      query.channelId ?? null,
      page.limit + 1,
      ...visible.parameters,
      ...keyset.parameters,
    ],
  );
  return pageOfNamed(rows, page);
}

/** Throws `notification-route-not-found`. */
export async function getRouting(sql: Sql, scope: Scope, id: string): Promise<Routing> {
  const visible = scope.predicate('notification_routes.policy_id', 2);
  const [routing] = await sql.query<Routing>(
    `SELECT ${ROUTING_COLUMNS} FROM notification_routes WHERE notification_routes.id = $1 AND ${visible.sql}`,
    [id, ...visible.parameters],
  );
  if (!routing) throw new Problem('notification-route-not-found');
  return routing;
}

/** Any of them, locked until the transaction ends. */
export async function lockRouting(sql: Sql, id: string): Promise<Routing> {
  await sql.query('SELECT 1 FROM notification_routes WHERE id = $1 FOR UPDATE', [id]);
  return getRouting(sql, Scope.all, id);
}

function valuesOf(routing: Routing): unknown[] {
  const { id, name, channelId, minSeverity, types, policyId, label, groupSeconds, repeatMinutes } = routing;
  const { enabled, revision, updatedAt } = routing;
  return [
    id,
    name,
    channelId,
    minSeverity,
    types,
    policyId,
    label,
    groupSeconds,
    repeatMinutes,
    enabled,
    revision,
    updatedAt,
  ];
}

function taken({ name }: Routing) {
  return { noun: 'A notification route', name };
}

/** Throws `name-taken`. */
export async function insertRouting(sql: Sql, routing: Routing): Promise<void> {
  await refusingTakenName(taken(routing), () =>
    sql.query(
      `INSERT INTO notification_routes (id, name, channel_id, min_severity, types, policy_id, label, group_seconds,
         repeat_minutes, is_enabled, revision, updated_at, created_at, created_by)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
      [...valuesOf(routing), routing.createdAt, routing.createdBy],
    ),
  );
}

/** Throws `name-taken`. */
export async function saveRouting(sql: Sql, routing: Routing): Promise<void> {
  await refusingTakenName(taken(routing), () =>
    sql.query(
      `UPDATE notification_routes SET name = $2, channel_id = $3, min_severity = $4, types = $5, policy_id = $6,
         label = $7, group_seconds = $8, repeat_minutes = $9, is_enabled = $10, revision = $11, updated_at = $12
       WHERE id = $1`,
      valuesOf(routing),
    ),
  );
}

/** With what it was told: nobody hears the end of it any more. */
export async function removeRouting(sql: Sql, id: string): Promise<void> {
  await sql.query(
    `WITH told AS (
       SELECT notification_told.route_id, notification_told.alert_id FROM notification_told
       WHERE notification_told.route_id = $1 ORDER BY notification_told.alert_id FOR UPDATE)
     DELETE FROM notification_told USING told
     WHERE notification_told.route_id = told.route_id AND notification_told.alert_id = told.alert_id`,
    [id],
  );
  await sql.query('DELETE FROM notification_routes WHERE id = $1', [id]);
}

export async function routesOfChannel(
  sql: Sql,
  channelId: string,
  limit: number,
): Promise<readonly { readonly id: string; readonly name: string }[]> {
  return sql.query(
    `SELECT notification_routes.id, notification_routes.name FROM notification_routes
     WHERE notification_routes.channel_id = $1 ORDER BY notification_routes.name, notification_routes.id LIMIT $2`,
    [channelId, limit],
  );
}

/** A policy that a route may name: it stays until the transaction ends. */
export async function holdPolicy(sql: Sql, policyId: string): Promise<boolean> {
  const rows = await sql.query('SELECT 1 FROM policies WHERE policies.id = $1 FOR KEY SHARE', [policyId]);
  return rows.length > 0;
}

/** A channel that a route may lead to: it stays until the transaction ends. */
export async function holdChannel(sql: Sql, channelId: string): Promise<boolean> {
  const rows = await sql.query(
    'SELECT 1 FROM notification_channels WHERE notification_channels.id = $1 FOR KEY SHARE',
    [channelId],
  );
  return rows.length > 0;
}
