import { expect } from 'chai';
import fc from 'fast-check';
import { flapSlotMs, isFlapping, NO_FLAPS, withChanges, type FlapHistory } from '../../../policies/flapping-rules.js';

const SLOT_MS = 185_000;
/** The instant a little into a slot. */
const slot = (index: number): number => (1000 + index) * SLOT_MS + 1000;
const history = (slots: readonly number[], now: number, known: FlapHistory = NO_FLAPS): FlapHistory =>
  withChanges(known, slots.map(slot), { slotMs: SLOT_MS, at: slot(now) });
/** By hand: the weight, in hundredths, of a change that long ago. */
const weight = (slotsAgo: number): number => 118 - 2 * slotsAgo;

describe('flapping', () => {
  const table: readonly (readonly [string, readonly number[], number, boolean])[] = [
    ['nothing that changed', [], 0, false],
    ['one outage', [0, 1], 1, false],
    ['one outage within a sample', [0, 0], 0, false],
    ['one long outage', [0, 15], 15, false],
    ['two outages', [0, 1, 2, 3], 3, false],
    ['the third outage, before it ends', [0, 1, 2, 3, 4], 4, false],
    ['the third outage at its end', [0, 1, 2, 3, 4, 5], 5, true],
    ['three outages within 20 samples', [0, 3, 6, 9, 12, 15], 15, true],
    ['three outages over 20 samples, the weights just too low', [0, 1, 2, 3, 4, 5], 13, false],
    ['three outages over more than 20 samples', [0, 4, 8, 12, 16, 20], 20, false],
    ['an outage in each sample', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 10, true],
    ['many changes within two samples', [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1], 1, false],
  ];
  for (const [name, slots, now, expected] of table)
    it(`${expected ? 'is' : 'is not'} ${name}`, () =>
      expect(isFlapping(history(slots, now), slot(now))).to.equal(expected));

  it('begins above 30 % and not at it', () => {
    // Six changes weighing exactly 600: 100 on average.
    const even = [9, 9, 9, 9, 9, 9].map((ago, index) => ago + (index - 2.5) * 2);
    expect(even.reduce((sum, ago) => sum + weight(ago), 0)).to.equal(600);
    const slots = even.map((ago) => 19 - ago);
    expect(isFlapping(history(slots, 19), slot(19))).to.equal(false);
    const newer = slots.map((at, index) => (index === 0 ? at + 1 : at));
    expect(isFlapping(history(newer, 19), slot(19))).to.equal(true);
  });

  it('ends below 25 %, in the slot in which it gets there, and not before', () => {
    const slots = [0, 1, 2, 3, 4, 5];
    const flapping = history(slots, 5);
    const scoreAt = (now: number) => slots.filter((at) => now - at < 20).reduce((sum, at) => sum + weight(now - at), 0);
    const calm = Array.from({ length: 40 }, (_, now) => now).find((now) => now > 5 && scoreAt(now) < 500) ?? 0;
    expect(scoreAt(calm - 1)).to.be.at.least(500);
    expect(flapping.calmAt).to.equal((1000 + calm) * SLOT_MS);
    expect(isFlapping(flapping, (1000 + calm) * SLOT_MS - 1)).to.equal(true);
    expect(isFlapping(flapping, (1000 + calm) * SLOT_MS)).to.equal(false);
  });

  it('goes on between 25 % and 30 % once it has begun, and does not begin there', () => {
    const begun = history([0, 1, 2, 3, 4, 5], 5);
    const later = history([12], 12, begun);
    expect(isFlapping(later, slot(12))).to.equal(true);
    const some = history([8, 9, 10, 11], 11);
    const five = history([12], 12, some);
    expect(isFlapping(five, slot(12))).to.equal(false);
    expect(isFlapping(history([12], 12, { ...some, calmAt: slot(13) }), slot(12))).to.equal(true);
    expect(isFlapping(history([12], 12, { ...some, calmAt: slot(12) }), slot(12))).to.equal(false);
  });

  it('goes on at exactly 25 %', () => {
    const slots = [9, 9, 9, 9, 9].map((ago, index) => 19 - ago - (index - 2) * 2);
    expect(slots.reduce((sum, at) => sum + weight(19 - at), 0)).to.equal(500);
    const known = { changes: slots.slice(0, -1).map(slot), calmAt: slot(20) };
    const after = history(slots.slice(-1), 19, known);
    expect(isFlapping(after, slot(19))).to.equal(true);
    expect(after.calmAt).to.equal((1000 + 20) * SLOT_MS);
  });

  it('is put off by every further change', () => {
    const begun = history([0, 1, 2, 3, 4, 5], 5);
    const later = history([6], 6, begun);
    expect(later.calmAt ?? 0).to.be.greaterThan(begun.calmAt ?? 0);
  });

  it('keeps one change of each sample, no older than 20 samples', () => {
    expect(history([0, 0, 1], 19).changes).to.deep.equal([slot(0), slot(1)]);
    expect(history([0, 1], 20).changes).to.deep.equal([slot(1)]);
    const twice = withChanges(NO_FLAPS, [slot(3) + 5, slot(3)], { slotMs: SLOT_MS, at: slot(4) });
    expect(twice.changes).to.deep.equal([slot(3) + 5]);
  });

  it('takes a change that another clock puts a little ahead for one of now', () => {
    const ahead = history([0, 1, 2, 3, 4, 5], 4);
    expect(ahead.changes).to.have.lengthOf(6);
    expect(isFlapping(ahead, slot(4))).to.equal(true);
    // As heavy as one of the present sample: six of them weigh 602 with it, and 604 if it weighed more.
    const slots = [-8, -7, -6, 1, 2, 4];
    expect([11, 10, 9, 2, 1, 0].reduce((sum, ago) => sum + weight(ago), 0)).to.equal(642);
    expect(history(slots, 3).calmAt).to.equal(history(slots.with(5, 3), 3).calmAt);
  });

  it('samples by the silence that makes offline, from one to ten minutes', () => {
    expect(flapSlotMs(185_000)).to.equal(185_000);
    expect(flapSlotMs(5000)).to.equal(60_000);
    expect(flapSlotMs(600_001)).to.equal(600_000);
    expect(flapSlotMs(Number.POSITIVE_INFINITY)).to.equal(600_000);
  });

  it('never keeps more than 20 changes, whatever comes, and always becomes calm', () => {
    const steps = fc.array(fc.integer({ min: 1, max: 4 * SLOT_MS }), { maxLength: 60 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 60_000, max: 600_000 }), (gaps, slotMs) => {
        let at = 1e12;
        let known = NO_FLAPS;
        for (const gap of gaps) {
          at += gap;
          const was = isFlapping(known, at);
          known = withChanges(known, [at], { slotMs, at });
          expect(known.changes.length).to.be.at.most(20);
          if (known.calmAt !== null) {
            expect(known.calmAt).to.be.greaterThan(at);
            expect(known.calmAt - at).to.be.at.most(20 * slotMs);
            expect(known.calmAt % slotMs).to.equal(0);
          }
          if (!was && isFlapping(known, at)) expect(known.changes.length).to.be.at.least(6);
        }
      }),
    );
  });
});
