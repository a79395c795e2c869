import { expect } from 'chai';
import fc from 'fast-check';
import { heardBy, instantOf, joined, type Span } from '../../../scripts/simulate/oracle/spans.js';

const spans = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 50 })), { maxLength: 8 })
  .map((pairs): Span[] => pairs.map(([from, length]) => ({ from, until: from + length })));

const isDeaf = (at: number, all: readonly Span[]): boolean => all.some(({ from, until }) => from <= at && at < until);

describe('the oracle’s listening time', () => {
  it('is the number of milliseconds in no span', () => {
    fc.assert(
      fc.property(spans, fc.integer({ min: 0, max: 600 }), (all, at) => {
        const heard = Array.from({ length: at }, (_, ms) => ms).filter((ms) => !isDeaf(ms, all)).length;
        expect(heardBy(at, joined(all))).to.equal(heard);
      }),
    );
  });

  it('comes to a value first where it is said to', () => {
    fc.assert(
      fc.property(spans, fc.integer({ min: 0, max: 400 }), (all, heard) => {
        const known = joined(all);
        const instant = instantOf(heard, known);
        expect(heardBy(instant, known)).to.equal(heard);
        if (instant > 0) expect(heardBy(instant - 1, known)).to.be.below(heard);
      }),
    );
  });

  it('never comes to a value behind an endless span', () => {
    expect(instantOf(11, [{ from: 10, until: Number.POSITIVE_INFINITY }])).to.equal(Number.POSITIVE_INFINITY);
    expect(instantOf(10, [{ from: 10, until: Number.POSITIVE_INFINITY }])).to.equal(10);
  });
});
