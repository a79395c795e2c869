import { expect } from 'chai';
import { tornTailOf } from '../../../agent/spool/torn-tail.js';

describe('the end of a log', () => {
  it('that was never written is none', () => expect(tornTailOf(Buffer.alloc(0))).to.equal(undefined));

  it('of noise is torn, and says nothing of its operations where they are not there', () => {
    expect(tornTailOf(Buffer.from([1, 2, 3]))).to.deep.equal({ bytes: 3, operations: null });
    expect(tornTailOf(Buffer.alloc(40_000))?.bytes).to.equal(40_000);
  });
});
