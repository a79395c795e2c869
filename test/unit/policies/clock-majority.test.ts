import { expect } from 'chai';
import fc from 'fast-check';
import {
  commonChangeOf,
  isSameSize,
  majorityOf,
  type HeardClock,
  type SuspectChange,
} from '../../../policies/clock-majority.js';

const T0 = 1_790_000_000_000;
const MINUTE = 60_000;

const heard = (n: number, changes: Partial<HeardClock> = {}): HeardClock => ({
  computerId: `c${n}`,
  heardAt: T0 + 2 * MINUTE,
  intervalMs: MINUTE,
  aheadMs: 0,
  movedMs: 0,
  knownAt: T0 - 2 * MINUTE,
  errorMs: 10,
  toldMs: 0,
  ...changes,
});
const several = (count: number, changes: Partial<HeardClock> = {}, from = 1): HeardClock[] =>
  Array.from({ length: count }, (_none, n) => heard(from + n, changes));

describe('where most clocks stand', () => {
  const standing = (...offsets: number[]) => majorityOf(offsets.map((aheadMs, n) => heard(n, { aheadMs })));
  const fiveMinutes = [300_000, 300_100, 299_900, 300_500, 299_000];
  it('is told by five that stand together', () =>
    expect(standing(...fiveMinutes)).to.deep.equal({ aheadMs: 300_000, computers: 5, of: 5 }));
  it('is told by more than two thirds', () => {
    expect(standing(...fiveMinutes, 0, -9e9)).to.include({ computers: 5, of: 7 });
    expect(standing(...fiveMinutes, 305_000, -9e9, 0)).to.equal(null);
    expect(standing(...fiveMinutes, 0, 9e9, -9e9)).to.equal(null);
    expect(standing(...fiveMinutes, 300_001, 0, 10_000, -10_000)).to.equal(null);
  });
  it('is not told by four, nor by none', () => {
    expect(standing(...fiveMinutes.slice(1))).to.equal(null);
    expect(standing()).to.equal(null);
  });
  it('is not told by clocks that differ among each other', () =>
    expect(standing(0, 5000, 10_000, 15_000, 20_000)).to.equal(null));
  it('reaches two seconds to either side, and no further', () => {
    expect(standing(0, 1, 2, 3, 4000)).to.include({ computers: 5, of: 5 });
    expect(standing(0, 1, 2, 3, 4001)).to.equal(null);
  });
});

describe('a change that many show at once', () => {
  const change: SuspectChange = { computerId: 'c0', byMs: 300_000, errorMs: 20, from: T0 - MINUTE, until: T0 + MINUTE };
  const moved = { movedMs: 300_000 - 40 };

  it('is the manager’s, from three on', () => {
    expect(commonChangeOf(change, several(2, moved))).to.deep.equal({
      byMs: 300_000,
      computers: 3,
      of: 3,
      from: T0 - MINUTE,
      until: T0 + MINUTE,
    });
    expect(commonChangeOf(change, several(1, moved))).to.equal(null);
    expect(commonChangeOf(change, [])).to.equal(null);
  });

  it('counts nobody twice', () =>
    expect(commonChangeOf(change, [...several(1, moved), heard(0, moved)])).to.equal(null));

  it('is one computer’s own where those who were watched meanwhile stood still', () => {
    expect(commonChangeOf(change, several(9))).to.equal(null);
    expect(commonChangeOf(change, [...several(4, moved), ...several(2, {}, 10)])).to.include({ computers: 5, of: 7 });
    expect(commonChangeOf(change, [...several(3, moved), ...several(2, {}, 10)])).to.equal(null);
  });

  it('is narrowed by those who show it: who was not watched then says nothing', () => {
    const early = { ...moved, heardAt: T0 - 10_000 };
    const late = { ...moved, knownAt: T0 - 20_000 };
    const others = several(9, { heardAt: T0 - 15_000 }, 10);
    expect(commonChangeOf(change, [heard(1, early), heard(2, late), ...others])).to.include({
      computers: 3,
      of: 3,
      from: T0 - 20_000,
      until: T0 - 10_000,
    });
    expect(commonChangeOf(change, [heard(1, early), heard(2, late), ...several(2, {}, 10)])).to.equal(null);
  });

  it('is not one of two times', () => {
    const before = { ...moved, heardAt: T0 - 20_000 };
    const after = { ...moved, knownAt: T0 - 10_000 };
    expect(commonChangeOf(change, [heard(1, before), heard(2, after)])).to.equal(null);
  });

  it('is not shown by who moved by something else, told of it, or is not known', () => {
    for (const other of [
      { movedMs: 290_000 },
      { movedMs: -300_000 },
      { ...moved, toldMs: 300_000 },
      { movedMs: null },
      { ...moved, knownAt: null },
      { ...moved, knownAt: change.until },
      { ...moved, heardAt: change.from },
    ])
      expect(commonChangeOf(change, [...several(1, moved), heard(7, other)])).to.equal(null);
    expect(commonChangeOf(change, several(2, { movedMs: 400_000, toldMs: 100_000 }))).to.include({ computers: 3 });
  });

  it('of a small step is no step beside nothing', () => {
    expect(isSameSize(0, { byMs: 1500, errorMs: 100 })).to.equal(false);
    expect(isSameSize(1000, { byMs: 1500, errorMs: 100 })).to.equal(true);
    expect(isSameSize(999, { byMs: 1500, errorMs: 100 })).to.equal(false);
    expect(isSameSize(297_900, { byMs: 300_000, errorMs: 100 })).to.equal(true);
    expect(isSameSize(297_899, { byMs: 300_000, errorMs: 100 })).to.equal(false);
  });

  it('is found whatever the phases of the others are, and accuses none of them', () => {
    const phases = fc.array(fc.integer({ min: 1, max: MINUTE - 1 }), { minLength: 2, maxLength: 20 });
    const step = fc.integer({ min: 61_000, max: 7_200_000 });
    fc.assert(
      fc.property(phases, step, (delays, byMs) => {
        // Stepped at T0; each is heard once a minute, and its row knows the exchange of two reports before.
        const others = delays.map((delay, n) =>
          heard(n + 1, { movedMs: byMs - 30, heardAt: T0 + delay, knownAt: T0 + delay - 2 * MINUTE }),
        );
        const found = commonChangeOf({ ...change, byMs }, others);
        expect(found?.computers).to.equal(delays.length + 1);
        expect([(found?.from ?? 0) <= T0, (found?.until ?? 0) >= T0]).to.deep.equal([true, true]);
      }),
    );
  });
});
