import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** A shard is lost when its owner does not renew for this long. */
export const LEASE_MS = 10_000;

/** A claim: every write of verdicts checks that its generation is still the shard's. */
export interface ShardClaim {
  readonly shard: number;
  readonly generation: number;
}

type ClaimRow = ShardClaim;

const toClaim = (row: ClaimRow): ShardClaim => ({ shard: row.shard, generation: row.generation });

export interface Claimant {
  readonly owner: string;
  readonly at: FleetInstant;
}

/** The tables whose rows say who works on which shard of the computers. */
export type ShardTable = 'verdict_shards' | 'dial_shards';

export interface ShardRepository {
  /**
   * Takes the shards that nobody owns, whose lease ran out, or that an earlier life of this owner left behind; not
   * those in `held`. Answers what was taken.
   */
  claimShards(sql: Sql, claimant: Claimant, held: readonly number[]): Promise<ShardClaim[]>;
  /** Prolongs the leases; answers those that are still this owner's. */
  renewShards(sql: Sql, claimant: Claimant, held: readonly ShardClaim[]): Promise<ShardClaim[]>;
  releaseShards(sql: Sql, owner: string, held: readonly ShardClaim[]): Promise<void>;
  /** Locks the rows of these claims against a new owner until the transaction ends; answers the shards still owned. */
  lockShards(sql: Sql, owner: string, held: readonly ShardClaim[]): Promise<ReadonlySet<number>>;
}

const toArrays = (held: readonly ShardClaim[]) => [
  held.map(({ shard }) => shard),
  held.map(({ generation }) => generation),
];

/** Work is claimed by row, with a generation that grows with every owner. */
export function createShardRepository(table: ShardTable): ShardRepository {
  return {
    async claimShards(sql, { owner, at }, held) {
      const rows = await sql.query<ClaimRow>(claimStatement(table), [owner, at + LEASE_MS, at, held]);
      return rows.map(toClaim).sort((a, b) => a.shard - b.shard);
    },
    async renewShards(sql, { owner, at }, held) {
      const rows = await sql.query<ClaimRow>(renewStatement(table), [owner, at + LEASE_MS, ...toArrays(held)]);
      return rows.map(toClaim);
    },
    async releaseShards(sql, owner, held) {
      await sql.query(
        `UPDATE ${table} SET owner = NULL, lease_until_fleet_ms = 0
         FROM unnest($2::smallint[], $3::bigint[]) AS held (shard, generation)
         WHERE held.shard = ${table}.shard AND held.generation = ${table}.generation AND ${table}.owner = $1`,
        [owner, ...toArrays(held)],
      );
    },
    async lockShards(sql, owner, held) {
      const rows = await sql.query<ClaimRow & { readonly owner: string | null }>(
        `SELECT shard, generation, owner FROM ${table} WHERE shard = ANY($1::smallint[]) ORDER BY shard FOR SHARE`,
        [held.map(({ shard }) => shard)],
      );
      const generations = new Map(held.map(({ shard, generation }) => [shard, generation]));
      const owned = rows.filter((row) => row.owner === owner && row.generation === generations.get(row.shard));
      return new Set(owned.map(({ shard }) => shard));
    },
  };
}

function claimStatement(table: ShardTable): string {
  return `
    WITH free AS (
      SELECT ${table}.shard FROM ${table}
      WHERE (${table}.owner IS NULL OR ${table}.owner = $1 OR ${table}.lease_until_fleet_ms < $3)
        AND NOT ${table}.shard = ANY($4::smallint[])
      ORDER BY ${table}.shard FOR UPDATE SKIP LOCKED)
    UPDATE ${table}
    SET owner = $1, generation = ${table}.generation + 1, lease_until_fleet_ms = $2
    FROM free WHERE free.shard = ${table}.shard
    RETURNING ${table}.shard, ${table}.generation`;
}

function renewStatement(table: ShardTable): string {
  return `
    WITH kept AS (
      SELECT ${table}.shard FROM ${table}
      JOIN unnest($3::smallint[], $4::bigint[]) AS held (shard, generation)
        ON held.shard = ${table}.shard AND held.generation = ${table}.generation
      WHERE ${table}.owner = $1
      ORDER BY ${table}.shard FOR NO KEY UPDATE OF ${table})
    UPDATE ${table} SET lease_until_fleet_ms = $2 FROM kept WHERE kept.shard = ${table}.shard
    RETURNING ${table}.shard, ${table}.generation`;
}
