import type { Sql } from './sql.js';

/**
 * A place in a log that is read onward. Ids are given before a commit and sequences too, so neither is the order of
 * commits: a reader that goes by them alone passes over what commits late. The transaction's id, read only below the
 * oldest one still running, has no such gap. It holds within one cluster (`readClusterId`): whoever keeps a position keeps
 * the cluster's id beside it, and begins anew in another one.
 */
export interface CommitPosition {
  /** A decimal `xid8`. */
  readonly transactionId: string;
  readonly id: string;
}

export const LOG_BEGINNING: CommitPosition = {
  transactionId: '0',
  id: '00000000-0000-0000-0000-000000000000',
};

/** A table with `id` and `transaction_id`, indexed by both together in the order (transaction_id, id). */
export interface OnwardLog {
  readonly table: 'events' | 'audit_log';
  /** What is selected, without `id` and `transaction_id`; a constant, never a caller's text. */
  readonly columns: string;
  /** A condition of the reader's own; a constant too. */
  readonly condition?: string;
}

export interface OnwardRow {
  readonly id: string;
  /** A decimal `xid8`. */
  readonly transaction_id: string;
}

export interface OnwardPage<Row> {
  readonly rows: readonly (Row & OnwardRow)[];
  /** Where the next call goes on; the one that was given when nothing is new. */
  readonly position: CommitPosition;
}

/**
 * The rows after a position, at most `limit`, by (transaction id, id). Only transactions older than every running one
 * are read: a later call never finds a row before the position that an earlier one has answered. A long transaction
 * anywhere in the cluster that writes holds the reading back until it ends.
 */
export async function readInCommitOrder<Row extends object>(
  sql: Sql,
  { table, columns, condition = 'TRUE' }: OnwardLog,
  { after, limit }: { readonly after: CommitPosition; readonly limit: number },
): Promise<OnwardPage<Row>> {
  const rows = await sql.query<Row & OnwardRow>(
    `SELECT ${table}.id, ${table}.transaction_id::text AS transaction_id, ${columns}
     FROM ${table}
     WHERE (${table}.transaction_id, ${table}.id) > ($1::xid8, $2::uuid)
       AND ${table}.transaction_id < pg_snapshot_xmin(pg_current_snapshot()) AND ${condition}
     ORDER BY ${table}.transaction_id, ${table}.id LIMIT $3`,
    [after.transactionId, after.id, limit],
  );
  const last = rows.at(-1);
  return { rows, position: last ? { transactionId: last.transaction_id, id: last.id } : after };
}

/** The identity of the PostgreSQL cluster whose transaction ids these are: another one after a dump was restored. */
export async function readClusterId(sql: Sql): Promise<string> {
  const [row] = await sql.query<{ id: string }>('SELECT system_identifier::text AS id FROM pg_control_system()');
  if (!row) throw new Error('The cluster has no identity');
  return row.id;
}
