import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DeafSpan, NamedDeafSpan } from './listening.js';

/** One life of a listening process: a later life of the same node has a greater generation and ends this one's writes. */
export interface ListenerKey {
  readonly node: string;
  readonly generation: number;
}

export interface Registered extends ListenerKey {
  readonly listenedUntil: FleetInstant;
}

interface ListenerRow {
  readonly node: string;
  readonly generation: number;
  readonly listened_until_fleet_ms: number;
}

interface SpanRow {
  readonly from_fleet_ms: number;
  readonly until_fleet_ms: number;
}

/**
 * Begins a life of this node. What the life before proved stays until the new one listens. A node that joins others is
 * deaf for the time before it came: they may have been deaf then too.
 */
export async function registerListener(sql: Sql, node: string, at: FleetInstant): Promise<Registered> {
  const [row] = await sql.query<ListenerRow>(
    `INSERT INTO listeners (node, generation, started_fleet_ms, listened_until_fleet_ms) VALUES ($1, 1, $2, $2)
     ON CONFLICT (node) DO UPDATE SET generation = listeners.generation + 1, started_fleet_ms = $2
     RETURNING node, generation, listened_until_fleet_ms`,
    [node, at],
  );
  if (!row) throw new Error('The listener could not be registered');
  const { generation } = row;
  if (generation === 1 && at > 0)
    await sql.query(
      `INSERT INTO deaf_spans (listener, from_fleet_ms, until_fleet_ms, cause)
       SELECT $1, 0, $2, 'process-down' WHERE EXISTS (SELECT 1 FROM listeners WHERE node <> $1)
       ON CONFLICT (listener, from_fleet_ms) DO NOTHING`,
      [node, at],
    );
  return { node, generation, listenedUntil: row.listened_until_fleet_ms };
}

/** Moves the proof forward, never back. False when another life of the node has begun. */
export async function renewListener(sql: Sql, { node, generation }: ListenerKey, at: FleetInstant): Promise<boolean> {
  const rows = await sql.query(
    `UPDATE listeners SET listened_until_fleet_ms = GREATEST(listened_until_fleet_ms, $3)
     WHERE node = $1 AND generation = $2 RETURNING node`,
    [node, generation, at],
  );
  return rows.length > 0;
}

/** Stores that nothing was listened to from the last proof, or from before it, until `until`, and moves the proof there. */
export async function insertDeafSpan(
  sql: Sql,
  { node, generation }: ListenerKey,
  { from, until, cause }: NamedDeafSpan,
): Promise<boolean> {
  const locked = await sql.query<ListenerRow>(
    'SELECT * FROM listeners WHERE node = $1 AND generation = $2 FOR NO KEY UPDATE',
    [node, generation],
  );
  const [row] = locked;
  if (!row) return false;
  const begin = Math.min(row.listened_until_fleet_ms, from);
  if (begin < until)
    await sql.query(
      `INSERT INTO deaf_spans (listener, from_fleet_ms, until_fleet_ms, cause) VALUES ($1, $2, $3, $4)
       ON CONFLICT (listener, from_fleet_ms)
       DO UPDATE SET until_fleet_ms = GREATEST(deaf_spans.until_fleet_ms, excluded.until_fleet_ms)`,
      [node, begin, until, cause],
    );
  return renewListener(sql, { node, generation }, until);
}

/** What this node stored of its own deafness that ended after `endedAfter`; not the time before it first came. */
export async function listOwnSpans(sql: Sql, node: string, endedAfter: FleetInstant): Promise<NamedDeafSpan[]> {
  const rows = await sql.query<SpanRow & Pick<NamedDeafSpan, 'cause'>>(
    `SELECT from_fleet_ms, until_fleet_ms, cause FROM deaf_spans
     WHERE listener = $1 AND until_fleet_ms > $2 AND from_fleet_ms > 0 ORDER BY from_fleet_ms`,
    [node, endedAfter],
  );
  return rows.map((row) => ({ from: row.from_fleet_ms, until: row.until_fleet_ms, cause: row.cause }));
}

export async function listListeners(sql: Sql): Promise<{ node: string; listenedUntil: FleetInstant }[]> {
  const rows = await sql.query<ListenerRow>('SELECT node, listened_until_fleet_ms FROM listeners ORDER BY node');
  return rows.map((row) => ({ node: row.node, listenedUntil: row.listened_until_fleet_ms }));
}

/** The spans of all listeners that ended after `endedAfter`. */
export async function listDeafSpans(
  sql: Sql,
  endedAfter: FleetInstant,
): Promise<(DeafSpan & { readonly listener: string })[]> {
  const rows = await sql.query<SpanRow & { readonly listener: string }>(
    `SELECT listener, from_fleet_ms, until_fleet_ms FROM deaf_spans WHERE until_fleet_ms > $1
     ORDER BY listener, from_fleet_ms`,
    [endedAfter],
  );
  return rows.map((row) => ({
    listener: row.listener,
    from: row.from_fleet_ms,
    until: row.until_fleet_ms,
  }));
}
