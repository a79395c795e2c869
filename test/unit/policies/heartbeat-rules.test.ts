import { expect } from 'chai';
import fc from 'fast-check';
import {
  missDeadline,
  missesBy,
  nextContactMs,
  phaseOf,
  repeatContactMs,
  type ContactFacts,
} from '../../../policies/heartbeat-rules.js';
import { createLedger, type Span } from '../../../policies/listening-ledger.js';
import { referenceDeadline, type ReferenceCase } from './reference-deadline.js';
import { runs } from '../../support/property-runs.js';

const S = 1000;
const seconds = (from: number, until: number): Span => ({ from: from * S, until: until * S });
const dead: ContactFacts = { lastSeenAt: 0, contactDueAt: 52 * S, intervalMs: 60 * S };
const returned: ContactFacts = { lastSeenAt: 401 * S, contactDueAt: 453 * S, intervalMs: 60 * S };
const killed = seconds(70, 400);
const again = seconds(420, 430);

function deadline(k: number, facts: ContactFacts, spans: readonly Span[]): number {
  return missDeadline(k, facts, { graceMs: 5 * S, ledger: createLedger(spans) }) / S;
}

describe('the worked example of design.md §5', () => {
  const table: readonly (readonly [string, number, number, ContactFacts, Span[]])[] = [
    ['dead since 30 is late at 65', 1, 65, dead, []],
    ['dead since 30 is offline at 185 where nothing was deaf', 3, 185, dead, []],
    ['late stays at 65 however late it is computed', 1, 65, dead, [killed]],
    ['late stays at 65 after the second kill', 1, 65, dead, [killed, again]],
    ['offline moves to 515', 3, 515, dead, [killed]],
    ['offline moves to 525 by the second kill', 3, 525, dead, [killed, again]],
    ['one that returned at 401 is late at 466', 1, 466, returned, [killed]],
    ['one that returned at 401 is offline at 586', 3, 586, returned, [killed]],
    ['one that returned at 401 is late at 505 after the second kill', 1, 505, returned, [killed, again]],
    ['one that returned at 401 is offline at 596 after the second kill', 3, 596, returned, [killed, again]],
  ];
  for (const [name, k, expected, facts, spans] of table) {
    it(name, () => expect(deadline(k, facts, spans)).to.equal(expected));
  }
});

describe('the neighbours of the worked example', () => {
  const fast: ContactFacts = { lastSeenAt: 0, contactDueAt: 10 * S, intervalMs: 10 * S };
  const five = [seconds(5, 10), seconds(20, 25), seconds(35, 40), seconds(50, 55), seconds(65, 70)];
  const table: readonly (readonly [string, number, number, ContactFacts, Span[]])[] = [
    ['a span that begins at the deadline does not move it', 1, 65, dead, [seconds(65, 400)]],
    ['a span that begins 1 ms before the deadline moves it', 1, 475, dead, [{ from: 65 * S - 1, until: 400 * S }]],
    ['a span that begins 1 ms after the deadline does not', 1, 65, dead, [{ from: 65 * S + 1, until: 400 * S }]],
    ['a span that ended at the last contact gives no allowance', 1, 65, dead, [seconds(-100, 0)]],
    ['one that ended 1 ms after it does', 1, 75.001, dead, [{ from: -100 * S, until: 1 }]],
    [
      'a contact inside a span counts from the end of the span',
      1,
      475,
      { ...dead, lastSeenAt: 100 * S, contactDueAt: 152 * S },
      [killed],
    ],
    ['a due instant later than the interval allows counts', 1, 70, { ...dead, contactDueAt: 65 * S }, []],
    ['a due instant earlier than the interval does not', 1, 65, { ...dead, contactDueAt: 1 * S }, []],
    ['the second miss follows an interval after a late due instant', 2, 130, { ...dead, contactDueAt: 65 * S }, []],
    [
      'spans 4.9 s apart count as one',
      1,
      505,
      { ...dead, lastSeenAt: 401 * S, contactDueAt: 453 * S },
      [killed, seconds(420, 425), { from: 429_900, until: 430 * S }],
    ],
    [
      'the allowance after a span is bounded by 900 s',
      1,
      4515,
      { lastSeenAt: 0, contactDueAt: 0, intervalMs: 3600 * S },
      [seconds(3590, 3600)],
    ],
    ['the fourth span gives the last allowance, the fifth only its own length', 1, 85, fast, five],
    ['four spans give the allowance of the fourth', 1, 80, fast, five.slice(0, 4)],
    ['three spans give that of the third', 1, 65, fast, five.slice(0, 3)],
    ['a deadline that stands before the next span ends is not moved by it', 1, 35, fast, [five[0]!, seconds(35, 36)]],
    [
      'an endless span has no deadline behind it',
      3,
      Number.POSITIVE_INFINITY,
      dead,
      [{ from: 70 * S, until: Number.POSITIVE_INFINITY }],
    ],
    ['an endless span keeps a deadline before it', 1, 65, dead, [{ from: 70 * S, until: Number.POSITIVE_INFINITY }]],
  ];
  for (const [name, k, expected, facts, spans] of table) {
    it(name, () => expect(deadline(k, facts, spans)).to.equal(expected));
  }

  it('puts the millisecond before the deadline on the other side of it', () => {
    const rules = { graceMs: 5 * S, ledger: createLedger([killed]) };
    expect(missesBy(65 * S - 1, dead, rules)).to.equal(0);
    expect(missesBy(65 * S, dead, rules)).to.equal(1);
    expect(missesBy(515 * S - 1, dead, rules)).to.equal(2);
    expect(missesBy(515 * S, dead, rules)).to.equal(3);
  });
});

const anyCase: fc.Arbitrary<ReferenceCase> = fc
  .record({
    spans: fc.array(fc.record({ from: fc.nat(120), length: fc.nat(25) }), { maxLength: 7 }),
    lastSeen: fc.nat(60),
    due: fc.nat(30),
    interval: fc.integer({ min: 5, max: 30 }),
    grace: fc.nat(6),
  })
  .map(({ spans, lastSeen, due, interval, grace }) => ({
    spans: spans.map(({ from, length }) => seconds(from, from + length)),
    lastSeenAt: lastSeen * S,
    contactDueAt: (lastSeen + Math.min(due, interval)) * S,
    intervalMs: interval * S,
    graceMs: grace * S,
  }));

const rulesOf = ({ spans, graceMs }: ReferenceCase) => ({ graceMs, ledger: createLedger(spans) });

describe('deadlines', () => {
  it('agree with looking at every second', () => {
    fc.assert(
      fc.property(anyCase, fc.integer({ min: 1, max: 4 }), (given, k) => {
        expect(missDeadline(k, given, rulesOf(given))).to.equal(referenceDeadline(k, given, 900));
      }),
      runs(2000),
    );
  });

  it('come one after another and never inside a span', () => {
    fc.assert(
      fc.property(anyCase, (given) => {
        const rules = rulesOf(given);
        let before = Number.NEGATIVE_INFINITY;
        for (let k = 1; k <= 5; k += 1) {
          const at = missDeadline(k, given, rules);
          expect(at).to.be.at.least(before);
          for (const { from, until } of rules.ledger.spans) expect(at > from && at < until).to.equal(false);
          before = at;
        }
      }),
      runs(1000),
    );
  });

  it('are never moved to an earlier instant by a span after those that are known', () => {
    fc.assert(
      fc.property(anyCase, fc.nat(40), fc.integer({ min: 1, max: 30 }), (given, gap, length) => {
        const from = Math.max(0, ...given.spans.map(({ until }) => until)) + gap * S;
        const later = { ...given, spans: [...given.spans, { from, until: from + length * S }] };
        for (const k of [1, 2, 3])
          expect(missDeadline(k, later, rulesOf(later))).to.be.at.least(missDeadline(k, given, rulesOf(given)));
      }),
      runs(1000),
    );
  });

  it('are never moved to an earlier instant by any span while there are at most four', () => {
    const few = anyCase.filter(({ spans }) => spans.length <= 3);
    fc.assert(
      fc.property(few, fc.nat(150), fc.integer({ min: 1, max: 30 }), (given, from, length) => {
        const more = { ...given, spans: [...given.spans, seconds(from, from + length)] };
        for (const k of [1, 2, 3])
          expect(missDeadline(k, more, rulesOf(more))).to.be.at.least(missDeadline(k, given, rulesOf(given)));
      }),
      runs(1000),
    );
  });

  it('have passed as often as misses are counted', () => {
    fc.assert(
      fc.property(anyCase, fc.nat(400 * S), (given, at) => {
        const rules = rulesOf(given);
        let missed = 0;
        while (missDeadline(missed + 1, given, rules) <= at) missed += 1;
        expect(missesBy(at, given, rules)).to.equal(missed);
      }),
      runs(2000),
    );
  });

  it('count the misses of years at once', () => {
    const rules = { graceMs: 0, ledger: createLedger([]) };
    expect(missesBy(1e12, { lastSeenAt: 0, contactDueAt: 0, intervalMs: 5 * S }, rules)).to.equal(2e8);
  });
});

describe('ordering the next contact', () => {
  it('takes the whole interval in phase and shortens by at most a fifth towards the phase', () => {
    const order = (receivedAt: number): number => nextContactMs({ receivedAt, intervalMs: 100 * S, phaseMs: 40 * S });
    expect(order(40 * S)).to.equal(100 * S);
    expect(order(35 * S)).to.equal(100 * S);
    expect(order(35 * S - 1)).to.equal(80 * S);
    expect(order(40 * S + 200)).to.equal(100 * S - 200);
    expect(order(55 * S)).to.equal(85 * S);
    expect(order(61 * S)).to.equal(80 * S);
  });

  it('never exceeds the interval, falls short of four fifths of it or of a second', () => {
    fc.assert(
      fc.property(
        fc.nat(1e9),
        fc.integer({ min: 5 * S, max: 86_400 * S }),
        fc.nat(1e9),
        (receivedAt, intervalMs, phase) => {
          const wait = nextContactMs({ receivedAt, intervalMs, phaseMs: phase % intervalMs });
          expect(Number.isInteger(wait)).to.equal(true);
          expect(wait).to.be.within(Math.max(S, intervalMs * 0.8), intervalMs);
        },
      ),
    );
  });

  it('brings every computer to its phase within five contacts and keeps it there', () => {
    fc.assert(
      fc.property(fc.nat(1e7), fc.integer({ min: 5 * S, max: 600 * S }), fc.nat(1e7), (start, intervalMs, phase) => {
        const phaseMs = phase % intervalMs;
        let at = start;
        for (let contact = 0; contact < 5; contact += 1) at += nextContactMs({ receivedAt: at, intervalMs, phaseMs });
        const off = (((at - phaseMs) % intervalMs) + intervalMs) % intervalMs;
        expect(Math.min(off, intervalMs - off)).to.be.at.most(intervalMs * 0.05);
      }),
    );
  });

  it('gives a repeat what remains, at least a second', () => {
    expect(repeatContactMs(10_000, 4000)).to.equal(6000);
    expect(repeatContactMs(10_000, 9500)).to.equal(1000);
    expect(repeatContactMs(10_000, 20_000)).to.equal(1000);
  });

  it('spreads ids over the interval', () => {
    const tenths = new Set<number>();
    for (let index = 0; index < 200; index += 1)
      tenths.add(Math.floor(phaseOf(`00000000-0000-4000-8000-${String(index).padStart(12, '0')}`, 60 * S) / (6 * S)));
    expect(tenths.size).to.equal(10);
    expect(phaseOf('a', 5 * S)).to.be.within(0, 5 * S - 1);
    expect(phaseOf('a', 5 * S)).to.equal(phaseOf('a', 5 * S));
  });
});
