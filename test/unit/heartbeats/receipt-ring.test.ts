import { expect } from 'chai';
import fc from 'fast-check';
import { packReceipts, RECEIPT_BYTES, unpackReceipts } from '../../../server/heartbeats/receipt-ring.js';

describe('packing receipts', () => {
  it('gives back what fits its fields', () => {
    const duration = fc.option(fc.integer({ min: -0x7fff_ffff, max: 0x7fff_ffff }));
    const receipt = fc.record({
      receivedAt: fc.integer({ min: 0, max: 2 ** 47 }),
      latenessMs: duration,
      clockOffsetMs: duration,
      latencyMs: fc.option(fc.integer({ min: 0, max: 65_534 })),
    });
    fc.assert(
      fc.property(fc.array(receipt, { maxLength: 10 }), (receipts) => {
        expect(unpackReceipts(packReceipts(receipts))).to.deep.equal(receipts);
      }),
    );
  });

  it('clamps what does not, and leaves out a torn rest', () => {
    const bytes = packReceipts([{ receivedAt: 1, latenessMs: 1e15, clockOffsetMs: -1e15, latencyMs: 1e9 }]);
    expect(unpackReceipts(Buffer.concat([bytes, bytes.subarray(0, RECEIPT_BYTES - 1)]))).to.deep.equal([
      { receivedAt: 1, latenessMs: 0x7fff_ffff, clockOffsetMs: -0x7fff_ffff, latencyMs: 65_534 },
    ]);
  });
});
