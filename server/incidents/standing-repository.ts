import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { shardRange } from '../shards/shard-rules.js';
import { STANDING_TABLES } from '../statuses/liveness-row.js';
import type { Status } from '../statuses/status.js';

/** How a computer stands and what it shares with others. */
export interface StandingRow {
  readonly computer_id: string;
  readonly status: Status;
  readonly since_fleet_ms: number;
  readonly interval_ms: number | null;
  /** Its last report said that it was restarting or being updated. */
  readonly is_restarting: boolean;
  readonly policy_id: string;
  /** JSON text. */
  readonly labels: string;
  readonly observed_address: string | null;
  readonly proxy_in_use: string | null;
  readonly agent_version: string | null;
  readonly platform: string | null;
  /** The process that dials it. NOTE: of a computer that connects by itself, nothing stored says which one it used. */
  readonly manager_node: string | null;
}

const read = (ofJoined: (table: string) => string) => `
SELECT computers.id AS computer_id, computer_status.status, computer_status.since_fleet_ms,
  GREATEST(computer_live.confirmed_interval_ms, computer_live.delivered_interval_ms) AS interval_ms,
  COALESCE(computer_status.goodbye_reason IN ('restart', 'update'), false) AS is_restarting, computers.policy_id, computers.labels::text AS labels,
  computer_facts.observed_address, computer_facts.proxy_in_use, computer_facts.agent_version, computer_facts.platform,
  dial_shards.owner AS manager_node
FROM ${STANDING_TABLES}
  LEFT JOIN computer_facts ON computer_facts.computer_id = computers.id AND ${ofJoined('computer_facts')}
  LEFT JOIN computer_contacts ON computer_contacts.computer_id = computers.id
    AND computer_contacts.direction = 'managerInitiated' AND ${ofJoined('computer_contacts')}
  LEFT JOIN dial_shards ON computer_contacts.computer_id IS NOT NULL
    AND dial_shards.shard = get_byte(uuid_send(computers.id), 0) >> 2
WHERE ${['computer_live', 'computer_status'].map(ofJoined).join(' AND ')}`;

// Said of every table: the planner does not see that what is true of one id is true of all.
const READ_SOME = `${read((table) => `${table}.computer_id = ANY($1::uuid[])`)}
  AND computers.id = ANY($1::uuid[]) ORDER BY computers.id`;
const READ_SHARD = `${read((table) => `${table}.computer_id BETWEEN $1 AND $2`)}
  AND computers.id BETWEEN $1 AND $2 ORDER BY computers.id`;

export async function readStandings(sql: Sql, computerIds: readonly string[]): Promise<StandingRow[]> {
  return sql.query<StandingRow>(READ_SOME, [computerIds]);
}

export async function readShardStandings(sql: Sql, shard: number): Promise<StandingRow[]> {
  const { first, last } = shardRange(shard);
  return sql.query<StandingRow>(READ_SHARD, [first, last]);
}

/** A change of a status, or of a flag beside it. */
export interface StatusChange {
  readonly id: string;
  readonly computer_id: string;
  readonly status: Status;
  readonly previous_status: Status;
  readonly noticed_fleet_ms: number;
}

export interface ChangesPage {
  /** RFC 3339; a bound that keeps the statement to the newest partitions. */
  readonly partitionsFrom: string;
  readonly after: { readonly noticedAt: FleetInstant; readonly id: string };
  readonly limit: number;
}

/** The changes noticed after an instant, oldest first. */
export async function readStatusChanges(
  sql: Sql,
  { partitionsFrom, after, limit }: ChangesPage,
): Promise<StatusChange[]> {
  return sql.query<StatusChange>(
    `SELECT id, computer_id, status, previous_status, noticed_fleet_ms FROM status_history
     WHERE partition_at >= $1::timestamptz AND (noticed_fleet_ms, id) > ($2::bigint, $3::uuid)
     ORDER BY noticed_fleet_ms, id LIMIT $4`,
    [partitionsFrom, after.noticedAt, after.id, limit],
  );
}
