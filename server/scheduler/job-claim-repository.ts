import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** A job is free when its owner does not renew for this long. */
export const JOB_LEASE_MS = 10_000;

export interface JobClaimant {
  readonly name: string;
  readonly owner: string;
  readonly at: FleetInstant;
}

/**
 * Takes a job that nobody owns, whose lease ran out, or that an earlier life of this owner left behind. Answers the
 * generation, undefined while another has it or is writing under it. The row stays locked until the transaction ends.
 */
export async function claimJob(sql: Sql, claimant: JobClaimant): Promise<number | undefined> {
  const generation = await takeFree(sql, claimant);
  if (generation !== undefined) return generation;
  // An INSERT would wait for whoever has the row locked, even when it is to do nothing: only a missing row is made.
  const made = await sql.query(
    `INSERT INTO jobs (name) SELECT $1 WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.name = $1)
     ON CONFLICT (name) DO NOTHING RETURNING name`,
    [claimant.name],
  );
  return made.length > 0 ? takeFree(sql, claimant) : undefined;
}

async function takeFree(sql: Sql, { name, owner, at }: JobClaimant): Promise<number | undefined> {
  const [row] = await sql.query<{ generation: number }>(
    `WITH free AS (
       SELECT jobs.name FROM jobs
       WHERE jobs.name = $1 AND (jobs.owner IS NULL OR jobs.owner = $2 OR jobs.lease_until_fleet_ms < $3)
       FOR UPDATE SKIP LOCKED)
     UPDATE jobs SET owner = $2, generation = jobs.generation + 1, lease_until_fleet_ms = $4
     FROM free WHERE free.name = jobs.name RETURNING jobs.generation`,
    [name, owner, at, at + JOB_LEASE_MS],
  );
  return row?.generation;
}

/**
 * Prolongs the lease and locks the row until the transaction ends, so that nobody else can take the job before what
 * this transaction writes is stored. False when the job is no longer this generation's.
 */
export async function renewJob(
  sql: Sql,
  { name, owner, at, generation }: JobClaimant & { readonly generation: number },
): Promise<boolean> {
  const rows = await sql.query(
    `UPDATE jobs SET lease_until_fleet_ms = GREATEST(lease_until_fleet_ms, $4)
     WHERE name = $1 AND owner = $2 AND generation = $3 RETURNING name`,
    [name, owner, generation, at + JOB_LEASE_MS],
  );
  return rows.length > 0;
}

export async function releaseJob(
  sql: Sql,
  { name, owner, generation }: Omit<JobClaimant, 'at'> & { readonly generation: number },
): Promise<void> {
  await sql.query(
    `UPDATE jobs SET owner = NULL, lease_until_fleet_ms = 0 WHERE name = $1 AND owner = $2 AND generation = $3`,
    [name, owner, generation],
  );
}
