import { expect } from 'chai';
import fc from 'fast-check';
import {
  bestSample,
  certainPpm,
  driftOf,
  errorBoundOf,
  jumpsIn,
  mostPpm,
  roundTripOf,
  sampleOf,
  type ClockSample,
} from '../../../policies/clock-samples.js';

const T0 = 1_790_000_000_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A clock that is ahead by `aheadMs` at T0 and gains at a rate; what it shows at a true instant. */
interface TrueClock {
  readonly aheadMs: number;
  readonly ppm: number;
}

interface Weather {
  readonly toManagerMs: number;
  readonly processingMs: number;
  readonly toAgentMs: number;
}

const trueAhead = ({ aheadMs, ppm }: TrueClock, at: number): number => aheadMs + ((at - T0) * ppm) / 1e6;
const shownBy = (clock: TrueClock, at: number): number => at + trueAhead(clock, at);

/** What both ends write down of an exchange that begins at a true instant: the agent rounds, the manager cuts off. */
function exchangeAt(clock: TrueClock, at: number, { toManagerMs, processingMs, toAgentMs }: Weather) {
  const receivedAt = at + toManagerMs;
  const answeredAt = receivedAt + processingMs;
  return sampleOf({
    sentAt: Math.round(shownBy(clock, at)),
    receivedAt: Math.floor(receivedAt),
    answeredAt: Math.floor(answeredAt),
    answerReceivedAt: Math.round(shownBy(clock, answeredAt + toAgentMs)),
  });
}

const delay = fc.oneof(
  fc.double({ min: 0, max: 3, noNaN: true }),
  fc.double({ min: 0, max: 200, noNaN: true }),
  fc.double({ min: 0, max: 7000, noNaN: true }),
);
const weather: fc.Arbitrary<Weather> = fc.record({
  toManagerMs: delay,
  processingMs: fc.double({ min: 0, max: 6000, noNaN: true }),
  toAgentMs: delay,
});
const clockUpTo = (ppm: number): fc.Arbitrary<TrueClock> =>
  fc.record({
    aheadMs: fc.double({ min: -2 * HOUR, max: 2 * HOUR, noNaN: true }),
    ppm: fc.double({ min: -ppm, max: ppm, noNaN: true }),
  });
const startMs = fc.double({ min: 0, max: 1, noNaN: true });

describe('the offset by four timestamps', () => {
  it('holds the true offset within its bound, however the delay falls on the two ways', () => {
    fc.assert(
      fc.property(clockUpTo(500), weather, startMs, (clock, given, fraction) => {
        const at = T0 + fraction;
        const sample = exchangeAt(clock, at, given);
        if (!sample) return void expect(given.toManagerMs + given.toAgentMs).to.be.above(13_000);
        // Whichever instant of the exchange is asked for.
        for (const instant of [
          at,
          at + given.toManagerMs,
          at + given.toManagerMs + given.processingMs + given.toAgentMs,
        ])
          expect(Math.abs(sample.aheadMs - trueAhead(clock, instant))).to.be.at.most(sample.errorMs);
      }),
      { numRuns: 2000 },
    );
  });

  it('is as tight as the round trip allows', () => {
    const clock = { aheadMs: 90_000, ppm: 0 };
    const even = exchangeAt(clock, T0, { toManagerMs: 20, processingMs: 5, toAgentMs: 20 });
    expect(even).to.deep.equal({ at: T0 + 20, aheadMs: 90_000, errorMs: 23, roundTripMs: 40 });
    const oneWay = exchangeAt(clock, T0, { toManagerMs: 2000, processingMs: 5, toAgentMs: 0 });
    expect(oneWay).to.deep.include({ aheadMs: 89_000, errorMs: 1004, roundTripMs: 2001 });
  });

  const stamps = { sentAt: T0, receivedAt: T0 + 10, answeredAt: T0 + 20, answerReceivedAt: T0 + 30 };
  for (const [name, changes, expected] of [
    [
      'a round trip that rounding made too short',
      { answerReceivedAt: T0 + 8 },
      { roundTripMs: 0, errorMs: 3, aheadMs: -11 },
    ],
    ['the longest round trip', { answerReceivedAt: T0 + 15_010 }, { roundTripMs: 15_014, errorMs: 7510 }],
    ['a whole second of processing', { answeredAt: T0 + 1010, answerReceivedAt: T0 + 1020 }, { roundTripMs: 20 }],
    ['a fantastic claim', { sentAt: T0 - 8e15, answerReceivedAt: T0 - 8e15 + 30 }, { roundTripMs: 20, aheadMs: -8e15 }],
  ] as const)
    it(`takes ${name}`, () => expect(sampleOf({ ...stamps, ...changes })).to.deep.include(expected));
  for (const [name, changes] of [
    ['that ends before it began', { answerReceivedAt: T0 + 7 }],
    ['that took too long', { answerReceivedAt: T0 + 15_011 }],
    ['without a number', { sentAt: Number.NaN }],
  ] as const)
    it(`takes none ${name}`, () => expect(sampleOf({ ...stamps, ...changes })).to.equal(null));

  it('tells the round trip of a bound again', () => {
    for (const roundTripMs of [0, 2, 40, 15_000]) expect(roundTripOf(errorBoundOf(roundTripMs))).to.equal(roundTripMs);
    expect(roundTripOf(0)).to.equal(0);
  });
});

const sample = (at: number, aheadMs: number, errorMs = 5): ClockSample => ({
  at: T0 + at,
  aheadMs,
  errorMs,
  roundTripMs: roundTripOf(errorMs),
});
const everyMinute = (count: number, aheadAt: (n: number) => number, errorMs = 5): ClockSample[] =>
  Array.from({ length: count }, (_none, n) => sample(n * MINUTE, aheadAt(n), errorMs));

describe('the best of the last samples', () => {
  it('is none of none', () => expect(bestSample([], T0)).to.equal(null));

  it('is the one of the shortest round trip, its bound grown by its age', () => {
    const samples = [sample(0, 10, 3), sample(MINUTE, 400, 900), sample(2 * MINUTE, -300, 700)];
    expect(bestSample(samples, T0 + 2 * MINUTE)).to.deep.equal({
      at: T0,
      aheadMs: 10,
      errorMs: 3 + 60,
      roundTripMs: 0,
      stages: 3,
    });
  });

  it('is the newest where that is as good', () => {
    expect(
      bestSample(
        everyMinute(5, (n) => n),
        T0 + 5 * MINUTE,
      ),
    ).to.include({ aheadMs: 4, errorMs: 5 + 30, stages: 5 });
  });

  it('looks at eight, and at none before one that contradicts the newest', () => {
    expect(bestSample([sample(0, 0, 1), ...everyMinute(8, () => 0, 900)], T0 + 8 * MINUTE)?.stages).to.equal(8);
    const stepped = [sample(0, 0, 3), sample(MINUTE, 90_000, 500), sample(2 * MINUTE, 90_100, 800)];
    expect(bestSample(stepped, T0 + 2 * MINUTE)).to.include({ aheadMs: 90_000, stages: 2 });
  });

  it('grows by what the clock is known to run', () => {
    const samples = [sample(0, 0, 3), sample(MINUTE, 60, 50)];
    expect(bestSample(samples, T0 + MINUTE)).to.include({ aheadMs: 0, errorMs: 33 });
    expect(bestSample(samples, T0 + MINUTE, 1100)).to.include({ aheadMs: 60, errorMs: 50 });
  });

  it('holds the true offset at any later time, of any clock that runs', () => {
    const beats = fc.array(fc.record({ gapMs: fc.integer({ min: 1000, max: HOUR }), weather }), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(clockUpTo(490), beats, fc.integer({ min: 0, max: HOUR }), (clock, given, laterMs) => {
        let at = T0;
        const samples = given.flatMap(({ gapMs, weather: one }) => {
          at += gapMs;
          const taken = exchangeAt(clock, at, one);
          return taken ? [taken] : [];
        });
        const now = at + 15_000 + laterMs;
        const best = bestSample(samples, now);
        if (!best) return;
        expect(Math.abs(best.aheadMs - trueAhead(clock, now))).to.be.at.most(best.errorMs);
        const newest = samples.at(-1);
        expect(best.errorMs).to.be.at.most(Math.ceil((newest?.errorMs ?? 0) + (now - (newest?.at ?? now)) * 500e-6));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('jumps between samples', () => {
  it('are more than the errors and what any clock runs', () => {
    const samples = [sample(0, 0), sample(MINUTE, 90_000), sample(2 * MINUTE, 90_500), sample(3 * MINUTE, -10, 100)];
    expect(jumpsIn(samples)).to.deep.equal([
      { from: T0, until: T0 + MINUTE, byMs: 90_000, certainMs: 89_990 },
      { from: T0 + 2 * MINUTE, until: T0 + 3 * MINUTE, byMs: -90_510, certainMs: 90_405 },
    ]);
  });
  for (const [name, byMs, spanMs, errorMs, found] of [
    ['a second', 1000, 1, 0, 0],
    ['more than a second', 1002, 1, 0, 1],
    ['what a bad clock gains in an hour', 6400, HOUR, 0, 0],
    ['more than that', 6401, HOUR, 0, 1],
    ['what the errors may be', 3000, 1, 1000, 0],
  ] as const)
    it(`${name}: ${found}`, () =>
      expect(jumpsIn([sample(0, 0, errorMs), sample(spanMs, -byMs, errorMs)])).to.have.length(found));
});

describe('the rate of a clock', () => {
  it('is unknown of two samples, and of ten seconds', () => {
    expect(driftOf(everyMinute(2, () => 0))).to.equal(null);
    expect(driftOf([0, 1, 2, 3].map((n) => sample(n * 3000, 0)))).to.equal(null);
    expect(driftOf([])).to.equal(null);
    expect([certainPpm(null), mostPpm(null)]).to.deep.equal([0, 0]);
  });

  it('is the slope, within the slopes that all errors allow', () => {
    const drift = driftOf(everyMinute(11, (n) => 60 * n));
    expect(drift).to.deep.include({ from: T0, until: T0 + 10 * MINUTE, samples: 11, isSteady: true });
    expect(drift?.ppm).to.be.closeTo(1000, 1e-6);
    expect(drift?.boundPpm).to.be.closeTo(10 / 0.6, 1e-6);
    expect(certainPpm(drift)).to.be.closeTo(1000 - 10 / 0.6, 1e-6);
    expect(mostPpm(drift)).to.be.closeTo(1000 + 10 / 0.6, 1e-6);
  });

  it('is the middle of the slopes, of few samples too', () => {
    const slopesOf = (...offsets: number[]) =>
      driftOf(everyMinute(offsets.length, (n) => offsets[n] ?? 0, 400))?.ppm ?? 0;
    // 3 pairs: 60, 130 and 95 ms a minute; 6 pairs: 60, 95, 90, 130, 105 and 80.
    expect(slopesOf(0, 60, 190)).to.be.closeTo((95 / MINUTE) * 1e6, 1e-6);
    expect(slopesOf(0, 60, 190, 270)).to.be.closeTo(((90 + 95) / 2 / MINUTE) * 1e6, 1e-6);
  });

  it('takes ten seconds and two samples of one instant', () => {
    expect(driftOf([0, 5000, 10_000].map((at) => sample(at, 0)))).to.include({ ppm: 0, isSteady: true });
    expect(driftOf([0, 0, 10_000].map((at) => sample(at, 0)))).to.include({ ppm: 0, boundPpm: 1000 });
  });

  it('has a bound where no line fits, too', () => {
    const drift = driftOf([sample(0, 0), sample(MINUTE, 100), sample(2 * MINUTE, 0)]);
    expect(drift).to.include({ ppm: 0, isSteady: false });
    expect(drift?.boundPpm).to.be.closeTo(1500, 1e-6);
  });

  it('of a fast clock wanders by a share of what it gained', () => {
    const wandering = (ms: number) => driftOf(everyMinute(60, (n) => 60 * n + (n % 2) * 2 * ms))?.isSteady;
    expect([wandering(100), wandering(300)]).to.deep.equal([true, false]);
  });

  it('is no reason to grow bounds while clocks run so', () => {
    expect(mostPpm(driftOf(everyMinute(11, (n) => -24 * n)))).to.equal(0);
    expect(mostPpm(driftOf(everyMinute(11, (n) => -60 * n)))).to.be.above(1000);
  });

  it('is not turned by a bad sample, and is not steady then', () => {
    const samples = everyMinute(20, (n) => (n === 12 ? 5000 : 2 * n));
    const drift = driftOf(samples);
    expect(drift?.ppm).to.be.closeTo(2000 / 60, 5);
    expect(drift?.isSteady).to.equal(false);
    expect(certainPpm(drift)).to.equal(0);
  });

  it('is steady for a clock that wanders, and not for one that was stepped or slewed', () => {
    expect(driftOf(everyMinute(60, (n) => 3 * n + 15 * Math.sin(n)))?.isSteady).to.equal(true);
    expect(driftOf(everyMinute(20, (n) => (n < 10 ? 0 : 90_000)))?.isSteady).to.equal(false);
    expect(driftOf(everyMinute(40, (n) => Math.min(n, 20) * 30))?.isSteady).to.equal(false);
  });

  it('holds the true rate within its bound', () => {
    const beats = fc.array(fc.record({ gapMs: fc.integer({ min: 5000, max: 10 * MINUTE }), weather }), {
      minLength: 3,
      maxLength: 30,
    });
    fc.assert(
      fc.property(clockUpTo(1500), beats, (clock, given) => {
        let at = T0;
        const samples = given.flatMap(({ gapMs, weather: one }) => {
          at += gapMs;
          const taken = exchangeAt(clock, at, one);
          // What the clock itself gains within one exchange is counted up to the tolerance of running clocks.
          return taken ? [{ ...taken, errorMs: taken.errorMs + 20 }] : [];
        });
        const drift = driftOf(samples);
        if (!drift) return;
        expect(drift.isSteady).to.equal(true);
        expect(Math.abs(drift.ppm - clock.ppm)).to.be.at.most(drift.boundPpm + 1e-3);
      }),
      { numRuns: 500 },
    );
  });
});
