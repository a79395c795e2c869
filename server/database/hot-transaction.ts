import type { PoolUnitOfWork, TransactionOptions } from './in-transaction.js';
import { sqlOfClient, type Sql } from './sql.js';

/** One transaction of the hot path, seen through the narrow `Sql` port. */
export type HotTransaction = <T>(work: (sql: Sql) => Promise<T>, options?: TransactionOptions) => Promise<T>;

export function createHotTransaction(inTransaction: PoolUnitOfWork): HotTransaction {
  return (work, options) => inTransaction((client) => work(sqlOfClient(client)), options);
}
