import { expect } from 'chai';
import fc from 'fast-check';
import {
  classifyStep,
  compareReadings,
  isChangeAlerting,
  isComparisonAlerting,
  isDrifting,
  isPassedOver,
  type ClockReading,
} from '../../../policies/clock-rules.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const LIMITS = { changeMs: MINUTE, driftMs: 5 * MINUTE };
const UNLIMITED = { changeMs: Number.POSITIVE_INFINITY, driftMs: Number.POSITIVE_INFINITY };

const reading = (aheadMs: number, at: number, errorMs = 10): ClockReading => ({ aheadMs, at, errorMs });

describe('a step that an agent tells', () => {
  for (const [stepMs, alerts] of [
    [MINUTE + 1, true],
    [-MINUTE - 1, true],
    [MINUTE, false],
    [-1500, false],
    [Number.NaN, false],
    [Number.POSITIVE_INFINITY, false],
  ] as const)
    it(`of ${stepMs} ms ${alerts ? 'raises' : 'raises nothing'}`, () =>
      expect(isChangeAlerting(stepMs, LIMITS)).to.equal(alerts));
  it('raises nothing without a limit', () => expect(isChangeAlerting(9e12, UNLIMITED)).to.equal(false));

  for (const [stepMs, classification] of [
    [HOUR, 'time-zone-or-dst'],
    [-HOUR - 4000, 'time-zone-or-dst'],
    [5.75 * HOUR, 'time-zone-or-dst'],
    [26 * HOUR, 'time-zone-or-dst'],
    [27 * HOUR, 'step'],
    [20 * MINUTE, 'step'],
    [61_000, 'step'],
    [2000, 'step'],
  ] as const)
    it(`of ${stepMs} ms is called ${classification}`, () => expect(classifyStep(stepMs)).to.equal(classification));
});

describe('comparing two readings of an agent', () => {
  interface Case {
    readonly name: string;
    readonly stepMs: number;
    readonly elapsedMs?: number;
    readonly managerStepMs?: number;
    readonly errorMs?: number;
    readonly is: string;
    readonly alerts: boolean;
  }
  const cases: readonly Case[] = [
    { name: 'nothing happened', stepMs: 3, is: 'in-order', alerts: false },
    { name: 'the manager was stepped', stepMs: 3, managerStepMs: HOUR, is: 'manager-step', alerts: false },
    { name: 'a step above the limit', stepMs: 70_000, is: 'step', alerts: true },
    { name: 'a step back above the limit', stepMs: -70_000, is: 'step', alerts: true },
    { name: 'a step below the limit', stepMs: 50_000, is: 'step', alerts: false },
    { name: 'a step that the errors may be', stepMs: 61_000, errorMs: 2000, is: 'step', alerts: false },
    { name: 'a step of both clocks', stepMs: 70_000, managerStepMs: HOUR, is: 'step', alerts: true },
    { name: 'a zone set wrong', stepMs: 2 * HOUR, is: 'time-zone-or-dst', alerts: true },
    { name: 'a slew by NTP', stepMs: 30, is: 'steady-drift', alerts: false },
    {
      name: 'a clock that drifts while away',
      stepMs: 300_000,
      elapsedMs: 7 * 24 * HOUR,
      is: 'steady-drift',
      alerts: false,
    },
    { name: 'a drift that no clock has', stepMs: 90_000, elapsedMs: 24 * HOUR, is: 'step', alerts: true },
    { name: 'a suspend that the clock outlived', stepMs: 0, elapsedMs: 8 * HOUR, is: 'in-order', alerts: false },
    { name: 'a pause of 8 h', stepMs: -8 * HOUR, elapsedMs: 8 * HOUR + 45_000, is: 'suspend', alerts: false },
    {
      name: 'a clock set back further than the pause',
      stepMs: -9 * HOUR,
      elapsedMs: 8 * HOUR,
      is: 'time-zone-or-dst',
      alerts: true,
    },
    { name: 'a clock set back by less', stepMs: -5 * HOUR, elapsedMs: 8 * HOUR, is: 'time-zone-or-dst', alerts: true },
    { name: 'a step back inside an interval', stepMs: -65_000, elapsedMs: 70_000, is: 'step', alerts: true },
  ];
  for (const { name, stepMs, elapsedMs = MINUTE, managerStepMs = 0, errorMs = 5, is, alerts } of cases)
    it(`${name}: ${is}`, () => {
      const before = reading(-40_000, 1000, errorMs);
      const after = reading(-40_000 + stepMs, 1000 + elapsedMs, errorMs);
      const change = compareReadings({ before, after, intervalMs: MINUTE, managerStepMs });
      expect([change.classification, isComparisonAlerting(change, LIMITS)]).to.deep.equal([is, alerts]);
      expect(isComparisonAlerting(change, UNLIMITED)).to.equal(false);
    });

  it('never takes the error of readings for a change', () => {
    const erring = fc.record({
      errorMs: fc.integer({ min: 0, max: 7500 }),
      part: fc.double({ min: -1, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(erring, erring, (a, b) => {
        const before = reading(a.part * a.errorMs, 0, a.errorMs);
        const after = reading(b.part * b.errorMs, MINUTE, b.errorMs);
        const change = compareReadings({ before, after, intervalMs: MINUTE, managerStepMs: 0 });
        expect(change.certainMs).to.be.at.most(1e-6);
        expect(isComparisonAlerting(change, { ...LIMITS, changeMs: 1000 })).to.equal(false);
      }),
    );
  });

  it('finds every step that is above the limit by more than the errors, once', () => {
    const error = fc.integer({ min: 0, max: 1000 });
    const step = fc.record({ limit: fc.integer({ min: 1, max: 86_400 }), isBack: fc.boolean() });
    fc.assert(
      fc.property(step, error, error, ({ limit, isBack }, e1, e2) => {
        const size = limit * 1000 + 2 * (e1 + e2) + 1;
        const stepMs = isBack ? -size : size;
        const readings = [reading(e1, 0, e1), reading(stepMs - e2, 1000, e2), reading(stepMs + e1, 2000, e1)] as const;
        const compare = (before: ClockReading, after: ClockReading) =>
          compareReadings({ before, after, intervalMs: 1000, managerStepMs: 0 });
        const found = [compare(readings[0], readings[1]), compare(readings[1], readings[2])];
        const alerting = found.filter((change) => isComparisonAlerting(change, { changeMs: limit * 1000, driftMs: 1 }));
        expect(alerting).to.have.length(1);
      }),
    );
  });
});

describe('an uncertain reading', () => {
  const known = reading(0, 0, 5);
  for (const [name, before, after, passed] of [
    ['replaces nothing better', known, reading(1500, MINUTE, 1500), true],
    ['replaces one that is as bad', reading(0, 0, 1500), reading(1500, MINUTE, 1500), false],
    ['replaces one that is old', known, reading(1500, 11 * MINUTE, 1500), false],
    ['is the first', null, reading(1500, MINUTE, 1500), false],
    ['of up to a second is good enough', known, reading(900, MINUTE, 1000), false],
  ] as const)
    it(name, () => expect(isPassedOver(before, after, MINUTE)).to.equal(passed));

  it('does not hide a step in the middle of an exchange', () => {
    // Set forward by 5 s between sending and receiving: half of it is seen, half of it is error.
    const inside = reading(2500, MINUTE, 2505);
    expect(isPassedOver(known, inside, MINUTE)).to.equal(true);
    const change = compareReadings({
      before: known,
      after: reading(5000, 2 * MINUTE, 5),
      intervalMs: MINUTE,
      managerStepMs: 0,
    });
    expect(isComparisonAlerting(change, { changeMs: 4000, driftMs: 1 })).to.equal(true);
  });
});

describe('a clock that stands beside the manager', () => {
  const at = (fromTrustedMs: number, fromWallMs = fromTrustedMs, errorMs = 10) => ({
    fromTrustedMs,
    fromWallMs: [fromWallMs],
    fromMajorityMs: null,
    errorMs,
  });
  for (const [name, was, difference, is] of [
    ['above the limit', false, at(300_011), true],
    ['behind by more than the limit', false, at(-300_011), true],
    ['above only with the error', false, at(300_009), false],
    ['below again, but not by a tenth', true, at(280_000), true],
    ['below again', true, at(-270_000), false],
    ['beside a manager set wrong', false, at(20, -86_400_000), false],
    ['beside a manager just put right', false, at(3_600_000, 20), false],
    ['beside both', false, at(3_600_000, -400_000), true],
  ] as const)
    it(`${name}: ${is}`, () => expect(isDrifting(was, difference, LIMITS)).to.equal(is));

  it('is none where the manager showed its time within the day, or most others stand', () => {
    const off = at(3_600_000);
    expect(isDrifting(false, off, LIMITS)).to.equal(true);
    expect(isDrifting(false, { ...off, fromWallMs: [3_600_000, 3_600_000, -200, 3_600_000] }, LIMITS)).to.equal(false);
    expect(isDrifting(false, { ...off, fromMajorityMs: 1500 }, LIMITS)).to.equal(false);
    expect(isDrifting(false, { ...off, fromMajorityMs: -400_000 }, LIMITS)).to.equal(true);
  });

  it('is none without a limit, whatever was before', () => {
    expect([isDrifting(false, at(9e12), UNLIMITED), isDrifting(true, at(9e12), UNLIMITED)]).to.deep.equal([
      false,
      false,
    ]);
  });

  it('raises once while it accumulates slowly', () => {
    let was = false;
    let raised = 0;
    for (let offMs = 0; offMs < 600_000; offMs += 83) {
      const is = isDrifting(was, at(offMs), LIMITS);
      if (is && !was) raised += 1;
      was = is;
    }
    expect(raised).to.equal(1);
  });
});
