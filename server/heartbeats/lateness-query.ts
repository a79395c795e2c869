import { toRfc3339 } from '../../lib/clock.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { LatenessReply } from './lateness-dto.js';
import { LATENESS_BOUNDS_MS, LATENESS_BUCKETS } from './lateness-rules.js';

const DAY_MS = 86_400_000;

export interface LatenessQueryDeps {
  readonly sql: Sql;
  readonly clock: Pick<FleetClock, 'fleet' | 'toWall'>;
}

/** How late the heartbeats came of the computers attached to a policy itself; the newest day first. */
export async function readLateness(
  { sql, clock }: LatenessQueryDeps,
  policyId: string,
  days: number,
): Promise<LatenessReply> {
  const today = clock.toWall(clock.fleet());
  const from = toRfc3339(today - (days - 1) * DAY_MS).slice(0, 10);
  const rows = await sql.query<{ day: string; buckets: readonly number[] }>(
    `SELECT lateness_histograms.day, lateness_histograms.buckets FROM lateness_histograms
     WHERE lateness_histograms.policy_id = $1 AND lateness_histograms.day >= $2::date
     ORDER BY lateness_histograms.day DESC`,
    [policyId, from],
  );
  const total = Array.from({ length: LATENESS_BUCKETS }, (_none, place) =>
    rows.reduce((sum, { buckets }) => sum + (buckets[place] ?? 0), 0),
  );
  return {
    boundsMs: LATENESS_BOUNDS_MS,
    count: total.reduce((sum, count) => sum + count, 0),
    total,
    days: rows.map(({ day, buckets }) => ({ day, counts: buckets })),
  };
}
