import { expect } from 'chai';
import { LATENESS_BOUNDS_MS, LATENESS_BUCKETS, latenessBucket } from '../../../server/heartbeats/lateness-rules.js';

describe('the buckets of lateness', () => {
  it('ascend, and hold their bound', () => {
    expect(LATENESS_BOUNDS_MS).to.deep.equal([...LATENESS_BOUNDS_MS].sort((a, b) => a - b));
    for (const [place, bound] of LATENESS_BOUNDS_MS.entries()) {
      expect(latenessBucket(bound)).to.equal(place);
      expect(latenessBucket(bound + 1)).to.equal(place + 1);
    }
  });

  it('hold every lateness', () => {
    expect(latenessBucket(-86_400_000)).to.equal(0);
    expect(latenessBucket(1e15)).to.equal(LATENESS_BUCKETS - 1);
  });
});
