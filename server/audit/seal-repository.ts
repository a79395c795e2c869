import { LOG_BEGINNING, readInCommitOrder, type CommitPosition, type OnwardPage } from '../database/commit-order.js';
import type { Sql } from '../database/sql.js';
import type { SealedRow } from './seal-rules.js';

/** What is hashed of a row beside its id and its transaction's id. */
const CONTENT = `to_char(audit_log.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at,
  audit_log.actor_id, audit_log.actor_name, audit_log.source_address, audit_log.action, audit_log.subject_type,
  audit_log.subject_id, audit_log.before::text AS before, audit_log.after::text AS after`;

/** One link of the chain. */
export interface Seal {
  readonly number: number;
  readonly auditId: string;
  /** Of the row's transaction, decimal. */
  readonly transactionId: string;
  /** The cluster in which it was sealed. */
  readonly cluster: string;
  readonly previousHash: Buffer;
  readonly hash: Buffer;
}

interface SealColumns {
  readonly number: number;
  readonly audit_id: string;
  readonly seal_transaction_id: string;
  readonly cluster: string;
  readonly previous_hash: Buffer;
  readonly hash: Buffer;
}

const SEAL = `audit_seals.number, audit_seals.audit_id, audit_seals.transaction_id::text AS seal_transaction_id,
  audit_seals.cluster, audit_seals.previous_hash, audit_seals.hash`;

function toSeal(row: SealColumns): Seal {
  return {
    number: row.number,
    auditId: row.audit_id,
    transactionId: row.seal_transaction_id,
    cluster: row.cluster,
    previousHash: row.previous_hash,
    hash: row.hash,
  };
}

/**
 * Where the reading of unsealed rows goes on after the last seal. After a dump was restored into another cluster the log
 * is read from its beginning: what is sealed is left out.
 */
export function positionOf(seal: Seal | undefined, cluster: string): CommitPosition {
  return seal?.cluster === cluster ? { transactionId: seal.transactionId, id: seal.auditId } : LOG_BEGINNING;
}

/** The end of the chain; undefined while nothing is sealed. */
export async function findLastSeal(sql: Sql): Promise<Seal | undefined> {
  const [row] = await sql.query<SealColumns>(
    `SELECT ${SEAL} FROM audit_seals ORDER BY audit_seals.number DESC LIMIT 1`,
  );
  return row && toSeal(row);
}

const UNSEALED = 'NOT EXISTS (SELECT FROM audit_seals WHERE audit_seals.audit_id = audit_log.id)';

/** Committed rows without a seal after a position, in commit order. */
export function readUnsealed(
  sql: Sql,
  { after, limit }: { readonly after: CommitPosition; readonly limit: number },
): Promise<OnwardPage<SealedRow>> {
  return readInCommitOrder<SealedRow>(
    sql,
    { table: 'audit_log', columns: CONTENT, condition: UNSEALED },
    { after, limit },
  );
}

export async function insertSeals(sql: Sql, seals: readonly Seal[], sealedAt: Date): Promise<void> {
  await sql.query(
    `INSERT INTO audit_seals (number, audit_id, transaction_id, cluster, previous_hash, hash, sealed_at)
     SELECT input.number, input.audit_id, input.transaction_id::xid8, input.cluster, input.previous_hash, input.hash, $7
     FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::bytea[])
       AS input (number, audit_id, transaction_id, cluster, previous_hash, hash)
     ORDER BY input.number`,
    [
      seals.map(({ number }) => number),
      seals.map(({ auditId }) => auditId),
      seals.map(({ transactionId }) => transactionId),
      seals.map(({ cluster }) => cluster),
      seals.map(({ previousHash }) => previousHash),
      seals.map(({ hash }) => hash),
      sealedAt,
    ],
  );
}

/** A seal with the row that it names; undefined where that is gone. */
export interface SealWithRow {
  readonly seal: Seal;
  readonly row: SealedRow | undefined;
}

type SealWithColumns = SealColumns & { readonly [Key in keyof SealedRow]: SealedRow[Key] | null };

/** Seals after a number, in the order of the chain. */
export async function listSeals(
  sql: Sql,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<SealWithRow[]> {
  const rows = await sql.query<SealWithColumns>(
    `SELECT ${SEAL}, audit_log.id, audit_log.transaction_id::text AS transaction_id, ${CONTENT}
     FROM audit_seals LEFT JOIN audit_log ON audit_log.id = audit_seals.audit_id
     WHERE audit_seals.number > $1 ORDER BY audit_seals.number LIMIT $2`,
    [after, limit],
  );
  return rows.map((row) => ({ seal: toSeal(row), row: row.id === null ? undefined : (row as SealedRow) }));
}

/** Rows of the log by id, to look for the one that a hash was made of. */
export function listRows(
  sql: Sql,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<SealedRow[]> {
  return sql.query<SealedRow>(
    `SELECT audit_log.id, audit_log.transaction_id::text AS transaction_id, ${CONTENT}
     FROM audit_log WHERE audit_log.id > $1 ORDER BY audit_log.id LIMIT $2`,
    [after, limit],
  );
}

/** The first row at or before a position that no seal names: it was put there after its time. */
export async function findUnsealedBehind(sql: Sql, position: CommitPosition): Promise<string | undefined> {
  const [row] = await sql.query<{ id: string }>(
    `SELECT audit_log.id FROM audit_log
     WHERE (audit_log.transaction_id, audit_log.id) <= ($1::xid8, $2::uuid)
       AND ${UNSEALED}
     ORDER BY audit_log.transaction_id, audit_log.id LIMIT 1`,
    [position.transactionId, position.id],
  );
  return row?.id;
}

/** How many rows after a position wait for their seal. */
export async function countAfter(sql: Sql, position: CommitPosition): Promise<number> {
  const [row] = await sql.query<{ count: number }>(
    `SELECT count(*) AS count FROM audit_log
     WHERE (audit_log.transaction_id, audit_log.id) > ($1::xid8, $2::uuid) AND ${UNSEALED}`,
    [position.transactionId, position.id],
  );
  return row?.count ?? 0;
}
