import { expect } from 'chai';
import { Circumstances } from '../../../scripts/simulate/oracle/circumstances.js';

const row = (policy: string, power: { state?: string; since?: number; expires?: number } = {}) => ({
  id: 'c',
  policy_id: policy,
  power_state: power.state ?? 'unknown',
  power_since: power.since ?? null,
  power_expires: power.expires ?? null,
});

describe('what people have said of a computer', () => {
  it('is its policy, and for a moment the one before too', () => {
    const told = new Circumstances();
    told.read(row('a'), 0);
    told.read(row('a'), 500);
    told.read(row('b'), 100_000);
    expect(told.place).to.deep.equal({ policyId: 'b', from: 100_000 });
    expect(told.policiesAt(109_999)).to.deep.equal(['a', 'b']);
    expect(told.policiesAt(110_000)).to.deep.equal(['b']);
  });

  it('excuses a silence for as long as its machine is said to be stopped', () => {
    const told = new Circumstances();
    expect(told.excusedUntil(0)).to.equal(Number.NEGATIVE_INFINITY);
    told.read(row('a', { state: 'stopped', since: 50 }), 50);
    expect(told.excusedUntil(49)).to.equal(Number.POSITIVE_INFINITY);
    expect(told.excusedUntil(51)).to.equal(Number.NEGATIVE_INFINITY);
    told.read(row('a', { state: 'stopped', since: 50, expires: 90 }), 60);
    expect(told.excusedUntil(49)).to.equal(90);
    told.read(row('a', { state: 'running', since: 80 }), 80);
    expect(told.excusedUntil(49)).to.equal(80);
  });
});
