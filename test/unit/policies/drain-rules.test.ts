import { expect } from 'chai';
import fc from 'fast-check';
import { drainedContactMs, drainedReturnMs, shareOf } from '../../../policies/drain-rules.js';

const SECOND = 1000;

describe('when agents come back after a drain', () => {
  const drain = { endsAt: 30 * SECOND, spreadMs: 30 * SECOND };
  const minute = { share: 0.5, intervalMs: 60 * SECOND };
  const order = (receivedAt: number, usualMs: number, { share, intervalMs } = minute) =>
    drainedContactMs({ receivedAt, usualMs, intervalMs }, drain, share);

  it('is at their share of the time after its end', () => {
    expect(order(0, 20_000)).to.equal(45_000);
    expect(order(20_000, 20_000)).to.equal(25_000);
    expect(order(29_999, 20_000, { ...minute, share: 0 })).to.equal(1000);
  });

  it('is as usual for whom that is later anyway, cannot be put off so far, or comes after the end', () => {
    expect(order(0, 60_000)).to.equal(60_000);
    expect(order(1000, 5000, { ...minute, intervalMs: 5000 })).to.equal(5000);
    expect(order(30_000, 20_000)).to.equal(20_000);
  });

  it('is at their share of the spread for those whose connection is closed, and never more than 900 s away', () => {
    expect(drainedReturnMs(10_000, drain, 0)).to.equal(20_000);
    expect(drainedReturnMs(10_000, drain, 0.5)).to.equal(35_000);
    expect(drainedReturnMs(70_000, drain, 0)).to.equal(1000);
    expect(drainedReturnMs(0, { endsAt: 900_000, spreadMs: 900_000 }, 0.5)).to.equal(900_000);
  });

  it('is never before the end, and at most an interval or 900 s after the usual', () => {
    const times = fc.record({
      receivedAt: fc.integer({ min: 0, max: 2_000_000 }),
      intervalMs: fc.integer({ min: 5000, max: 86_400_000 }),
      part: fc.integer({ min: 80, max: 100 }),
      seconds: fc.integer({ min: 1, max: 900 }),
      share: fc.double({ min: 0, max: 0.999_999, noNaN: true }),
    });
    fc.assert(
      fc.property(times, ({ receivedAt, intervalMs, part, seconds, share }) => {
        const usualMs = Math.floor((intervalMs * part) / 100);
        const endsAt = 1_000_000;
        const ms = drainedContactMs({ receivedAt, usualMs, intervalMs }, { endsAt, spreadMs: seconds * SECOND }, share);
        expect(ms).to.be.at.least(1000);
        if (ms === usualMs) return;
        expect(receivedAt + ms).to.be.within(endsAt, endsAt + seconds * SECOND + 1000);
        expect(ms).to.be.at.most(usualMs + Math.min(intervalMs, 900 * SECOND));
      }),
    );
  });

  it('lies evenly over the time, however many are told', () => {
    for (const told of [10, 60, 1000]) {
      const tenths = Array.from({ length: 10 }, () => 0);
      for (let n = 1; n <= told; n += 1) {
        const tenth = Math.floor((order(10_000, 20_000, { ...minute, share: shareOf(n) }) - 20_000) / 3000);
        tenths[tenth] = (tenths[tenth] ?? 0) + 1;
      }
      expect(Math.max(...tenths) - Math.min(...tenths), String(tenths)).to.be.at.most(3);
    }
  });
});
