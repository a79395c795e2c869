import { Problem } from '../../lib/problem.js';
import { sqlStateOf } from '../database/database-errors.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';

/** No transaction that can see the hot table may last longer (design.md §11). */
const STATEMENT_MS = 5000;
const STATEMENT_CANCELED = '57014';

/** Every statement is a transaction of its own that ends within 5 s; throws `unavailable` where it does not. */
export function boundedReads(inTransaction: UnitOfWork): Sql {
  return {
    async query<Row extends object>(text: string, parameters?: readonly unknown[]): Promise<Row[]> {
      const reading = inTransaction(
        async (manager) => {
          const sql = sqlOfManager(manager);
          await sql.query("SELECT set_config('statement_timeout', $1, true)", [String(STATEMENT_MS)]);
          return sql.query<Row>(text, parameters);
        },
        { idempotent: true },
      );
      return reading.catch((error: unknown) => {
        if (sqlStateOf(error) !== STATEMENT_CANCELED) throw error;
        const detail = 'A part of the report could not be read in time: the database is busy.';
        throw new Problem('unavailable', { detail, retryAfterSeconds: 10 }, error);
      });
    },
  };
}
