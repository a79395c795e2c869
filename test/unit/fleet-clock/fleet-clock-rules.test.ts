import { expect } from 'chai';
import {
  fleetAtStart,
  isStep,
  offsetAt,
  toTrustedOffsets,
  type Anchor,
} from '../../../server/fleet-clock/fleet-clock-rules.js';

const DAY = 86_400_000;
const ANCHOR: Anchor = { fleetMs: 1000, wallMs: 500_000, bootId: 'a', bootMs: 40_000 };

describe('the fleet instant of a start', () => {
  const cases = [
    { name: 'advances by the boot clock under the same boot id', bootId: 'a', bootMs: 45_000, wallMs: 0, fleet: 6000 },
    { name: 'ignores a wall clock set back', bootId: 'a', bootMs: 40_000, wallMs: -9 * DAY, fleet: 1000 },
    { name: 'never goes back with the boot clock', bootId: 'a', bootMs: 39_000, wallMs: 500_000, fleet: 1000 },
    { name: 'drops fractions of a millisecond', bootId: 'a', bootMs: 40_000.9, wallMs: 500_000, fleet: 1000 },
    { name: 'advances by the wall clock after a boot', bootId: 'b', bootMs: 7, wallMs: 501_000, fleet: 2000 },
    { name: 'takes 30 days of absence', bootId: 'b', bootMs: 7, wallMs: 500_000 + 30 * DAY, fleet: 1000 + 30 * DAY },
    { name: 'takes no more than 30 days', bootId: 'b', bootMs: 7, wallMs: 500_001 + 30 * DAY, fleet: 1000 },
    { name: 'stands still when the wall clock went back', bootId: 'b', bootMs: 7, wallMs: 499_999, fleet: 1000 },
  ];
  for (const { name, fleet, ...reading } of cases)
    it(name, () => expect(fleetAtStart(ANCHOR, reading, 0)).to.equal(fleet));

  it('is never behind what was stored', () => {
    expect(fleetAtStart(ANCHOR, { bootId: 'a', bootMs: 40_500, wallMs: 0 }, 1600)).to.equal(1600);
    expect(fleetAtStart(ANCHOR, { bootId: 'a', bootMs: 40_700, wallMs: 0 }, 1600)).to.equal(1700);
  });
});

describe('displaying fleet instants', () => {
  const offsets = [
    { fleetMs: 100, offsetMs: 0 },
    { fleetMs: 200, offsetMs: 5000 },
    { fleetMs: 300, offsetMs: -70 },
  ];
  const cases = [
    [50, 0],
    [100, 0],
    [199, 0],
    [200, 5000],
    [299, 5000],
    [300, -70],
    [Number.POSITIVE_INFINITY, -70],
  ] as const;
  for (const [at, offset] of cases)
    it(`uses the offset ${offset} at ${at}`, () => expect(offsetAt(offsets, at)).to.equal(offset));
  it('knows no offset before the first row', () => expect(offsetAt([], 5)).to.equal(0));
  it('takes a difference of more than half a second for a step', () => {
    expect([isStep(0, 500), isStep(0, 501), isStep(0, -501), isStep(100, 0)]).to.deep.equal([false, true, true, false]);
  });
});

describe('the time certificates are judged by', () => {
  const from = (...rows: readonly (readonly [number, number])[]) =>
    rows.map(([fleetMs, offsetMs]) => ({ fleetMs, offsetMs }));
  const cases = [
    { name: 'follows small steps', rows: from([0, 0], [10, 1000], [20, 300_000]), at: 20, offset: 300_000 },
    { name: 'leaves out a large step', rows: from([0, 0], [10, DAY]), at: 10 + DAY - 1, offset: 0 },
    { name: 'believes a large step after a day', rows: from([0, 0], [10, DAY]), at: 10 + DAY, offset: DAY },
    {
      name: 'forgets a large step undone within a day',
      rows: from([0, 0], [10, DAY], [50, 7]),
      at: 9 * DAY,
      offset: 7,
    },
    {
      name: 'judges a step back from a large one by what was trusted',
      rows: from([0, 0], [10, 3_600_000], [50, 3_600_000 + 1000]),
      at: 60,
      offset: 0,
    },
    {
      name: 'follows a clock that is wrong by a second per second',
      rows: from([0, 0], [1, 1000], [2, 2000]),
      at: 2,
      offset: 2000,
    },
    { name: 'looks at no later row', rows: from([0, 0], [10, 1000]), at: 9, offset: 0 },
  ];
  for (const { name, rows, at, offset } of cases)
    it(name, () => expect(offsetAt(toTrustedOffsets(rows), at)).to.equal(offset));
});
