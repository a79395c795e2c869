import { expect } from 'chai';
import fc from 'fast-check';
import { assessClock, type ClockRecord, type ToldChange } from '../../../policies/clock-assessment.js';
import { CLOCK_ADVICE, CLOCK_CLASSES, describeClock, type ClockClass } from '../../../policies/clock-classification.js';
import { errorBoundOf, type ClockSample } from '../../../policies/clock-samples.js';

const T0 = 1_790_000_000_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const BEATS = 12;
const NOW = T0 + BEATS * MINUTE;

const sample = (at: number, aheadMs: number, roundTripMs = 6): ClockSample => ({
  at,
  aheadMs,
  errorMs: errorBoundOf(roundTripMs),
  roundTripMs,
});
/** A sample a minute, up to a minute ago. */
const beats = (aheadAt: (n: number) => number, roundTripMs?: number): ClockSample[] =>
  Array.from({ length: BEATS }, (_none, n) => sample(T0 + n * MINUTE, Math.round(aheadAt(n)), roundTripMs));
const nothing: ClockRecord['manager'] = { showed: [{ at: 0, offsetMs: 0 }], majority: null, steps: [] };
const told = (byMs: number, n: number, kind: ToldChange['kind'] = 'step'): ToldChange => ({
  kind,
  byMs,
  receivedAt: T0 + n * MINUTE,
});

const assess = (samples: readonly ClockSample[], changes: Partial<ClockRecord> = {}) =>
  assessClock({ at: NOW, trustedMs: 0, intervalMs: MINUTE, samples, told: [], manager: nothing, ...changes });

const PAUSED = [
  ...beats(() => 0).slice(0, 4),
  ...[0, 1, 2].map((n) => sample(T0 + 8 * HOUR + n * MINUTE, -8 * HOUR + 3.2 * MINUTE)),
];

describe('what a clock is taken for', () => {
  interface Case {
    readonly name: string;
    readonly samples: readonly ClockSample[];
    readonly more?: Partial<ClockRecord>;
    readonly is: ClockClass;
    /** Beats since T0. */
    readonly since?: number | null;
  }
  const cases: readonly Case[] = [
    { name: 'nothing known', samples: [], is: 'unknown', since: null },
    { name: 'one sample in order', samples: [sample(T0, 5)], is: 'in-order', since: 0 },
    { name: 'a clock in order', samples: beats(() => 4), is: 'in-order', since: 0 },
    { name: 'a clock that gains as clocks do', samples: beats((n) => 3 * n), is: 'in-order', since: 0 },
    { name: 'half a second beside, through a slow proxy', samples: beats(() => 500, 1500), is: 'in-order', since: 0 },
    { name: 'what the round trip may be', samples: beats(() => 5000, 9000), is: 'in-order', since: 0 },
    { name: 'a step', samples: beats((n) => (n < 6 ? 0 : 90_000)), is: 'step', since: 6 },
    {
      name: 'a step that the agent told',
      samples: beats((n) => (n < 6 ? 0 : 90_000)),
      more: { told: [told(90_003, 6)] },
      is: 'step',
      since: 6,
    },
    {
      name: 'a step that was told before the samples',
      samples: beats(() => 90_000),
      more: { told: [told(90_000, 0)] },
      is: 'step',
      since: 0,
    },
    {
      name: 'a step back and put right',
      samples: beats((n) => (n > 3 && n < 7 ? -90_000 : 0)),
      is: 'in-order',
      since: 7,
    },
    { name: 'an hour', samples: beats(() => HOUR), is: 'time-zone-or-dst', since: 0 },
    {
      name: 'an hour behind, since a step',
      samples: beats((n) => (n < 5 ? 20 : 20 - HOUR)),
      is: 'time-zone-or-dst',
      since: 5,
    },
    { name: 'Nepal', samples: beats(() => 5.75 * HOUR + 2000), is: 'time-zone-or-dst', since: 0 },
    { name: 'the farthest zone', samples: beats(() => 14 * HOUR), is: 'time-zone-or-dst', since: 0 },
    { name: 'farther than any zone', samples: beats(() => 15 * HOUR), is: 'standing-offset', since: 0 },
    { name: 'nearly an hour', samples: beats(() => HOUR - 20_000), is: 'standing-offset', since: 0 },
    { name: 'an offset nobody saw coming', samples: beats(() => -47_000), is: 'standing-offset', since: 0 },
    { name: 'a clock that is too fast', samples: beats((n) => 60 * n), is: 'steady-drift', since: 0 },
    {
      name: 'one that is too slow, and an hour beside',
      samples: beats((n) => HOUR - 60 * n),
      is: 'steady-drift',
      since: 0,
    },
    { name: 'a slow drift that has come far', samples: beats((n) => 40_000 + 6 * n), is: 'steady-drift', since: 0 },
    {
      name: 'a drift after a step',
      samples: beats((n) => (n < 4 ? 0 : 90_000 + 60 * n)),
      is: 'steady-drift',
      since: 4,
    },
    {
      name: 'a paused machine',
      samples: PAUSED,
      more: { at: T0 + 8 * HOUR + 3 * MINUTE, intervalMs: 2 * MINUTE },
      is: 'suspend',
    },
    {
      name: 'a suspend that the clock outlived',
      samples: beats(() => 3),
      more: { told: [told(0, 6, 'suspend')] },
      is: 'in-order',
      since: 6,
    },
    {
      name: 'a manager that is set wrong, and not trusted',
      samples: beats(() => 5),
      more: {
        manager: {
          ...nothing,
          showed: [
            { at: 0, offsetMs: 0 },
            { at: T0, offsetMs: HOUR },
          ],
        },
      },
      is: 'manager-step',
      since: 0,
    },
    {
      name: 'a manager that was put right, and is not trusted yet',
      samples: beats(() => HOUR),
      more: {
        manager: {
          ...nothing,
          showed: [
            { at: 0, offsetMs: 0 },
            { at: T0, offsetMs: HOUR },
          ],
        },
      },
      is: 'manager-step',
      since: 0,
    },
    {
      name: 'a manager that was set wrong by little, and is trusted',
      samples: beats(() => -200_000),
      more: {
        manager: {
          ...nothing,
          showed: [
            { at: 0, offsetMs: -200_000 },
            { at: T0, offsetMs: 0 },
          ],
        },
      },
      is: 'manager-step',
      since: 0,
    },
    {
      name: 'a clock that is wrong while the manager is stepped',
      samples: beats(() => 90_000),
      more: {
        manager: {
          ...nothing,
          showed: [
            { at: 0, offsetMs: 0 },
            { at: T0, offsetMs: HOUR },
          ],
        },
      },
      is: 'standing-offset',
      since: 0,
    },
    {
      name: 'where most computers stand',
      samples: beats(() => 600_000),
      more: { manager: { ...nothing, majority: { at: T0 - MINUTE, aheadMs: 600_500, computers: 20 } } },
      is: 'manager-step',
      since: -1,
    },
    {
      name: 'not where most computers stand',
      samples: beats(() => 300_100),
      more: { manager: { ...nothing, majority: { at: T0 - MINUTE, aheadMs: 600_500, computers: 20 } } },
      is: 'standing-offset',
    },
    {
      name: 'a step that most computers showed',
      samples: beats((n) => (n < 6 ? 0 : 290_000)),
      more: { manager: { ...nothing, steps: [{ at: T0 + 6 * MINUTE, byMs: 290_000 }] } },
      is: 'manager-step',
      since: 6,
    },
  ];
  for (const { name, samples, more, is, since } of cases)
    it(`${name}: ${is}`, () => {
      const assessed = assess(samples, more);
      expect(assessed.classification).to.equal(is);
      if (since !== undefined) expect(assessed.since).to.equal(since === null ? null : T0 + since * MINUTE);
    });

  it('is told by trusted time, not by the fleet clock', () => {
    const { estimate, classification } = assess(
      beats(() => 700_000),
      { trustedMs: 700_000 },
    );
    expect([estimate?.aheadMs, classification]).to.deep.equal([0, 'in-order']);
  });

  it('comes with its numbers, bounds and samples', () => {
    const { evidence, drift, estimate } = assess(
      beats((n) => (n < 5 ? 0 : HOUR + 10)),
      { told: [told(HOUR, 5)] },
    );
    expect(estimate).to.include({ aheadMs: HOUR + 10, errorMs: 36, stages: 7 });
    expect(drift).to.include({ samples: 7, isSteady: true });
    expect(evidence.map(({ code }) => code)).to.deep.equal(['offset', 'drift', 'whole-hours', 'last-step']);
    expect(evidence[0]).to.deep.equal({
      code: 'offset',
      detail: 'The offset is 3,600 s, within 36 ms: the best of the last 7 exchanges.',
      values: { offsetMs: HOUR + 10, errorBoundMs: 36, roundTripMs: 6, samples: 7 },
    });
    expect(evidence[2]?.values).to.deep.equal({ minutes: 60, restMs: 10 });
    expect(evidence[3]).to.deep.include({
      detail: 'The agent told a step of 3,600 s.',
      values: { byMs: HOUR + 10, withinMs: MINUTE },
    });
    const quarter = assess(beats(() => -45 * MINUTE)).evidence.find(({ code }) => code === 'quarter-hours');
    expect(quarter?.values).to.deep.equal({ minutes: -45, restMs: 0 });
    expect(assess([]).evidence.map(({ code }) => code)).to.deep.equal(['no-sample']);
  });

  it('lists each change once, whoever told of it', () => {
    const samples = beats((n) => (n < 3 ? 0 : n < 8 ? 90_000 : 0));
    const list = (changes: readonly ToldChange[]) =>
      assess(samples, { told: changes }).steps.map(({ kind, source, byMs }) => `${kind} ${source} ${byMs}`);
    expect(list([])).to.deep.equal(['step manager 90000', 'step manager -90000']);
    expect(list([told(90_020, 3)])).to.deep.equal(['step agent 90000', 'step manager -90000']);
    expect(list([told(90_020, 3), told(-90_000, 9)])).to.deep.equal(['step agent 90000', 'step agent -90000']);
    expect(list([told(1500, 5), told(0, 6, 'suspend')])).to.deep.equal([
      'step manager 90000',
      'step agent 1500',
      'suspend agent 0',
      'step manager -90000',
    ]);
  });

  it('is said in one sentence, with advice for all that is not in order', () => {
    expect(describeClock('time-zone-or-dst', HOUR)).to.equal(
      'the offset is 3,600 s: a time zone or DST setting on a computer whose hardware clock is in local time',
    );
    expect(describeClock('unknown', null)).to.equal('the offset is unknown');
    for (const one of CLOCK_CLASSES) {
      expect(describeClock(one, -1500)).to.match(one === 'unknown' ? /unknown/ : /-1,500 ms/);
      expect(CLOCK_ADVICE[one].length > 0).to.equal(one !== 'in-order');
    }
  });

  it('calls no clock wrong for the errors of its samples, nor for what running clocks do', () => {
    const clock = fc.record({ aheadMs: fc.integer({ min: -400, max: 400 }), ppm: fc.integer({ min: -100, max: 100 }) });
    const beat = fc.record({
      errorMs: fc.integer({ min: 3, max: 7000 }),
      share: fc.double({ min: -1, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(clock, fc.array(beat, { minLength: 1, maxLength: 30 }), ({ aheadMs, ppm }, given) => {
        const samples = given.map(({ errorMs, share }, n) => ({
          at: T0 + n * MINUTE,
          aheadMs: aheadMs + (n * MINUTE * ppm) / 1e6 + share * errorMs,
          errorMs,
          roundTripMs: 2 * errorMs,
        }));
        const { classification, steps } = assess(samples, { at: T0 + given.length * MINUTE });
        expect([classification, steps]).to.deep.equal(['in-order', []]);
      }),
    );
  });

  it('finds a step, a zone and a drift through asymmetric delays', () => {
    const fault = fc.constantFrom<readonly [ClockClass, (n: number) => number]>(
      ['step', (n) => (n < 4 ? 0 : 90_000)],
      ['time-zone-or-dst', (n) => (n < 4 ? 0 : -2 * HOUR)],
      ['steady-drift', (n) => 60 * n],
    );
    const share = fc.double({ min: -1, max: 1, noNaN: true });
    fc.assert(
      fc.property(fault, fc.array(share, { minLength: BEATS, maxLength: BEATS }), ([is, aheadAt], shares) => {
        const samples = beats(aheadAt).map((one, n) => ({
          ...one,
          errorMs: 40,
          aheadMs: one.aheadMs + 40 * (shares[n] ?? 0),
        }));
        expect(assess(samples).classification).to.equal(is);
      }),
    );
  });
});
