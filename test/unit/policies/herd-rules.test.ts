import { expect } from 'chai';
import fc from 'fast-check';
import { SHED_FROM, shedRetryAfterSeconds, stretchedContactMs } from '../../../policies/herd-rules.js';

describe('what gives way under load', () => {
  it('comes in the order of what can wait: enrollments, edits and contacts, events, and heartbeats last', () => {
    const { enrollment, settings, contacts, events } = SHED_FROM;
    expect([enrollment, settings, contacts, events, 1]).to.deep.equal(
      [enrollment, settings, contacts, events, 1].toSorted((a, b) => a - b),
    );
  });

  const minute = { receivedAt: 0, usualMs: 50_000, intervalMs: 60_000 };
  const cases = [
    ['none', 0, 50_000],
    ['at the limit', 0.3, 50_000],
    ['half-way', 0.65, 80_000],
    ['full', 1, 110_000],
    ['over full', 2, 110_000],
  ] as const;
  for (const [name, load, expected] of cases)
    it(`puts contacts off by load: ${name}`, () => expect(stretchedContactMs(minute, load)).to.equal(expected));

  it('never puts a contact off by more than an interval or 900 s', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5000, max: 86_400_000 }),
        fc.double({ min: 0, max: 2, noNaN: true }),
        (intervalMs, load) => {
          const stretched = stretchedContactMs({ receivedAt: 0, usualMs: intervalMs, intervalMs }, load);
          expect(stretched).to.be.within(intervalMs, intervalMs + Math.min(intervalMs, 900_000));
        },
      ),
    );
  });

  it('is told to return at different times, heartbeats soonest', () => {
    const seconds = (kind: 'heartbeat' | 'channel' | 'enrollment') =>
      Array.from({ length: 1000 }, (_, n) => shedRetryAfterSeconds(kind, n));
    const bounds = (kind: 'heartbeat' | 'channel' | 'enrollment') => [
      Math.min(...seconds(kind)),
      Math.max(...seconds(kind)),
    ];
    expect(bounds('heartbeat')).to.deep.equal([1, 4]);
    expect(bounds('enrollment')).to.deep.equal([10, 40]);
    expect(bounds('channel')).to.deep.equal([20, 60]);
    const perSecond = [1, 2, 3, 4].map((one) => seconds('heartbeat').filter((n) => n === one).length);
    expect(Math.max(...perSecond) - Math.min(...perSecond)).to.be.lessThan(20);
  });
});
