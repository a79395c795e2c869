import { readClusterId, type CommitPosition } from '../database/commit-order.js';
import type { Sql } from '../database/sql.js';
import { FIRST_PREVIOUS_HASH, rowHash, sealHash, sealHashOfRow } from './seal-rules.js';
import type { Checkpoint, Seal, SealedRow } from './seal-rules.js';
import {
  findUnbegun,
  findUnsealedBehind,
  listRows,
  listSeals,
  positionOf,
  readWaiting,
  type SealWithRow,
  type Waiting,
} from './seal-repository.js';
import { CLOCK_TOLERANCE_MS, createSealTimes, type AuditWarning, type SealTimes } from './seal-time-rules.js';

export const AUDIT_FAULTS = [
  'row-changed',
  'row-deleted',
  'row-reordered',
  'row-inserted',
  'row-unsealed',
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
  /** What is strange and proves nothing, the first `WARNINGS_MAX` of `warningCount`. */
  readonly warnings: readonly AuditWarning[];
  readonly warningCount: number;
}

export interface VerifyOptions {
  /** The verifier's wall clock: what has waited for long is told. */
  readonly now: number;
  /** Ends of the chain that were kept apart from the database: without one a cut-off end cannot be seen. */
  readonly checkpoints?: readonly Checkpoint[];
  readonly chunk?: number;
}

/** Small enough to hash without holding up an event loop that also serves. */
const CHUNK = 250;
const SMALLEST_ID = '00000000-0000-0000-0000-000000000000';

export const WARNINGS_MAX = 100;

/** Follows the chain from its beginning, in chunks; names the first row that is not what was sealed. */
export async function verifyAudit(sql: Sql, options: VerifyOptions): Promise<AuditVerification> {
  const { last, fault, told } = await walk(sql, options);
  const end = positionOf(last, await readClusterId(sql));
  const verified = last ? last.number : 0;
  const checkpoint = last ? { number: last.number, hash: last.hash.toString('hex') } : null;
  const found = fault ?? truncation(verified, options.checkpoints ?? []) ?? (await unsealed(sql, end));
  if (found) return { fault: found, verified, checkpoint, waiting: null, ...told.all() };
  const waiting = await readWaiting(sql, end);
  told.add(waitingTooLong(waiting, options.now));
  return { fault: null, verified, checkpoint, waiting: waiting.count, ...told.all() };
}

interface Walk {
  /** The last seal found good. */
  readonly last: Seal | undefined;
  readonly fault: AuditFault | undefined;
  readonly told: Warnings;
}

async function walk(sql: Sql, { checkpoints = [], chunk = CHUNK }: VerifyOptions): Promise<Walk> {
  const kept = new Map(checkpoints.map(({ number, hash }) => [number, hash]));
  const times = createSealTimes();
  const told = createWarnings();
  let last: Seal | undefined;
  for (;;) {
    const page = await listSeals(sql, { after: last?.number ?? 0, limit: chunk });
    for (const one of page) {
      const fault = (await faultOf(sql, one, { last, chunk })) ?? checkpointFault(one.seal, kept);
      if (fault) return { last, fault, told };
      told.add(strange(times, one));
      last = one.seal;
    }
    if (page.length < chunk) return { last, fault: undefined, told };
  }
}

function strange(times: SealTimes, { seal, row }: SealWithRow): AuditWarning[] {
  return row ? times.judge(seal, row) : [];
}

interface Warnings {
  add(warnings: readonly AuditWarning[]): void;
  all(): Pick<AuditVerification, 'warnings' | 'warningCount'>;
}

function createWarnings(): Warnings {
  const warnings: AuditWarning[] = [];
  let warningCount = 0;
  return {
    add(more) {
      warningCount += more.length;
      warnings.push(...more.slice(0, WARNINGS_MAX - warnings.length));
    },
    all: () => ({ warnings, warningCount }),
  };
}

function waitingTooLong({ count, oldest }: Waiting, now: number): AuditWarning[] {
  if (!oldest || Date.parse(oldest.at ?? '') >= now - CLOCK_TOLERANCE_MS) return [];
  const detail = `${count} rows wait for their seal, the oldest (${oldest.id}) since ${oldest.at}: no manager seals, or a transaction is held open.`;
  return [{ kind: 'row-waiting', number: null, auditId: oldest.id, detail }];
}

interface Place {
  /** The seal before. */
  readonly last: Seal | undefined;
  readonly chunk: number;
}

async function faultOf(sql: Sql, sealed: SealWithRow, place: Place): Promise<AuditFault | undefined> {
  return linkFault(sealed.seal, place.last) ?? (await contentFault(sql, sealed, place));
}

function linkFault({ number, auditId, previousHash }: Seal, last: Seal | undefined): AuditFault | undefined {
  const expected = (last?.number ?? 0) + 1;
  if (number !== expected) {
    const detail = `Seal ${expected} is missing; the next one is ${number}, of row ${auditId}.`;
    return { kind: 'seal-missing', number: expected, auditId: null, detail };
  }
  if (previousHash.equals(last?.hash ?? FIRST_PREVIOUS_HASH)) return undefined;
  const detail = `Seal ${number} of row ${auditId} does not stand on the one before: a seal was changed or taken out.`;
  return { kind: 'seal-changed', number, auditId, detail };
}

async function contentFault(
  sql: Sql,
  { seal, row }: SealWithRow,
  { last, chunk }: Place,
): Promise<AuditFault | undefined> {
  const previous = last?.hash ?? FIRST_PREVIOUS_HASH;
  const { number, auditId } = seal;
  if (!(await isSealWhole(sql, { seal, row, previous }))) {
    const detail = `Seal ${number} of row ${auditId} is not what its hash was made of: the seal was changed.`;
    return { kind: 'seal-changed', number, auditId, detail };
  }
  if (!row) return { kind: 'row-deleted', number, auditId, detail: `Row ${auditId} of seal ${number} was deleted.` };
  const isSealed = (other: SealedRow): boolean => isMadeOf(seal, { previous, row: other });
  if (!isSealed(row)) return changedOrReordered(sql, { seal, isSealed, chunk });
  if (row.transaction_id === seal.transactionId) return undefined;
  const detail = `Seal ${number} names another transaction than its row ${auditId}: the seal was changed.`;
  return { kind: 'seal-changed', number, auditId, detail };
}

/** Was the seal made of this row? */
function isMadeOf(seal: Seal, { previous, row }: { readonly previous: Buffer; readonly row: SealedRow }): boolean {
  if (seal.format === 1) return sealHashOfRow(previous, row).equals(seal.hash);
  return seal.rowHash !== null && rowHash(row).equals(seal.rowHash);
}

/**
 * In format 2 the hash tells. In format 1 it is the row's alone: the next seal stands on what it was, so a row that
 * gives that hash is as it was sealed.
 */
async function isSealWhole(
  sql: Sql,
  { seal, row, previous }: SealWithRow & { readonly previous: Buffer },
): Promise<boolean> {
  if (seal.format !== 1) return sealHash(previous, seal).equals(seal.hash);
  if (!row || isMadeOf(seal, { previous, row })) return true;
  const [next] = await listSeals(sql, { after: seal.number, limit: 1 });
  return !next?.seal.previousHash.equals(sealHashOfRow(previous, row));
}

/** Looks through the log for a row that the seal's hash was made of: then rows changed their places. */
async function changedOrReordered(
  sql: Sql,
  {
    seal,
    isSealed,
    chunk,
  }: { readonly seal: Seal; readonly isSealed: (row: SealedRow) => boolean; readonly chunk: number },
): Promise<AuditFault> {
  const { number, auditId } = seal;
  for (let after = SMALLEST_ID; ;) {
    const rows = await listRows(sql, { after, limit: chunk });
    const sealedRow = rows.find(isSealed);
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

/** A row that the sealer passed by, or that it will never come to. */
async function unsealed(sql: Sql, end: CommitPosition): Promise<AuditFault | undefined> {
  const behind = await findUnsealedBehind(sql, end);
  if (behind !== undefined) {
    const detail = `Row ${behind} stands before the end of the chain without a seal: it was put in later.`;
    return { kind: 'row-inserted', number: null, auditId: behind, detail };
  }
  const unbegun = await findUnbegun(sql);
  if (!unbegun) return undefined;
  const detail = `Row ${unbegun.id} bears the transaction ${unbegun.transactionId}, which has not begun: it was put in by hand, or came unsealed from another cluster.`;
  return { kind: 'row-unsealed', number: null, auditId: unbegun.id, detail };
}
