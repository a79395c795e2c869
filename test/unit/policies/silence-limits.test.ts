import { expect } from 'chai';
import fc from 'fast-check';
import { missDeadline } from '../../../policies/heartbeat-rules.js';
import { createLedger } from '../../../policies/listening-ledger.js';
import {
  createSilenceTable,
  NEVER_MS,
  type SilenceLimit,
  type SilenceWindow,
} from '../../../policies/silence-limits.js';
import { runs } from '../../support/property-runs.js';

const SECOND = 1000;

/** Gaps and lengths around the sizes that matter: the joining of spans, intervals, graces and allowances. */
const spans = fc
  .array(fc.tuple(fc.constantFrom(1, 5, 6, 30, 70, 200, 1000), fc.constantFrom(1, 4, 20, 61, 300), fc.nat(3)), {
    maxLength: 8,
  })
  .map((steps) => {
    let from = 0;
    return steps.map(([gap, length, odd]) => {
      from += gap * SECOND + odd;
      const span = { from, until: from + length * SECOND };
      from = span.until;
      return span;
    });
  });
const windows = fc.array(
  fc.record<SilenceWindow>({
    intervalMs: fc.constantFrom(5, 10, 60, 600, 3600).map((seconds) => seconds * SECOND),
    graceMs: fc.constantFrom(0, 1, 5, 60).map((seconds) => seconds * SECOND),
    missedAllowed: fc.constantFrom<SilenceWindow['missedAllowed']>(0, 1, 2, 10, 'unlimited'),
  }),
  { minLength: 1, maxLength: 3 },
);
const receipts = fc.array(fc.tuple(fc.nat(4_000_000), fc.integer({ min: -5000, max: 700_000 }), fc.nat(9)), {
  minLength: 1,
  maxLength: 30,
});

interface Case {
  readonly deaf: readonly { readonly from: number; readonly until: number }[];
  readonly windows: readonly SilenceWindow[];
  readonly receipts: readonly (readonly [back: number, toDue: number, edge: number])[];
  readonly later: number;
}

function isPast({ seen, due }: SilenceLimit, facts: { readonly lastSeenAt: number; readonly contactDueAt: number }) {
  return facts.lastSeenAt <= seen && facts.contactDueAt <= due;
}

/** Compares the table with the deadline of every receipt: anywhere, and at, just before and just after ends of spans. */
function agreeWithDeadlines({ deaf, windows: given, receipts: heard, later }: Case): void {
  const ledger = createLedger(deaf);
  const at = (ledger.spans.at(-1)?.until ?? 0) + later;
  const table = createSilenceTable(ledger, at, given);
  for (const window of given) {
    const limits = table.limitsOf(window);
    for (const [back, toDue, nudge] of heard) {
      const edge = ledger.spans[nudge]?.until;
      const lastSeenAt = edge === undefined || back % 3 === 0 ? at - back : edge + (back % 5) - 2;
      const contactDueAt = lastSeenAt + Math.min(toDue, window.intervalMs);
      const limit = limits[table.cuts.filter((cut) => cut <= lastSeenAt).length]!;
      const facts = { lastSeenAt, contactDueAt, intervalMs: window.intervalMs };
      const deadlineOf = (miss: number) => missDeadline(miss, facts, { graceMs: window.graceMs, ledger });
      expect(isPast(limit.late, facts)).to.equal(deadlineOf(1) <= at);
      const allowed = window.missedAllowed === 'unlimited' ? Number.POSITIVE_INFINITY : window.missedAllowed;
      expect(isPast(limit.offline, facts)).to.equal(deadlineOf(allowed + 1) <= at);
    }
  }
}

describe('silence limits', () => {
  it('tell exactly what the deadlines tell, whatever spans lie behind', () => {
    const cases = fc.record<Case>({ deaf: spans, windows, receipts, later: fc.nat(2_000_000) });
    fc.assert(fc.property(cases, agreeWithDeadlines), runs(3000));
  }).timeout(60_000);

  it('need no cuts once every allowance has run out, however many spans there were', () => {
    const many = Array.from({ length: 5000 }, (_, index) => ({
      from: index * 100_000,
      until: index * 100_000 + 50_000,
    }));
    const window = { intervalMs: 60_000, graceMs: 5000, missedAllowed: 2 } as const;
    const ledger = createLedger(many);
    const last = many.at(-1)!.until;
    expect(createSilenceTable(ledger, last + 75_000, [window]).cuts).to.deep.equal([]);
    expect(createSilenceTable(ledger, last + 74_999, [window]).cuts).to.have.length(5);
  });

  it('let no silence be too long where absence is unlimited', () => {
    const table = createSilenceTable(createLedger([]), 1e12, []);
    const [limits] = table.limitsOf({ intervalMs: 5000, graceMs: 0, missedAllowed: 'unlimited' });
    expect(limits).to.deep.equal({
      late: { seen: 1e12 - 5000, due: 1e12 },
      offline: { seen: NEVER_MS, due: NEVER_MS },
    });
  });

  it('treat a span without end as listening that stands still', () => {
    const ledger = createLedger([{ from: 100_000, until: Number.POSITIVE_INFINITY }]);
    const table = createSilenceTable(ledger, 1_000_000, [{ intervalMs: 60_000, graceMs: 0, missedAllowed: 0 }]);
    const [limits] = table.limitsOf({ intervalMs: 60_000, graceMs: 0, missedAllowed: 0 });
    expect(table.cuts).to.deep.equal([]);
    expect(limits!.late.seen).to.equal(40_000);
  });
});
