import { createHash } from 'node:crypto';
import { canonicalJson } from '../../lib/canonical-json.js';

/** A row of the audit log as it is hashed: every value as PostgreSQL writes it as text, so that nothing is rounded. */
export interface SealedRow {
  readonly id: string;
  /** RFC 3339, UTC, microseconds. */
  readonly at: string;
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

/** SHA-256 over the hash before and the canonical JSON (RFC 8785) of the row with the members of `SealedRow`. */
export function sealHash(previous: Buffer, row: SealedRow): Buffer {
  const json = canonicalJson({
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
  return createHash('sha256').update(previous).update(json, 'utf8').digest();
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
