import type { Sql } from '../database/sql.js';
import { LIVENESS_COLUMNS, LIVENESS_TABLES, STANDING_TABLES, type LivenessRow } from '../statuses/liveness-row.js';
import { STATUSES } from '../statuses/status.js';
import { shardRange } from '../shards/shard-rules.js';

export type SuspectRow = LivenessRow & { readonly offline_alert_open: boolean };

const LOCK_LIVE = `
SELECT computer_live.computer_id FROM computer_live WHERE computer_live.computer_id = ANY($1::uuid[])
ORDER BY computer_live.computer_id FOR NO KEY UPDATE`;

const READ_SUSPECTS = `
SELECT ${LIVENESS_COLUMNS},
  EXISTS (SELECT 1 FROM alerts WHERE alerts.type = 'computer-offline' AND alerts.subject = computers.id::text
          AND alerts.state IN ('raised', 'acknowledged')) AS offline_alert_open
FROM ${LIVENESS_TABLES}
WHERE computers.id = ANY($1::uuid[]) ORDER BY computers.id`;

/** Locks the live rows in id order, then reads: what was committed while waiting for a lock is seen. */
export async function lockSuspects(sql: Sql, ids: readonly string[]): Promise<SuspectRow[]> {
  await sql.query(LOCK_LIVE, [ids]);
  return sql.query<SuspectRow>(READ_SUSPECTS, [ids]);
}

const RECORD_BYTES = 64;
const APPLIANCE = 8;
const OVERRIDES = 16;
const SPECIAL = 32;
const DIALLED = 64;

/** One value for a whole shard: a million rows of a driver's objects take seconds, their bytes a fraction of one. */
const LOAD_SHARD = `
SELECT string_agg(
  uuid_send(computers.id) || uuid_send(computers.policy_id)
  || int8send(COALESCE(computer_live.last_seen_fleet_ms, -1))
  || int8send(COALESCE(computer_live.contact_due_fleet_ms, -1))
  || int8send(computers.verdict_rules_fleet_ms)
  || int4send(GREATEST(computer_live.confirmed_interval_ms, computer_live.delivered_interval_ms, 0))
  || int4send(array_position($3::text[], computer_status.status) - 1
    + CASE WHEN computers.kind = 'appliance' THEN ${APPLIANCE} ELSE 0 END
    + CASE WHEN computers.overrides IS NOT NULL THEN ${OVERRIDES} ELSE 0 END
    + CASE WHEN computer_status.goodbye_reason IS NOT NULL
        OR computers.power_since_fleet_ms >= COALESCE(computer_live.last_seen_fleet_ms, -1)
      THEN ${SPECIAL} ELSE 0 END
    + CASE WHEN dialled.computer_id IS NOT NULL THEN ${DIALLED} ELSE 0 END), ''::bytea) AS packed
FROM ${STANDING_TABLES}
  LEFT JOIN computer_contacts AS dialled
    ON dialled.computer_id = computers.id AND dialled.direction = 'managerInitiated'
    AND dialled.computer_id BETWEEN $1 AND $2
WHERE computers.id BETWEEN $1 AND $2`;

export interface PackedRecord {
  /** 16 bytes; valid until the next record. */
  readonly id: Buffer;
  readonly policyId: Buffer;
  readonly lastSeenAt: number | null;
  readonly contactDueAt: number | null;
  readonly rulesSince: number;
  readonly intervalMs: number;
  readonly status: (typeof STATUSES)[number];
  readonly kind: 'agent' | 'appliance';
  readonly hasOverrides: boolean;
  readonly isSpecial: boolean;
  readonly isDialled: boolean;
}

/** The computers of a shard, packed; undefined when it has none. */
export async function loadShard(sql: Sql, shard: number): Promise<Buffer | undefined> {
  const { first, last } = shardRange(shard);
  const [row] = await sql.query<{ packed: Buffer | null }>(LOAD_SHARD, [first, last, STATUSES]);
  return row?.packed ?? undefined;
}

export function countRecords(packed: Buffer): number {
  return packed.length / RECORD_BYTES;
}

export function readRecord(packed: Buffer, index: number): PackedRecord {
  const at = index * RECORD_BYTES;
  const flags = packed.readInt32BE(at + 60);
  return {
    id: packed.subarray(at, at + 16),
    policyId: packed.subarray(at + 16, at + 32),
    lastSeenAt: readInstant(packed, at + 32),
    contactDueAt: readInstant(packed, at + 40),
    rulesSince: readInteger(packed, at + 48),
    intervalMs: packed.readInt32BE(at + 56),
    status: STATUSES[flags & 7] ?? 'pending',
    kind: (flags & APPLIANCE) === 0 ? 'agent' : 'appliance',
    hasOverrides: (flags & OVERRIDES) !== 0,
    isSpecial: (flags & SPECIAL) !== 0,
    isDialled: (flags & DIALLED) !== 0,
  };
}

/** The overrides of a shard's computers that have some, by id. */
export async function loadOverrides(sql: Sql, shard: number): Promise<ReadonlyMap<string, string>> {
  const { first, last } = shardRange(shard);
  const rows = await sql.query<{ id: string; overrides: string }>(
    `SELECT id, overrides::text AS overrides FROM computers
     WHERE id BETWEEN $1 AND $2 AND overrides IS NOT NULL ORDER BY id`,
    [first, last],
  );
  return new Map(rows.map(({ id, overrides }) => [id, overrides]));
}

const CHANGED_DIALS = `
SELECT seen.computer_id::text AS computer_id
FROM unnest($1::uuid[], $2::bigint[]) AS seen (computer_id, ended_fleet_ms)
JOIN computer_dials ON computer_dials.computer_id = seen.computer_id
WHERE computer_dials.last_ended_fleet_ms <> seen.ended_fleet_ms`;

/** A computer and the end of its last failed dial as it was read; null where there was none. */
export interface SeenDial {
  readonly computerId: string;
  readonly endedAt: number | null;
}

const NO_DIAL = -1;

/** Those of whom another failed dial is stored by now. */
export async function listChangedDials(sql: Sql, seen: readonly SeenDial[]): Promise<string[]> {
  const rows = await sql.query<{ computer_id: string }>(CHANGED_DIALS, [
    seen.map(({ computerId }) => computerId),
    seen.map(({ endedAt }) => endedAt ?? NO_DIAL),
  ]);
  return rows.map((row) => row.computer_id);
}

function readInteger(packed: Buffer, at: number): number {
  return packed.readInt32BE(at) * 2 ** 32 + packed.readUInt32BE(at + 4);
}

function readInstant(packed: Buffer, at: number): number | null {
  const value = readInteger(packed, at);
  return value === -1 ? null : value;
}
