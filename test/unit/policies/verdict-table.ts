/** Verdicts as tables: instants are seconds. */
import { expect } from 'chai';
import { createLedger, type Span } from '../../../policies/listening-ledger.js';
import { judge, type Verdict, type VerdictFacts, type VerdictRules } from '../../../policies/verdict-rules.js';

export const S = 1000;
export const NEVER = Number.POSITIVE_INFINITY;
export const RULES: VerdictRules = {
  missedAllowed: 2,
  graceMs: 5 * S,
  offlineAlertForStoppedVm: false,
  goodbyeToleranceMs: 300 * S,
};
export const FACTS: VerdictFacts = {
  everSeen: true,
  lastSeenAt: 0,
  contactDueAt: 52 * S,
  intervalMs: 60 * S,
  dials: null,
  goodbye: null,
  power: { state: 'unknown', since: -1, expiresAt: null },
  revokedAt: null,
  rulesSince: -1,
};

export interface Row {
  readonly name: string;
  readonly at: number;
  readonly facts?: Partial<VerdictFacts>;
  readonly rules?: Partial<VerdictRules>;
  readonly spans?: readonly Span[];
  /** Instants in seconds; `raised` is that of the alert, null for none. */
  readonly is: Partial<Omit<Verdict, 'alert'>> & { readonly raised?: number | null; readonly because?: string };
}

function judgeRow({ facts, rules, spans, at }: Omit<Row, 'name' | 'is'>): Verdict {
  const question = { facts: { ...FACTS, ...facts }, rules: { ...RULES, ...rules }, ledger: createLedger(spans ?? []) };
  return judge(question, at * S);
}

/** One test for each row. */
export function tested(rows: readonly Row[]): void {
  for (const { name, is, ...row } of rows) {
    it(name, () => {
      const { alert, since, offlineAt, nextChangeAt, dialNeededFrom, ...rest } = judgeRow(row);
      const { raised, because, ...expected } = is;
      const seen = {
        ...rest,
        since: since / S,
        offlineAt: offlineAt === null ? null : offlineAt / S,
        nextChangeAt: nextChangeAt / S,
        dialNeededFrom: dialNeededFrom / S,
      };
      expect(seen).to.include(expected);
      if (raised !== undefined) expect(alert && alert.raisedAt / S).to.equal(raised);
      if (because !== undefined) expect(alert?.reason).to.equal(because);
    });
  }
}

export const killed: Span[] = [{ from: 70 * S, until: 400 * S }];
export const goodbye = (
  reason: NonNullable<VerdictFacts['goodbye']>['reason'],
  expectedBack: number | null = null,
) => ({
  goodbye: { reason, receivedAt: 0, expectedBackMs: expectedBack === null ? null : expectedBack * S },
});
export const stopped = (since: number, expires: number | null = null) => ({
  power: { state: 'stopped', since: since * S, expiresAt: expires === null ? null : expires * S } as const,
});
