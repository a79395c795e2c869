import type { Clock } from '../../lib/clock.js';
import { sqlStateOf } from '../database/database-errors.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import { readGeneration, type ForestGeneration } from '../policies/index.js';

export interface SnapshotDeps {
  readonly inTransaction: UnitOfWork;
  readonly clock: Clock;
}

/** No transaction that can see the hot table may last longer (design.md §11). */
const SNAPSHOT_MS = 5000;
const STATEMENT_CANCELED = '57014';

/** What was read did not fit into the time that a snapshot may last. */
export class SnapshotTooSlow extends Error {}

/**
 * Reads by one snapshot in which the forest is of this generation; undefined where it is not. Throws `SnapshotTooSlow`
 * after 5 s.
 */
export async function inSnapshot<T>(
  { inTransaction, clock }: SnapshotDeps,
  generation: ForestGeneration,
  read: (sql: Sql) => Promise<T>,
): Promise<T | undefined> {
  const reading = inTransaction(
    async (manager) => {
      const sql = boundedSql(sqlOfManager(manager), clock);
      // A hash over a million computers stays in memory.
      await sql.query("SELECT set_config('work_mem', '64MB', true)");
      const stored = await readGeneration(sql);
      const isPinned = stored.epoch === generation.epoch && stored.counter === generation.counter;
      return isPinned ? read(sql) : undefined;
    },
    { isolation: 'REPEATABLE READ', idempotent: true },
  );
  return reading.catch((error: unknown) => {
    throw sqlStateOf(error) === STATEMENT_CANCELED ? tooSlow(error) : error;
  });
}

/** All its statements together end within the time that a snapshot may last. */
function boundedSql(sql: Sql, clock: Clock): Sql {
  const endsAt = clock.monotonic() + SNAPSHOT_MS;
  return {
    async query(text, parameters) {
      const left = Math.ceil(endsAt - clock.monotonic());
      if (left <= 0) throw tooSlow();
      await sql.query("SELECT set_config('statement_timeout', $1, true)", [String(left)]);
      return sql.query(text, parameters);
    },
  };
}

function tooSlow(cause?: unknown): SnapshotTooSlow {
  return new SnapshotTooSlow(`The database did not answer within ${SNAPSHOT_MS} ms`, { cause });
}
