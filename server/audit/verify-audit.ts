import { readClusterId, type CommitPosition } from '../database/commit-order.js';
import type { Sql } from '../database/sql.js';
import { FIRST_PREVIOUS_HASH, sealHash, type Checkpoint } from './seal-rules.js';
import {
  countAfter,
  findUnsealedBehind,
  listRows,
  listSeals,
  positionOf,
  type Seal,
  type SealWithRow,
} from './seal-repository.js';

export const AUDIT_FAULTS = [
  'row-changed',
  'row-deleted',
  'row-reordered',
  'row-inserted',
  'seal-changed',
  'seal-missing',
  'truncated',
  'rewritten',
] as const;

/** The first thing found wrong. */
export interface AuditFault {
  readonly kind: (typeof AUDIT_FAULTS)[number];
  /** The seal's number in the chain; null for a row that no seal names. */
  readonly number: number | null;
  /** The row's id, where one is known. */
  readonly auditId: string | null;
  /** One sentence for people. */
  readonly detail: string;
}

export interface AuditVerification {
  readonly fault: AuditFault | null;
  /** Seals found good, from the first on. */
  readonly verified: number;
  /** The end of what was verified, to be kept apart and given to the next verification; null when nothing is sealed. */
  readonly checkpoint: Checkpoint | null;
  /** Rows that wait for their seal; null when a fault ended the verification. */
  readonly waiting: number | null;
}

export interface VerifyOptions {
  /** Ends of the chain that were kept apart from the database: without one a cut-off end cannot be seen. */
  readonly checkpoints?: readonly Checkpoint[];
  readonly chunk?: number;
}

/** Small enough to hash without holding up an event loop that also serves. */
const CHUNK = 250;
const SMALLEST_ID = '00000000-0000-0000-0000-000000000000';

/** Follows the chain from its beginning, in chunks; names the first row that is not what was sealed. */
export async function verifyAudit(sql: Sql, options: VerifyOptions = {}): Promise<AuditVerification> {
  const { last, fault } = await walk(sql, options);
  const end = positionOf(last, await readClusterId(sql));
  const verified = last ? last.number : 0;
  const checkpoint = last ? { number: last.number, hash: last.hash.toString('hex') } : null;
  const found = fault ?? truncation(verified, options.checkpoints ?? []) ?? (await insertion(sql, end));
  if (found) return { fault: found, verified, checkpoint, waiting: null };
  return { fault: null, verified, checkpoint, waiting: await countAfter(sql, end) };
}

interface Walk {
  /** The last seal found good. */
  readonly last: Seal | undefined;
  readonly fault: AuditFault | undefined;
}

async function walk(sql: Sql, { checkpoints = [], chunk = CHUNK }: VerifyOptions): Promise<Walk> {
  const kept = new Map(checkpoints.map(({ number, hash }) => [number, hash]));
  let last: Seal | undefined;
  for (;;) {
    const page = await listSeals(sql, { after: last?.number ?? 0, limit: chunk });
    for (const one of page) {
      const fault = (await faultOf(sql, one, { last, chunk })) ?? checkpointFault(one.seal, kept);
      if (fault) return { last, fault };
      last = one.seal;
    }
    if (page.length < chunk) return { last, fault: undefined };
  }
}

async function faultOf(
  sql: Sql,
  { seal, row }: SealWithRow,
  { last, chunk }: { readonly last: Seal | undefined; readonly chunk: number },
): Promise<AuditFault | undefined> {
  const expected = (last?.number ?? 0) + 1;
  const previous = last?.hash ?? FIRST_PREVIOUS_HASH;
  const { number, auditId } = seal;
  if (number !== expected) {
    const detail = `Seal ${expected} is missing; the next one is ${number}, of row ${auditId}.`;
    return { kind: 'seal-missing', number: expected, auditId: null, detail };
  }
  if (!seal.previousHash.equals(previous)) {
    const detail = `Seal ${number} of row ${auditId} does not stand on the one before: a seal was changed or taken out.`;
    return { kind: 'seal-changed', number, auditId, detail };
  }
  if (!row) return { kind: 'row-deleted', number, auditId, detail: `Row ${auditId} of seal ${number} was deleted.` };
  if (!sealHash(previous, row).equals(seal.hash)) return changedOrReordered(sql, { seal, previous, chunk });
  if (row.transaction_id === seal.transactionId) return undefined;
  const detail = `Seal ${number} names another transaction than its row ${auditId}: the seal was changed.`;
  return { kind: 'seal-changed', number, auditId, detail };
}

/** Looks through the log for a row that the seal's hash was made of: then rows changed their places. */
async function changedOrReordered(
  sql: Sql,
  { seal, previous, chunk }: { readonly seal: Seal; readonly previous: Buffer; readonly chunk: number },
): Promise<AuditFault> {
  const { number, auditId, hash } = seal;
  for (let after = SMALLEST_ID; ;) {
    const rows = await listRows(sql, { after, limit: chunk });
    const sealedRow = rows.find((row) => sealHash(previous, row).equals(hash));
    if (sealedRow) {
      const detail = `Row ${auditId} stands at seal ${number}, which was made of row ${sealedRow.id}.`;
      return { kind: 'row-reordered', number, auditId, detail };
    }
    const next = rows.at(-1)?.id;
    if (next === undefined || rows.length < chunk) break;
    after = next;
  }
  const detail = `Row ${auditId} of seal ${number} is not what was sealed.`;
  return { kind: 'row-changed', number, auditId, detail };
}

function checkpointFault({ number, auditId, hash }: Seal, known: ReadonlyMap<number, string>): AuditFault | undefined {
  const kept = known.get(number);
  if (kept === undefined || kept === hash.toString('hex')) return undefined;
  const detail = `The chain differs from the checkpoint at seal ${number}: it was made anew, at that row or before it.`;
  return { kind: 'rewritten', number, auditId, detail };
}

function truncation(end: number, checkpoints: readonly Checkpoint[]): AuditFault | undefined {
  const furthest = Math.max(0, ...checkpoints.map(({ number }) => number));
  if (furthest <= end) return undefined;
  const detail = `The chain ends at seal ${end}, but a checkpoint reaches to ${furthest}: the rows from seal ${end + 1} on were cut off.`;
  return { kind: 'truncated', number: end + 1, auditId: null, detail };
}

async function insertion(sql: Sql, end: CommitPosition): Promise<AuditFault | undefined> {
  const auditId = await findUnsealedBehind(sql, end);
  if (auditId === undefined) return undefined;
  const detail = `Row ${auditId} stands before the end of the chain without a seal: it was put in later.`;
  return { kind: 'row-inserted', number: null, auditId, detail };
}
