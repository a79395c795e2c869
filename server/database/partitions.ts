import { toRfc3339 } from '../../lib/clock.js';
import type { Sql } from './sql.js';

export type PartitionedTable = 'events' | 'status_history' | 'heartbeat_gaps';

/**
 * Makes the daily partitions (UTC) of `days` days from the day of `fromMs` (wall milliseconds) on, named
 * `events_p20261121`; answers how many were missing. Rows that the default partition holds for them are moved.
 */
export async function ensurePartitions(
  sql: Sql,
  options: { readonly table: PartitionedTable; readonly fromMs: number; readonly days: number },
): Promise<number> {
  const [row] = await sql.query<{ made: number }>('SELECT wardbeat_ensure_partitions($1, $2, $3) AS made', [
    options.table,
    toRfc3339(options.fromMs),
    options.days,
  ]);
  return row?.made ?? 0;
}

/** Drops the daily partitions that end at or before `beforeMs` (wall milliseconds); answers how many. */
export async function dropPartitions(
  sql: Sql,
  options: { readonly table: PartitionedTable; readonly beforeMs: number },
): Promise<number> {
  const [row] = await sql.query<{ dropped: number }>('SELECT wardbeat_drop_partitions($1, $2) AS dropped', [
    options.table,
    toRfc3339(options.beforeMs),
  ]);
  return row?.dropped ?? 0;
}
