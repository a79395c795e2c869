import { expect } from 'chai';
import * as fc from 'fast-check';
import { percentilesOf, round } from '../../../scripts/bench/statistics.js';

describe('bench statistics', () => {
  it('takes percentiles by nearest rank, whatever the order', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(percentilesOf(values)).to.deep.equal({ p50Ms: 50, p95Ms: 95, p99Ms: 99 });
    expect(percentilesOf([7])).to.deep.equal({ p50Ms: 7, p95Ms: 7, p99Ms: 7 });
    expect(percentilesOf([9, 10, 2])).to.deep.equal({ p50Ms: 9, p95Ms: 10, p99Ms: 10 });
  });

  it('answers zeros where nothing was measured', () => {
    expect(percentilesOf([])).to.deep.equal({ p50Ms: 0, p95Ms: 0, p99Ms: 0 });
  });

  it('never puts a percentile outside of what was measured, nor out of order', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9999 }), { minLength: 1 }), (values) => {
        const { p50Ms, p95Ms, p99Ms } = percentilesOf(values);
        expect(p50Ms).to.be.at.most(p95Ms);
        expect(p95Ms).to.be.at.most(p99Ms);
        for (const figure of [p50Ms, p95Ms, p99Ms]) expect(values).to.include(figure);
      }),
    );
  });

  it('rounds to four significant digits', () => {
    expect(round(0.0812345)).to.equal(0.08123);
    expect(round(12_345.6)).to.equal(12_350);
    expect(round(Number.NaN)).to.equal(0);
    expect(round(Number.POSITIVE_INFINITY)).to.equal(0);
  });
});
