import { toRfc3339 } from '../../lib/clock.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import { dropPartitions, ensurePartitions, type PartitionedTable } from '../database/partitions.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';

const DAY_MS = 86_400_000;
const DAYS_AHEAD = 7;
/** What is older is dropped by whole days. */
export const RETENTION_DAYS: Readonly<Record<PartitionedTable, number>> = {
  events: 30,
  status_history: 400,
  heartbeat_gaps: 400,
};
/** Of histograms of lateness. */
const LATENESS_DAYS = 400;
const TABLES = ['events', 'heartbeat_gaps', 'status_history'] as const;
/** A spool that is not named for so long is gone. */
const LANE_POSITION_DAYS = 90;

export interface MaintenanceDeps {
  readonly inTransaction: HotTransaction;
  readonly fleetClock: FleetClock;
}

/** Makes the partitions of today and the week ahead and drops those past their retention. */
export async function keepPartitions({ inTransaction, fleetClock }: MaintenanceDeps): Promise<void> {
  const today = fleetClock.toWall(fleetClock.fleet());
  // A clock that is set far ahead by mistake must not cost the history.
  const trusted = Math.min(today, fleetClock.trustedTime());
  for (const table of TABLES)
    await inTransaction(async (sql) => {
      await ensurePartitions(sql, { table, fromMs: today, days: DAYS_AHEAD + 1 });
      await dropPartitions(sql, { table, beforeMs: trusted - RETENTION_DAYS[table] * DAY_MS });
    });
}

export async function deleteExpiredSessions({ inTransaction, fleetClock }: MaintenanceDeps): Promise<void> {
  await inTransaction((sql) =>
    sql.query('DELETE FROM sessions WHERE expires_at <= $1', [toRfc3339(fleetClock.trustedTime())]),
  );
}

/** Forgets what was acknowledged of spools that no agent has named for 90 days. */
export async function deleteLanePositions({ inTransaction, fleetClock }: MaintenanceDeps): Promise<void> {
  const before = fleetClock.fleet() - LANE_POSITION_DAYS * DAY_MS;
  await inTransaction((sql) => sql.query('DELETE FROM lane_positions WHERE named_fleet_ms < $1', [before]));
}

export async function deleteOldLateness({ inTransaction, fleetClock }: MaintenanceDeps): Promise<void> {
  const before = toRfc3339(fleetClock.trustedTime() - LATENESS_DAYS * DAY_MS).slice(0, 10);
  await inTransaction((sql) => sql.query('DELETE FROM lateness_histograms WHERE day < $1::date', [before]));
}
