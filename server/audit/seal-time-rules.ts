import type { Look, Seal, SealedRow } from './seal-rules.js';

/** What is strange and proves nothing: the chain holds all the same. */
export const AUDIT_WARNINGS = ['row-out-of-time', 'seal-out-of-time', 'row-waiting'] as const;

export interface AuditWarning {
  readonly kind: (typeof AUDIT_WARNINGS)[number];
  /** The seal's number in the chain; null for a row that waits. */
  readonly number: number | null;
  readonly auditId: string;
  /** One sentence for people. */
  readonly detail: string;
}

/** Clocks of the managers' machines may differ by this, and a clock may be set by this unnoticed. */
export const CLOCK_TOLERANCE_MS = 300_000;

/** What is known of the time at which a row can have been written. */
export interface RowEvidence {
  /** Below this transaction (a decimal `xid8`) nothing waited once, and nothing could come any more. */
  readonly settled: string | null;
  /** Looked at before the row's transaction began; null where nothing is known. */
  readonly begunAfter: string | null;
  /** Null where a clock may have been set back before the sealing. */
  readonly sealedAt: string | null;
}

/** Says why a row cannot have been written when it says; undefined where it can. An instant that is none is out of time. */
export function outOfTime(row: SealedRow, { settled, begunAfter, sealedAt }: RowEvidence): string | undefined {
  const at = Date.parse(row.at ?? '');
  const shown = row.at ?? 'no date';
  if (settled !== null && BigInt(row.transaction_id) < BigInt(settled))
    return `bears the transaction ${row.transaction_id}, but was not there when all of them up to ${settled} had ended`;
  if (begunAfter !== null && !(at >= Date.parse(begunAfter) - CLOCK_TOLERANCE_MS))
    return `says ${shown}, but was written after ${begunAfter}`;
  if (sealedAt !== null && !(at <= Date.parse(sealedAt) + CLOCK_TOLERANCE_MS))
    return `says ${shown}, but was sealed at ${sealedAt}`;
  return undefined;
}

/** What one look alone proves of a row. */
export function evidenceOf({ look, sealedAt }: Pick<Seal, 'look' | 'sealedAt'>, row: SealedRow): RowEvidence {
  const isYounger = look !== null && BigInt(row.transaction_id) >= BigInt(look.next);
  return { settled: look?.settled ?? null, begunAfter: isYounger ? look.at : null, sealedAt: look && sealedAt };
}

/** Whether one instant is before another by more than clocks may differ: then a clock was set back. */
export function isSetBack(sealedAt: string, before: string): boolean {
  return Date.parse(sealedAt) < Date.parse(before) - CLOCK_TOLERANCE_MS;
}

export interface SealTimes {
  /** What is strange about the next seal of the chain and its row. */
  judge(seal: Seal, row: SealedRow): AuditWarning[];
}

/**
 * Judges the times of a chain from its beginning. A row is held against every look of the chain that was taken before
 * its transaction began, not its own seal's alone: who writes seals of his own gains nothing by leaving the look out.
 * Where the time of sealing goes back (a clock was set back, which is told) what was known before no longer counts; where
 * another cluster begins its transactions no longer do.
 */
export function createSealTimes(): SealTimes {
  let known = emptyKnowledge('');
  return {
    judge(seal, row) {
      // Nothing in a seal of format 1 but the row is held by its hash.
      if (seal.format === 1) return [];
      const latest = known.sealedAt;
      const wentBack = latest !== null && isSetBack(seal.sealedAt, latest);
      if (wentBack) known = emptyKnowledge(seal.cluster);
      if (seal.cluster !== known.cluster)
        known = { ...emptyKnowledge(seal.cluster), sealedAt: latest, begunAfter: known.begunAfter };
      learn(known, seal, row);
      const why = outOfTime(row, { ...known, sealedAt: evidenceOf(seal, row).sealedAt });
      const { number, auditId } = seal;
      const back = `Seal ${number} was made at ${seal.sealedAt}, after one of ${latest}: the manager's clock was set back, or somebody else made it.`;
      const strange = `Row ${auditId} of seal ${number} ${why}: it was put in later, or a clock was wrong.`;
      return [
        ...(wentBack ? [{ kind: 'seal-out-of-time', number, auditId, detail: back } as const] : []),
        ...(why === undefined ? [] : [{ kind: 'row-out-of-time', number, auditId, detail: strange } as const]),
      ];
    },
  };
}

interface Knowledge {
  readonly cluster: string;
  /** The latest of the chain. */
  sealedAt: string | null;
  settled: string | null;
  begunAfter: string | null;
  /** Looks beyond the rows seen so far, by their `next`. */
  readonly ahead: Look[];
}

function emptyKnowledge(cluster: string): Knowledge {
  return { cluster, sealedAt: null, settled: null, begunAfter: null, ahead: [] };
}

function learn(known: Knowledge, { sealedAt, look }: Seal, row: SealedRow): void {
  known.sealedAt = later(known.sealedAt, sealedAt);
  if (look) {
    known.settled = greater(known.settled, look.settled);
    const last = known.ahead.at(-1);
    if (!last || BigInt(look.next) > BigInt(last.next)) known.ahead.push(look);
  }
  const transaction = BigInt(row.transaction_id);
  for (let [first] = known.ahead; first && BigInt(first.next) <= transaction; [first] = known.ahead) {
    known.begunAfter = later(known.begunAfter, first.at);
    known.ahead.shift();
  }
}

function later(one: string | null, other: string): string {
  return one !== null && Date.parse(one) > Date.parse(other) ? one : other;
}

function greater(one: string | null, other: string): string {
  return one !== null && BigInt(one) > BigInt(other) ? one : other;
}
