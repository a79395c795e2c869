import { expect } from 'chai';
import {
  earliestOffline,
  latestOffline,
  quietAfter,
  type TrueContact,
  type TrueRules,
} from '../../../scripts/simulate/oracle/silence-bounds.js';
import type { Span } from '../../../scripts/simulate/oracle/spans.js';

const S = 1000;
const contact: TrueContact = {
  lastSeenAt: 0,
  contactDueAt: 52 * S,
  intervalMs: 60 * S,
  announcedMs: 0,
  isDialled: false,
};
const rules: TrueRules = { missedAllowed: 2, graceMs: 5 * S };
const span = (from: number, until: number): Span => ({ from: from * S, until: until * S });

const earliest = (certain: Span[], changes: Partial<TrueContact & TrueRules> = {}, possible = certain): number =>
  earliestOffline({ ...contact, ...changes }, { ...rules, ...changes }, { certain, possible }) / S;

describe('when an offline alert is due at the earliest', () => {
  it('follows the example of the design', () => {
    expect(earliest([])).to.equal(185);
    expect(earliest([span(70, 400)])).to.equal(515);
    expect(earliest([span(70, 400), span(420, 430)])).to.equal(525);
  });

  it('follows its second example, of one that returns and then dies', () => {
    const returned = { lastSeenAt: 401 * S, contactDueAt: 461 * S };
    expect(earliest([span(70, 400)], returned)).to.equal(586);
    expect(earliest([span(70, 400), span(420, 430)], returned)).to.equal(596);
  });

  it('gives time to come back after a span that ends just before the deadline', () => {
    expect(earliest([span(10, 20)], { missedAllowed: 0 })).to.equal(95);
    expect(earliest([span(60, 64)], { missedAllowed: 0 })).to.equal(64 + 60 + 10 + 5);
  });

  it('counts no more than fifteen minutes for the way back', () => {
    const slow = { intervalMs: 7200 * S, missedAllowed: 0 };
    expect(earliest([span(7100, 7200)], slow)).to.equal(Math.max(7305, 7200 + 900 + 10 + 5));
  });

  it('gives no time to come back after the fifth of the times that may have counted', () => {
    const short = [1, 2, 3, 4].map((at) => span(at * 10, at * 10));
    const last = span(55, 64);
    expect(earliest([last], { missedAllowed: 0 }, [...short, last])).to.equal(64 + 10);
    expect(earliest([last], { missedAllowed: 0 }, [...short.slice(1), last])).to.equal(64 + 75);
  });

  it('is never where absence is unlimited, and waits for one that announced to be back', () => {
    expect(earliest([], { missedAllowed: null })).to.equal(Number.POSITIVE_INFINITY);
    expect(earliest([span(10, 20)], { announcedMs: 300 * S })).to.equal(310);
  });
});

describe('when a silence is over the limit at the latest', () => {
  const latest = (possible: Span[], changes: Partial<TrueContact> = {}): number =>
    latestOffline({ ...contact, ...changes }, rules, possible) / S;

  it('is the same instant where everything is certain', () => {
    for (const deaf of [[], [span(70, 400)], [span(70, 400), span(420, 430)]])
      expect(latest(deaf)).to.equal(earliest(deaf));
  });

  it('counts what was ordered where that is later', () => {
    expect(latest([], { contactDueAt: 70 * S })).to.equal(70 + 120 + 5);
  });

  it('waits for a dial that fails where only the manager dials', () => {
    expect(latest([], { isDialled: true })).to.equal(185 + 60 + 10);
  });

  it('gives time to come back after each span there may have been', () => {
    expect(latest([span(180, 184)])).to.equal(184 + 75);
  });
});

describe('the first quiet stretch', () => {
  it('begins where no span has begun or goes on', () => {
    expect(quietAfter(100, 20, [])).to.equal(120);
    expect(quietAfter(100, 20, [{ from: 90, until: 105 }])).to.equal(125);
    expect(quietAfter(100, 20, [{ from: 119, until: 150 }])).to.equal(170);
    expect(quietAfter(100, 20, [{ from: 120, until: 150 }])).to.equal(120);
  });
});
