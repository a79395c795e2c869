import { expect } from 'chai';
import fc from 'fast-check';
import type { FailedDial } from '../../../policies/dial-rules.js';
import { missDeadline, missesBy, silenceDeadline } from '../../../policies/heartbeat-rules.js';
import { createLedger, type Span } from '../../../policies/listening-ledger.js';
import { judge, type VerdictFacts } from '../../../policies/verdict-rules.js';
import { referenceDialDeadline } from './reference-deadline.js';
import { runs, shareOf } from '../../support/property-runs.js';

const S = 1000;
const HORIZON = 900;

const anyDial: fc.Arbitrary<FailedDial> = fc
  .record({ begun: fc.nat(330), length: fc.oneof(fc.constant(0), fc.nat(10)) })
  .map(({ begun, length }) => ({ begunAt: begun * S, endedAt: (begun + length) * S }));

interface DialCase {
  readonly spans: readonly Span[];
  readonly lastSeenAt: number;
  readonly contactDueAt: number;
  readonly intervalMs: number;
  readonly graceMs: number;
  readonly failed: readonly FailedDial[];
}

const anyCase: fc.Arbitrary<DialCase> = fc
  .record({
    spans: fc.array(fc.record({ from: fc.nat(160), length: fc.nat(25) }), { maxLength: 6 }),
    lastSeen: fc.nat(60),
    due: fc.nat(30),
    interval: fc.integer({ min: 5, max: 30 }),
    grace: fc.nat(6),
    failed: fc.array(anyDial, { maxLength: 8 }),
  })
  .map(({ spans, lastSeen, due, interval, grace, failed }) => ({
    spans: spans.map(({ from, length }) => ({ from: from * S, until: (from + length) * S })),
    lastSeenAt: lastSeen * S,
    contactDueAt: (lastSeen + Math.min(due, interval)) * S,
    intervalMs: interval * S,
    graceMs: grace * S,
    failed,
  }));

function asked({ spans, graceMs, failed, ...facts }: DialCase) {
  return { facts: { ...facts, dials: { failed, reason: null } }, rules: { graceMs, ledger: createLedger(spans) } };
}

function deadline(k: number, given: DialCase): number {
  const { facts, rules } = asked(given);
  return missDeadline(k, facts, rules);
}

const anyLaterSpan = fc.record({ gap: fc.nat(60), length: fc.integer({ min: 1, max: 30 }) });
const anyStanding = fc.tuple(anyCase, anyDial);
const miss = fc.integer({ min: 1, max: 5 });

describe('misses of a computer that only the manager dials', () => {
  it('agree with looking at every second', () => {
    let finite = 0;
    let moved = 0;
    fc.assert(
      fc.property(anyCase, miss, (given, k) => {
        const { facts, rules } = asked(given);
        const expected = referenceDialDeadline(k, given, HORIZON);
        expect(missDeadline(k, facts, rules)).to.equal(expected);
        if (Number.isFinite(expected)) finite += 1;
        if (Number.isFinite(expected) && expected > silenceDeadline(k, facts, rules)) moved += 1;
      }),
      runs(3000),
    );
    // The cases that matter did occur.
    expect(finite).to.be.greaterThan(shareOf(500));
    expect(moved).to.be.greaterThan(shareOf(200));
  });

  it('never fall before those of the silence, and not at all without a failed dial', () => {
    fc.assert(
      fc.property(anyCase, miss, (given, k) => {
        const { facts, rules } = asked(given);
        expect(missDeadline(k, facts, rules)).to.be.at.least(silenceDeadline(k, facts, rules));
        expect(deadline(k, { ...given, failed: [] })).to.equal(Number.POSITIVE_INFINITY);
      }),
    );
  });

  it('come one after another', () => {
    fc.assert(
      fc.property(anyCase, (given) => {
        const deadlines = [1, 2, 3, 4, 5].map((k) => deadline(k, given));
        expect(deadlines.toSorted((a, b) => a - b)).to.deep.equal(deadlines);
      }),
      runs(1000),
    );
  });

  it('are never put off by one more failed dial, nor brought forward where one is forgotten', () => {
    fc.assert(
      fc.property(anyCase, anyDial, miss, (given, dial, k) => {
        const more = { ...given, failed: [...given.failed, dial] };
        expect(deadline(k, more)).to.be.at.most(deadline(k, given));
      }),
      runs(2000),
    );
  });

  it('are never brought forward by a deaf span after those that are known', () => {
    fc.assert(
      fc.property(anyCase, miss, anyLaterSpan, (given, k, { gap, length }) => {
        const from = Math.max(0, ...given.spans.map(({ until }) => until)) + gap * S;
        const more = { ...given, spans: [...given.spans, { from, until: from + length * S }] };
        expect(deadline(k, more)).to.be.at.least(deadline(k, given));
      }),
      runs(1000),
    );
  });

  it('stand once they have fallen, whatever deaf span or failed dial comes later', () => {
    fc.assert(
      fc.property(anyStanding, miss, anyLaterSpan, ([given, dial], k, { gap, length }) => {
        const fallenAt = deadline(k, given);
        if (!Number.isFinite(fallenAt)) return;
        const from = Math.max(fallenAt, ...given.spans.map(({ until }) => until + 5 * S)) + gap * S;
        const later = { begunAt: fallenAt + dial.begunAt, endedAt: fallenAt + dial.endedAt };
        const spans = [...given.spans, { from, until: from + length * S }];
        expect(deadline(k, { ...given, spans, failed: [...given.failed, later] })).to.equal(fallenAt);
      }),
      runs(1000),
    );
  });

  it('have passed as often as misses are counted', () => {
    fc.assert(
      fc.property(anyCase, fc.nat(400 * S), (given, at) => {
        const { facts, rules } = asked(given);
        let missed = 0;
        while (missDeadline(missed + 1, facts, rules) <= at) missed += 1;
        expect(missesBy(at, facts, rules)).to.equal(missed);
      }),
      runs(3000),
    );
  });

  it('are known later, never earlier, where only the first failed dials and the last one are kept', () => {
    const kept = (failed: readonly FailedDial[]) =>
      failed.length > 3 ? [...failed.slice(0, 2), failed.at(-1)!] : failed;
    fc.assert(
      fc.property(anyCase, miss, (given, k) => {
        const failed = given.failed.toSorted((a, b) => a.begunAt - b.begunAt);
        expect(deadline(k, { ...given, failed: kept(failed) })).to.be.at.least(deadline(k, { ...given, failed }));
      }),
      runs(1000),
    );
  });
});

describe('verdicts that wait for a dial', () => {
  const rules = { missedAllowed: 1, graceMs: 5 * S, offlineAlertForStoppedVm: false, goodbyeToleranceMs: 0 };
  const factsOf = ({ lastSeenAt, contactDueAt, intervalMs, failed }: DialCase): VerdictFacts => ({
    everSeen: true,
    lastSeenAt,
    contactDueAt,
    intervalMs,
    dials: { failed, reason: null },
    goodbye: null,
    power: { state: 'unknown', since: -1, expiresAt: null },
    revokedAt: null,
    rulesSince: -1,
  });
  it('change at the end of a failed dial that is begun when one is needed, and by no dial that ends before', () => {
    let waited = 0;
    fc.assert(
      fc.property(anyCase, fc.nat(400), anyDial, (given, second, dial) => {
        const at = second * S;
        const ledger = createLedger(given.spans);
        const known = given.failed.filter(({ endedAt }) => endedAt <= at);
        const facts = factsOf({ ...given, failed: known });
        const present = judge({ facts, rules, ledger }, at);
        const withDial = (failed: FailedDial) =>
          judge({ facts: { ...facts, dials: { failed: [...known, failed], reason: null } }, rules, ledger }, at);
        if (present.dialNeededFrom > at) {
          const isStill = dial.endedAt <= at ? dial : { begunAt: at, endedAt: at };
          // An older dial may show that a miss fell earlier, but none is needed for what holds now.
          expect(withDial(isStill).status).to.equal(present.status);
          return;
        }
        waited += 1;
        expect(present.status).not.to.equal('offline');
        const isListening = !ledger.spans.some(({ from, until }) => from <= at && at < until);
        if (isListening) expect(withDial({ begunAt: at, endedAt: at }).status).not.to.equal(present.status);
      }),
      runs(2000),
    );
    expect(waited).to.be.greaterThan(shareOf(200));
  });
});
