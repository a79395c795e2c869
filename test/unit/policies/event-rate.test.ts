import { expect } from 'chai';
import fc from 'fast-check';
import { EventRate, minuteOf, occurrenceBy } from '../../../policies/event-rate.js';
import { runs } from '../../support/property-runs.js';

const MINUTE = 60_000;
const take = (rate: EventRate, facts: { lane?: string; occurredAt: number; until: number; perMinute?: number }) =>
  rate.take({ lane: 'log', perMinute: 10, ...facts });
const count = (times: number, action: () => boolean): number =>
  Array.from({ length: times }, action).filter(Boolean).length;

describe('the limit on events per minute of occurrence', () => {
  it('lets a minute have its places and a flood those of later minutes', () => {
    const rate = new EventRate();
    const flood = (until: number) => count(100, () => take(rate, { occurredAt: 0, until }));
    expect([0, 1, 30_000, MINUTE, 2 * MINUTE, 5 * MINUTE + 1].map(flood)).to.deep.equal([10, 0, 0, 10, 10, 30]);
  });

  it('lets what gathered slowly go at once, whatever another lane waits for', () => {
    const rate = new EventRate();
    const now = 72 * 60 * MINUTE;
    expect(count(50, () => take(rate, { lane: 'metric', occurredAt: now, until: now }))).to.equal(10);
    const minutes = Array.from({ length: 72 * 60 }, (_, minute) => minute * MINUTE);
    const gone = minutes.map((occurredAt) => count(10, () => take(rate, { occurredAt, until: now })));
    expect(new Set(gone)).to.deep.equal(new Set([10]));
    expect(take(rate, { occurredAt: now, until: now })).to.equal(false);
  });

  it('holds the flood of an old minute, whatever minutes another lane has used since', () => {
    const rate = new EventRate();
    const now = 100 * MINUTE;
    const newer = Array.from({ length: 20 }, (_, index) => now - (20 - index) * MINUTE);
    for (const occurredAt of newer) expect(take(rate, { lane: 'detection', occurredAt, until: now })).to.equal(true);
    expect(count(1000, () => take(rate, { lane: 'metric', occurredAt: 5 * MINUTE, until: 5 * MINUTE }))).to.equal(10);
  });

  it('shares the places of a minute among the lanes', () => {
    const rate = new EventRate();
    expect(count(7, () => take(rate, { lane: 'detection', occurredAt: 0, until: 0 }))).to.equal(7);
    expect(count(7, () => take(rate, { lane: 'log', occurredAt: 0, until: 0 }))).to.equal(3);
  });

  it('keeps to the limit in a lane that is behind all minutes that are remembered', () => {
    const rate = new EventRate();
    const now = 60 * MINUTE;
    for (let minute = 50; minute <= 60; minute += 1)
      expect(take(rate, { lane: 'metric', occurredAt: minute * MINUTE, until: now })).to.equal(true);
    expect(count(1000, () => take(rate, { occurredAt: 0, until: 9 * MINUTE }))).to.equal(100);
  });

  it('has no place for anything under 0, and uses none up for it', () => {
    const rate = new EventRate();
    expect(take(rate, { occurredAt: 0, until: 10 * MINUTE, perMinute: 0 })).to.equal(false);
    expect(count(20, () => take(rate, { occurredAt: 0, until: 0 }))).to.equal(10);
  });

  it('counts on a copy apart from the original', () => {
    const rate = new EventRate();
    expect(count(20, () => take(new EventRate(rate), { occurredAt: 0, until: 0 }))).to.equal(20);
    const copy = new EventRate(rate);
    count(10, () => take(copy, { occurredAt: 0, until: 0 }));
    expect(take(new EventRate(copy), { occurredAt: 0, until: 0 })).to.equal(false);
  });

  it('takes what claims the future for new, and never lets more go than minutes have places', () => {
    const step = fc.record({
      forwardMs: fc.integer({ min: 0, max: 3 * MINUTE }),
      agoMs: fc.integer({ min: -2 * MINUTE, max: 2 * MINUTE }),
      burst: fc.integer({ min: 1, max: 40 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (steps, perMinute) => {
        const rate = new EventRate();
        let now = 0;
        let gone = 0;
        for (const { forwardMs, agoMs, burst } of steps) {
          now += forwardMs;
          gone += count(burst, () => take(rate, { occurredAt: now - agoMs, until: now, perMinute }));
        }
        // Two minutes are behind the first event at most, and the present one counts whole.
        expect(gone).to.be.at.most((minuteOf(now) + 3) * perMinute);
      }),
      runs(300),
    );
  });

  it('keeps no lane waiting for longer than its flood needs', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 50 }), (flood, perMinute) => {
        const rate = new EventRate();
        let left = flood;
        let minute = 0;
        for (; left > 0; minute += 1)
          left -= count(left, () => take(rate, { occurredAt: 0, until: minute * MINUTE, perMinute }));
        expect(minute).to.equal(Math.ceil(flood / perMinute));
      }),
      runs(100),
    );
  });

  it('knows an event by its age, and one from a clock that was set back as new', () => {
    expect(occurrenceBy(1_000_000, { claimedNow: 5000, occurredAt: 2000 })).to.equal(997_000);
    expect(occurrenceBy(1_000_000, { claimedNow: 5000, occurredAt: 9000 })).to.equal(1_000_000);
  });
});
