import { createHash } from 'node:crypto';
import { canonicalJson } from '../../lib/canonical-json.js';

/** A row of the audit log as it is hashed: every value as PostgreSQL writes it as text, so that nothing is rounded. */
export interface SealedRow {
  readonly id: string;
  /** RFC 3339, UTC, microseconds; null where it is infinite, which the manager never writes. */
  readonly at: string | null;
  readonly actor_id: string;
  readonly actor_name: string;
  readonly source_address: string | null;
  readonly action: string;
  readonly subject_type: string;
  readonly subject_id: string | null;
  /** The text of the `jsonb`. */
  readonly before: string | null;
  readonly after: string | null;
  /** A decimal `xid8`. */
  readonly transaction_id: string;
}

/** What the first seal stands on. */
export const FIRST_PREVIOUS_HASH: Buffer = Buffer.alloc(32);

/** The end of the chain at some time: whoever keeps it sees later that the chain was cut or made anew. */
export interface Checkpoint {
  readonly number: number;
  /** Lower-case hex. */
  readonly hash: string;
}

/** What the sealer knew before the rows of a batch came: at `at` no row waited for its seal. */
export interface Look {
  /** By the sealer's wall clock; RFC 3339, UTC, microseconds. */
  readonly at: string;
  /** Every transaction below it (a decimal `xid8`) had ended. */
  readonly settled: string;
  /** No transaction from it on had begun. */
  readonly next: string;
}

/** One link of the chain. */
export interface Seal {
  readonly number: number;
  readonly auditId: string;
  /** Of the row's transaction, decimal. */
  readonly transactionId: string;
  readonly previousHash: Buffer;
  readonly hash: Buffer;
  /** The cluster in which it was sealed. */
  readonly cluster: string;
  /** RFC 3339, UTC, microseconds, by the sealer's wall clock. */
  readonly sealedAt: string;
  /** In format 1 the hash covers the row alone; in format 2 the row's hash and the seal's own columns. */
  readonly format: number;
  /** Null in format 1. */
  readonly rowHash: Buffer | null;
  /** Null in format 1, where nothing was known, and where the sealer's wall clock was set since. */
  readonly look: Look | null;
}

/** SHA-256 over the canonical JSON (RFC 8785) of the row with the members of `SealedRow`. */
export function rowHash(row: SealedRow): Buffer {
  return sha256(rowJson(row));
}

/** Format 1: SHA-256 over the hash before and the row's canonical JSON. */
export function sealHashOfRow(previous: Buffer, row: SealedRow): Buffer {
  return sha256(previous, rowJson(row));
}

/** Format 2: SHA-256 over the hash before and the canonical JSON of the seal's own columns, the row's hash among them. */
export function sealHash(previous: Buffer, seal: Omit<Seal, 'hash' | 'previousHash'>): Buffer {
  const { look } = seal;
  const json = canonicalJson({
    format: seal.format,
    number: seal.number,
    row_hash: seal.rowHash?.toString('hex') ?? null,
    cluster: seal.cluster,
    sealed_at: seal.sealedAt,
    looked_at: look?.at ?? null,
    looked_settled: look?.settled ?? null,
    looked_next: look?.next ?? null,
  });
  return sha256(previous, json);
}

export const SEAL_FORMAT = 2;

/** What the rows of one batch are sealed with. */
export type Sealing = Pick<Seal, 'cluster' | 'sealedAt' | 'look'>;

/** The seal of a row after another one. */
export function sealRow(last: Pick<Seal, 'number' | 'hash'> | undefined, row: SealedRow, sealing: Sealing): Seal {
  const previousHash = last?.hash ?? FIRST_PREVIOUS_HASH;
  const seal = {
    number: (last?.number ?? 0) + 1,
    auditId: row.id,
    transactionId: row.transaction_id,
    format: SEAL_FORMAT,
    rowHash: rowHash(row),
    ...sealing,
  };
  return { ...seal, previousHash, hash: sealHash(previousHash, seal) };
}

/** An instant in milliseconds as it is hashed. */
export function toHashedInstant(ms: number): string {
  return new Date(ms).toISOString().replace(/Z$/, '000Z');
}

function rowJson(row: SealedRow): string {
  return canonicalJson({
    id: row.id,
    at: row.at,
    actor_id: row.actor_id,
    actor_name: row.actor_name,
    source_address: row.source_address,
    action: row.action,
    subject_type: row.subject_type,
    subject_id: row.subject_id,
    before: row.before,
    after: row.after,
    transaction_id: row.transaction_id,
  });
}

function sha256(...parts: readonly (Buffer | string)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

export function renderCheckpoint({ number, hash }: Checkpoint): string {
  return `${number}:${hash}`;
}

const CHECKPOINT = /^([1-9][0-9]{0,14}):([0-9a-f]{64})$/;

/** Reads `NUMBER:HASH`; undefined for anything else. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const [, number, hash] = CHECKPOINT.exec(text) ?? [];
  return number === undefined || hash === undefined ? undefined : { number: Number(number), hash };
}
