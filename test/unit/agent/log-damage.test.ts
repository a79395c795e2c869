import { expect } from 'chai';
import { logDamageOf } from '../../../agent/spool/log-damage.js';

const torn = (bytes: number) => ({ damaged: undefined, torn: { bytes, operations: null } });

describe('a log', () => {
  it('that was never written is whole', () => {
    expect(logDamageOf([])).to.equal(undefined);
    expect(logDamageOf([Buffer.alloc(0)])).to.equal(undefined);
  });

  it('of noise is torn, and says nothing of operations that are not there', () => {
    expect(logDamageOf([Buffer.from([1, 2, 3])])).to.deep.equal(torn(3));
    expect(logDamageOf([Buffer.alloc(40_000)])).to.deep.equal(torn(40_000));
    expect(logDamageOf([Buffer.alloc(40_000), Buffer.alloc(0)])).to.deep.equal(torn(40_000));
  });
});
