import { toRfc3339 } from '../../../lib/clock.js';
import type { Sql } from '../../../server/database/sql.js';
import type { TestClock } from '../../support/domain-world.js';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

interface HistoryWorld {
  readonly sql: Sql;
  readonly clock: TestClock;
}

/** Writes what the managers would have written: changes of one computer as [instant, status, reason?, noticed?]. */
export async function writeHistory(
  { sql, clock }: HistoryWorld,
  computerId: string,
  changes: readonly (readonly [since: number, status: string, reason?: string, noticed?: number])[],
): Promise<void> {
  let previous = 'pending';
  for (const [since, status, reason = 'unknown', noticed = since] of changes) {
    await sql.query(
      `INSERT INTO status_history (id, partition_at, computer_id, status, previous_status, reason, since_fleet_ms, noticed_fleet_ms)
       VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, $6, $7)`,
      [toRfc3339(clock.toWall(noticed)), computerId, status, previous, reason, since, noticed],
    );
    await sql.query('UPDATE computer_status SET status = $2, since_fleet_ms = $3 WHERE computer_id = $1', [
      computerId,
      status,
      since,
    ]);
    previous = status;
  }
}

export async function writeGap(
  { sql, clock }: HistoryWorld,
  computerId: string,
  [from, until, intervalMs = MINUTE]: readonly [from: number, until: number, intervalMs?: number],
): Promise<void> {
  await sql.query(
    `INSERT INTO heartbeat_gaps (id, partition_at, computer_id, from_fleet_ms, until_fleet_ms, interval_ms, deaf_ms)
     VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, 0)`,
    [toRfc3339(clock.toWall(until)), computerId, from, until, intervalMs],
  );
}

/** When the record of a computer was made. */
export async function makeOlder({ sql }: HistoryWorld, computerId: string, createdAt: number): Promise<void> {
  await sql.query('UPDATE computers SET created_fleet_ms = $2 WHERE id = $1', [computerId, createdAt]);
  await sql.query(
    `UPDATE computer_status SET since_fleet_ms = $2 WHERE computer_id = $1 AND computer_status.status = 'pending'`,
    [computerId, createdAt],
  );
}
