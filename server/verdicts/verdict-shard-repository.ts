import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** A shard is lost when its owner does not renew for this long. */
export const LEASE_MS = 10_000;

/** A claim: every write of verdicts checks that its generation is still the shard's. */
export interface ShardClaim {
  readonly shard: number;
  readonly generation: number;
}

interface ClaimRow {
  readonly shard: number;
  readonly generation: number;
}

const toClaim = (row: ClaimRow): ShardClaim => ({ shard: row.shard, generation: row.generation });

export interface Claimant {
  readonly owner: string;
  readonly at: FleetInstant;
}

/**
 * Takes the shards that nobody owns, whose lease ran out, or that an earlier life of this owner left behind; not those
 * in `held`. Answers what was taken.
 */
export async function claimShards(sql: Sql, { owner, at }: Claimant, held: readonly number[]): Promise<ShardClaim[]> {
  const rows = await sql.query<ClaimRow>(
    `WITH free AS (
       SELECT verdict_shards.shard FROM verdict_shards
       WHERE (verdict_shards.owner IS NULL OR verdict_shards.owner = $1 OR verdict_shards.lease_until_fleet_ms < $3)
         AND NOT verdict_shards.shard = ANY($4::smallint[])
       ORDER BY verdict_shards.shard FOR UPDATE SKIP LOCKED)
     UPDATE verdict_shards
     SET owner = $1, generation = verdict_shards.generation + 1, lease_until_fleet_ms = $2
     FROM free WHERE free.shard = verdict_shards.shard
     RETURNING verdict_shards.shard, verdict_shards.generation`,
    [owner, at + LEASE_MS, at, held],
  );
  return rows.map(toClaim).sort((a, b) => a.shard - b.shard);
}

/** Prolongs the leases; answers those that are still this owner's. */
export async function renewShards(
  sql: Sql,
  { owner, at }: Claimant,
  held: readonly ShardClaim[],
): Promise<ShardClaim[]> {
  const rows = await sql.query<ClaimRow>(
    `WITH kept AS (
       SELECT verdict_shards.shard FROM verdict_shards
       JOIN unnest($3::smallint[], $4::bigint[]) AS held (shard, generation)
         ON held.shard = verdict_shards.shard AND held.generation = verdict_shards.generation
       WHERE verdict_shards.owner = $1
       ORDER BY verdict_shards.shard FOR NO KEY UPDATE OF verdict_shards)
     UPDATE verdict_shards SET lease_until_fleet_ms = $2 FROM kept WHERE kept.shard = verdict_shards.shard
     RETURNING verdict_shards.shard, verdict_shards.generation`,
    [owner, at + LEASE_MS, held.map(({ shard }) => shard), held.map(({ generation }) => generation)],
  );
  return rows.map(toClaim);
}

export async function releaseShards(sql: Sql, owner: string, held: readonly ShardClaim[]): Promise<void> {
  await sql.query(
    `UPDATE verdict_shards SET owner = NULL, lease_until_fleet_ms = 0
     FROM unnest($2::smallint[], $3::bigint[]) AS held (shard, generation)
     WHERE held.shard = verdict_shards.shard AND held.generation = verdict_shards.generation
       AND verdict_shards.owner = $1`,
    [owner, held.map(({ shard }) => shard), held.map(({ generation }) => generation)],
  );
}

/** Locks the rows of these claims against a new owner until the transaction ends; answers the shards still owned. */
export async function lockShards(sql: Sql, owner: string, held: readonly ShardClaim[]): Promise<ReadonlySet<number>> {
  const rows = await sql.query<ClaimRow & { readonly owner: string | null }>(
    'SELECT shard, generation, owner FROM verdict_shards WHERE shard = ANY($1::smallint[]) ORDER BY shard FOR SHARE',
    [held.map(({ shard }) => shard)],
  );
  const generations = new Map(held.map(({ shard, generation }) => [shard, generation]));
  const owned = rows.filter((row) => row.owner === owner && row.generation === generations.get(row.shard));
  return new Set(owned.map(({ shard }) => shard));
}
