import { LOG_BEGINNING, readInCommitOrder, type CommitPosition, type OnwardPage } from '../database/commit-order.js';
import type { Sql } from '../database/sql.js';
import type { Look, Seal, SealedRow } from './seal-rules.js';

/** Years before Christ are written as such: without it they would read like years after. */
function instant(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || CASE WHEN ${column} < '0001-01-01T00:00:00Z' THEN ' BC' ELSE '' END`;
}

/** What is hashed of a row beside its id and its transaction's id. */
const CONTENT = `${instant('audit_log.at')} AS at,
  audit_log.actor_id, audit_log.actor_name, audit_log.source_address, audit_log.action, audit_log.subject_type,
  audit_log.subject_id, audit_log.before::text AS before, audit_log.after::text AS after`;

interface SealColumns {
  readonly number: number;
  readonly audit_id: string;
  readonly seal_transaction_id: string;
  readonly cluster: string;
  readonly previous_hash: Buffer;
  readonly hash: Buffer;
  readonly sealed_at: string;
  readonly format: number;
  readonly row_hash: Buffer | null;
  readonly looked_at: string | null;
  readonly looked_settled: string;
  readonly looked_next: string;
}

const SEAL = `audit_seals.number, audit_seals.audit_id, audit_seals.transaction_id::text AS seal_transaction_id,
  audit_seals.cluster, audit_seals.previous_hash, audit_seals.hash, audit_seals.format, audit_seals.row_hash,
  ${instant('audit_seals.sealed_at')} AS sealed_at, ${instant('audit_seals.looked_at')} AS looked_at,
  audit_seals.looked_settled::text AS looked_settled, audit_seals.looked_next::text AS looked_next`;

function toSeal(row: SealColumns): Seal {
  return {
    number: row.number,
    auditId: row.audit_id,
    transactionId: row.seal_transaction_id,
    cluster: row.cluster,
    previousHash: row.previous_hash,
    hash: row.hash,
    sealedAt: row.sealed_at,
    format: row.format,
    rowHash: row.row_hash,
    look: row.looked_at === null ? null : { at: row.looked_at, settled: row.looked_settled, next: row.looked_next },
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

export async function insertSeals(sql: Sql, seals: readonly Seal[]): Promise<void> {
  await sql.query(
    `INSERT INTO audit_seals (number, audit_id, transaction_id, cluster, previous_hash, hash, sealed_at, format, row_hash,
       looked_at, looked_settled, looked_next)
     SELECT input.number, input.audit_id, input.transaction_id::xid8, input.cluster, input.previous_hash, input.hash,
       input.sealed_at, input.format, input.row_hash, input.looked_at, input.looked_settled::xid8, input.looked_next::xid8
     FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::timestamptz[],
         $8::smallint[], $9::bytea[], $10::timestamptz[], $11::text[], $12::text[])
       AS input (number, audit_id, transaction_id, cluster, previous_hash, hash, sealed_at, format, row_hash,
         looked_at, looked_settled, looked_next)
     ORDER BY input.number`,
    [
      seals.map(({ number }) => number),
      seals.map(({ auditId }) => auditId),
      seals.map(({ transactionId }) => transactionId),
      seals.map(({ cluster }) => cluster),
      seals.map(({ previousHash }) => previousHash),
      seals.map(({ hash }) => hash),
      seals.map(({ sealedAt }) => sealedAt),
      seals.map(({ format }) => format),
      seals.map((seal) => seal.rowHash),
      seals.map(({ look }) => look?.at ?? null),
      seals.map(({ look }) => look?.settled ?? null),
      seals.map(({ look }) => look?.next ?? null),
    ],
  );
}

/** Which transactions have ended and which have begun; what is below `settled` is visible to whoever reads after it. */
export async function readProgress(sql: Sql): Promise<Pick<Look, 'settled' | 'next'>> {
  const [row] = await sql.query<{ settled: string; next: string }>(
    `SELECT pg_snapshot_xmin(now.snapshot)::text AS settled, pg_snapshot_xmax(now.snapshot)::text AS next
     FROM (SELECT pg_current_snapshot() AS snapshot) now`,
  );
  if (!row) throw new Error('The database tells no snapshot');
  return row;
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

/** A row without a seal whose transaction has not begun in this cluster: it would wait for ever. */
export async function findUnbegun(sql: Sql): Promise<{ id: string; transactionId: string } | undefined> {
  const [row] = await sql.query<{ id: string; transaction_id: string }>(
    `SELECT audit_log.id, audit_log.transaction_id::text AS transaction_id FROM audit_log
     WHERE audit_log.transaction_id >= pg_snapshot_xmax(pg_current_snapshot()) AND ${UNSEALED}
     ORDER BY audit_log.transaction_id, audit_log.id LIMIT 1`,
  );
  return row && { id: row.id, transactionId: row.transaction_id };
}

/** Rows that wait for their seal, and the one that has waited longest by its own time. */
export interface Waiting {
  readonly count: number;
  readonly oldest: { readonly id: string; readonly at: string | null } | null;
}

export async function readWaiting(sql: Sql, position: CommitPosition): Promise<Waiting> {
  const rows = await sql.query<{ count: number; id: string; at: string | null }>(
    `SELECT count(*) OVER () AS count, audit_log.id, ${instant('audit_log.at')} AS at FROM audit_log
     WHERE (audit_log.transaction_id, audit_log.id) > ($1::xid8, $2::uuid) AND ${UNSEALED}
     ORDER BY audit_log.at, audit_log.id LIMIT 1`,
    [position.transactionId, position.id],
  );
  const [row] = rows;
  return row ? { count: row.count, oldest: { id: row.id, at: row.at } } : { count: 0, oldest: null };
}
