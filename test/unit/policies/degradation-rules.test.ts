import { expect } from 'chai';
import fc from 'fast-check';
import { degradationOf, type NamedSpan } from '../../../policies/degradation-rules.js';
import { STALL_MS, causeOfStandStill, type StandStill } from '../../../policies/deafness-rules.js';

const NOW = 1_000_000;
const BEGIN = NOW - 300_000;
const span = (from: number, until: number, cause = 'paused'): NamedSpan => ({ from, until, cause });
const judge = (spans: readonly NamedSpan[], worstLagMs = 0) => degradationOf({ spans, worstLagMs }, NOW);

describe('a degraded manager', () => {
  const reasons: [string, readonly NamedSpan[], number, string | null][] = [
    ['nothing', [], 0, null],
    ['30 deaf seconds', [span(NOW - 40_000, NOW - 10_000)], 0, null],
    ['a moment more', [span(NOW - 40_001, NOW - 10_000)], 0, 'deaf'],
    ['many short times', [...Array(31).keys()].map((n) => span(BEGIN + n * 2000, BEGIN + n * 2000 + 1000)), 0, 'deaf'],
    ['two causes of one time', [span(NOW - 20_000, NOW), span(NOW - 20_000, NOW, 'database-away')], 0, null],
    ['a long time that is nearly past', [span(BEGIN - 90_000, BEGIN + 30_000)], 0, null],
    ['a long time that is not past', [span(BEGIN - 90_000, BEGIN + 30_001)], 0, 'deaf'],
    ['a lag of five seconds', [], 5000, null],
    ['a greater lag', [], 5001, 'scheduler-lag'],
    ['a port that did not accept', [span(NOW - 2000, NOW - 1000, 'not-accepting')], 9000, 'not-accepting'],
    ['a path that was broken', [span(NOW - 2000, NOW - 1000, 'self-suspicion')], 0, 'self-suspicion'],
    ['one that was broken long ago', [span(BEGIN - 2000, BEGIN, 'self-suspicion')], 0, null],
    ['an empty span', [span(NOW - 5, NOW - 5, 'not-accepting')], 0, null],
  ];
  for (const [what, spans, lag, reason] of reasons)
    it(`${reason === null ? 'is none with' : `is one (${reason}) with`} ${what}`, () => {
      expect(judge(spans, lag)?.reason ?? null).to.equal(reason);
    });

  it('tells the evidence', () => {
    const spans = [span(NOW - 10_000, NOW + 5000, 'stalled'), span(BEGIN - 5000, BEGIN + 30_000)];
    expect(judge(spans, 1200)).to.deep.equal({
      reason: 'deaf',
      deafMs: 40_000,
      deafMsByCause: { paused: 30_000, stalled: 10_000 },
      spans: [spans[1], spans[0]],
      worstLagMs: 1200,
    });
  });

  it('is one whose clock stands more than five minutes beside those of most computers', () => {
    const beside = (clocksBesideMs: number | null, worstLagMs = 0) =>
      degradationOf({ spans: [], worstLagMs, clocksBesideMs }, NOW);
    expect([beside(null), beside(300_000), beside(-300_000)]).to.deep.equal([null, null, null]);
    expect(beside(-300_001)).to.include({ reason: 'clock-doubted', clocksBesideMs: -300_001 });
    expect(beside(300_001, 5001)).to.include({ reason: 'scheduler-lag', clocksBesideMs: 300_001 });
    expect(beside(300_000, 5001)).not.to.have.property('clocksBesideMs');
  });

  it('counts every deaf millisecond of the window once', () => {
    const arbitrary = fc.array(
      fc.tuple(
        fc.integer({ min: -400, max: 20 }),
        fc.integer({ min: 1, max: 200 }),
        fc.constantFrom('paused', 'stalled'),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(arbitrary, (drawn) => {
        const spans = drawn.map(([from, length, cause]) =>
          span(NOW + from * 1000, NOW + (from + length) * 1000, cause),
        );
        const seconds = [...Array(300).keys()].map((n) => BEGIN + n * 1000);
        const deaf = seconds.filter((at) => spans.some(({ from, until }) => from <= at && at < until)).length;
        expect(judge(spans, 6000)?.deafMs).to.equal(deaf * 1000);
      }),
    );
  });
});

describe('a loop that stood still', () => {
  const stand = (stoodMs: number, more: Partial<StandStill> = {}): StandStill => ({
    stoodMs,
    suspendedMs: 0,
    otherThreadMs: undefined,
    ...more,
  });
  const causes: [string, StandStill, string | null][] = [
    ['for a second', stand(STALL_MS), null],
    ['for longer, without another thread', stand(1001), 'stalled'],
    ['while the other thread turned', stand(5000, { otherThreadMs: 4800 }), 'stalled'],
    ['while the other thread turned half of it', stand(5000, { otherThreadMs: 2500 }), 'stalled'],
    ['with the other thread', stand(5000, { otherThreadMs: 2499 }), 'paused'],
    ['with the machine', stand(5000, { suspendedMs: 4500, otherThreadMs: 400 }), 'suspended'],
    ['with clocks that differ by little', stand(5000, { suspendedMs: 500, otherThreadMs: 0 }), 'paused'],
    ['for a moment in which the machine slept', stand(900, { suspendedMs: 900 }), null],
  ];
  for (const [what, seen, cause] of causes)
    it(`${what}: ${cause ?? 'no news'}`, () => {
      expect(causeOfStandStill(seen)).to.equal(cause);
    });
});
