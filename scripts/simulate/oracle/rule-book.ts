import type { TrueRules } from './silence-bounds.js';

interface PolicyRow {
  readonly id: string;
  readonly parent_id: string | null;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** The rules of a policy as they are committed, with when they became so. */
export interface RuleEntry {
  readonly from: number;
  readonly rules: TrueRules;
}

/** design.md §3: what counts where no policy says anything. */
const DEFAULTS = { heartbeatsMissedAllowed: 2, heartbeatGraceSeconds: 5 } as const;
/** A verdict that was begun under the rules before an edit may be stored just after it. */
const OVERLAP_MS = 10_000;

/** What policies say of silences, read from their rows and resolved by hand. */
export class RuleBook {
  readonly #history = new Map<string, RuleEntry[]>();

  read(rows: readonly PolicyRow[], at: number): void {
    const byId = new Map(rows.map((row) => [row.id, row]));
    for (const row of rows) {
      const rules = toRules(lineageOf(row, byId));
      const entries = this.#history.get(row.id) ?? [];
      const last = entries.at(-1)?.rules;
      if (last && last.missedAllowed === rules.missedAllowed && last.graceMs === rules.graceMs) continue;
      this.#history.set(row.id, [...entries, { from: at, rules }]);
    }
  }

  present(policyId: string): RuleEntry | undefined {
    return this.#history.get(policyId)?.at(-1);
  }

  /** All that a verdict stored at this instant may rest on. */
  applicable(policyId: string, at: number): TrueRules[] {
    const entries = this.#history.get(policyId) ?? [];
    return entries
      .filter((_entry, index) => (entries[index + 1]?.from ?? Number.POSITIVE_INFINITY) > at - OVERLAP_MS)
      .map(({ rules }) => rules);
  }
}

function lineageOf(row: PolicyRow, byId: ReadonlyMap<string, PolicyRow>): PolicyRow[] {
  const parent = row.parent_id === null ? undefined : byId.get(row.parent_id);
  return parent ? [row, ...lineageOf(parent, byId)] : [row];
}

function toRules(lineage: readonly PolicyRow[]): TrueRules {
  const valueOf = (key: keyof typeof DEFAULTS): unknown =>
    lineage.find(({ settings }) => settings[key] !== undefined)?.settings[key] ?? DEFAULTS[key];
  const missed = valueOf('heartbeatsMissedAllowed');
  return {
    missedAllowed: missed === 'unlimited' ? null : Number(missed),
    graceMs: Number(valueOf('heartbeatGraceSeconds')) * 1000,
  };
}
