import { Problem } from '../../lib/problem.js';
import {
  containing,
  keysetOf,
  namedOrder,
  pageOfNamed,
  parsePage,
  type Page,
  type PageQuery,
} from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import { refusingTakenName } from '../database/taken-name.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Channel } from './channel.js';

export const CHANNEL_ORDER = namedOrder('notification-channels', 'notification_channels');

const COLUMNS = `notification_channels.id, notification_channels.name, notification_channels.type,
  notification_channels.settings, notification_channels.secrets, notification_channels.revision,
  notification_channels.created_at AS "createdAt", notification_channels.created_by AS "createdBy",
  notification_channels.updated_at AS "updatedAt", notification_channels.delivered_fleet_ms AS "deliveredAt",
  notification_channels.failed_fleet_ms AS "failedAt", notification_channels.last_error AS "lastError"`;

/** Channels belong to no policy, so nothing here takes a scope. */
export async function listChannels(sql: Sql, query: PageQuery): Promise<Page<Channel>> {
  const page = parsePage(query, CHANNEL_ORDER);
  const keyset = keysetOf(page, 3);
  const rows = await sql.query<Channel>(
    `SELECT ${COLUMNS} FROM notification_channels
     WHERE ($1::text IS NULL OR notification_channels.name ILIKE $1 ESCAPE '\\') AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $2`,
    [query.q === undefined ? null : containing(query.q), page.limit + 1, ...keyset.parameters],
  );
  return pageOfNamed(rows, page);
}

export async function findChannel(sql: Sql, id: string): Promise<Channel | undefined> {
  return (await sql.query<Channel>(`SELECT ${COLUMNS} FROM notification_channels WHERE id = $1`, [id]))[0];
}

/** Throws `notification-channel-not-found`. */
export async function getChannel(sql: Sql, id: string): Promise<Channel> {
  const channel = await findChannel(sql, id);
  if (!channel) throw new Problem('notification-channel-not-found');
  return channel;
}

/** The same, locked until the transaction ends. */
export async function lockChannel(sql: Sql, id: string): Promise<Channel> {
  await sql.query('SELECT 1 FROM notification_channels WHERE id = $1 FOR UPDATE', [id]);
  return getChannel(sql, id);
}

function taken({ name }: Channel) {
  return { noun: 'A notification channel', name };
}

/** Throws `name-taken`. */
export async function insertChannel(sql: Sql, channel: Channel): Promise<void> {
  await refusingTakenName(taken(channel), () =>
    sql.query(
      `INSERT INTO notification_channels
         (id, name, type, settings, secrets, revision, created_at, created_by, updated_at)
       VALUES ($1, $2, $3, $4::jsonb, $5, $6, $7, $8, $9)`,
      [
        channel.id,
        channel.name,
        channel.type,
        JSON.stringify(channel.settings),
        channel.secrets,
        channel.revision,
        channel.createdAt,
        channel.createdBy,
        channel.updatedAt,
      ],
    ),
  );
}

/** Throws `name-taken`. */
export async function saveChannel(sql: Sql, channel: Channel): Promise<void> {
  await refusingTakenName(taken(channel), () =>
    sql.query(
      `UPDATE notification_channels SET name = $2, settings = $3::jsonb, secrets = $4, revision = $5, updated_at = $6
       WHERE id = $1`,
      [
        channel.id,
        channel.name,
        JSON.stringify(channel.settings),
        channel.secrets,
        channel.revision,
        channel.updatedAt,
      ],
    ),
  );
}

export async function removeChannel(sql: Sql, id: string): Promise<void> {
  await sql.query('DELETE FROM notification_channels WHERE id = $1', [id]);
}

export interface NotedAttempt {
  readonly channelId: string;
  readonly at: FleetInstant;
  readonly isDelivered: boolean;
  /** Of what was delivered, that it did not reach everybody. */
  readonly error: string | null;
}

/** Stores how the last attempt went. */
export async function noteAttempt(sql: Sql, { channelId, at, isDelivered, error }: NotedAttempt): Promise<void> {
  await sql.query(
    `UPDATE notification_channels SET delivered_fleet_ms = CASE WHEN $3 THEN $2 ELSE delivered_fleet_ms END,
       failed_fleet_ms = CASE WHEN $4::text IS NULL THEN failed_fleet_ms ELSE $2 END, last_error = $4
     WHERE id = $1`,
    [channelId, at, isDelivered, error],
  );
}
