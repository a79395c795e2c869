import type { Sql } from './sql.js';

/**
 * A place in a log that is read onward. Ids are given before a commit and sequences too, so neither is the order of
 * commits: a reader that goes by them alone passes over what commits late. The transaction's id, read only below the
 * oldest one still running, has no such gap.
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
  { table, columns }: OnwardLog,
  { after, limit }: { readonly after: CommitPosition; readonly limit: number },
): Promise<OnwardPage<Row>> {
  const rows = await sql.query<Row & OnwardRow>(
    `SELECT ${table}.id, ${table}.transaction_id::text AS transaction_id, ${columns}
     FROM ${table}
     WHERE (${table}.transaction_id, ${table}.id) > ($1::xid8, $2::uuid)
       AND ${table}.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
     ORDER BY ${table}.transaction_id, ${table}.id LIMIT $3`,
    [after.transactionId, after.id, limit],
  );
  const last = rows.at(-1);
  return { rows, position: last ? { transactionId: last.transaction_id, id: last.id } : after };
}
