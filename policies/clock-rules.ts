import { FREQUENCY_TOLERANCE } from './clock-samples.js';

/**
 * What an agent's clock did, from readings that the manager's clock steps do not touch (RFC 5905 section 8 gives the
 * readings). Milliseconds throughout; `Infinity` as a limit never alerts.
 */
export interface ClockLimits {
  /** Above this a change between two heartbeats raises `clock-changed`. */
  readonly changeMs: number;
  /** Above this a standing difference raises `clock-drift`. */
  readonly driftMs: number;
}

/** One exchange: the agent's wall clock less the manager's fleet clock, known to within `errorMs`, at fleet instant `at`. */
export interface ClockReading {
  readonly aheadMs: number;
  readonly errorMs: number;
  readonly at: number;
}

/**
 * `step`: the clock was set. `time-zone-or-dst`: by a multiple of a quarter of an hour, as a zone or daylight-saving fault
 * does. `steady-drift`: no more than a running clock may be wrong by. `suspend`: the clock stood still while the computer
 * was silent. `manager-step`: only the manager's own clock moved. `in-order`: within the error of the readings.
 */
export type ChangeClass = 'step' | 'time-zone-or-dst' | 'steady-drift' | 'suspend' | 'manager-step' | 'in-order';

const QUARTER_MS = 15 * 60_000;
/** Zones reach from UTC-12 to UTC+14, so a fault moves a clock by no more than their distance. */
const WIDEST_ZONE_FAULT_MS = 26 * 3_600_000;
const ZONE_TOLERANCE_MS = 5000;
/** What a clock may have run between the last report and a suspend, beside the interval. */
const SUSPEND_SLACK_MS = 30_000;
/** Steps up to a second are not told. */
const UNTOLD_STEP_MS = 2000;
/** A reading worse than this is passed over for a while where a better one is there. */
const UNCERTAIN_MS = 1000;
const KEPT_INTERVALS = 10;
/** A standing difference must fall so far below the limit before it counts as gone. */
const HYSTERESIS = 0.9;

/** Whether a step that an agent has told is above the limit. */
export function isChangeAlerting(stepMs: number, { changeMs }: Pick<ClockLimits, 'changeMs'>): boolean {
  return Number.isFinite(stepMs) && Math.abs(stepMs) > changeMs;
}

/** What a step of this size is taken for. */
export function classifyStep(stepMs: number): 'step' | 'time-zone-or-dst' {
  return isZoneFault(stepMs, { widestMs: WIDEST_ZONE_FAULT_MS, errorMs: 0 }) ? 'time-zone-or-dst' : 'step';
}

export interface ZoneLimits {
  readonly widestMs: number;
  readonly errorMs: number;
}

/** More than this an error bound leaves too many quarters of an hour to choose from. */
const MOST_ZONE_ERROR_MS = 60_000;

/** Whether a difference is a multiple of a quarter of an hour, within its error and what a clock is wrong by anyway. */
export function isZoneFault(ms: number, { widestMs, errorMs }: ZoneLimits): boolean {
  const size = Math.abs(ms);
  const quarters = Math.round(size / QUARTER_MS);
  const withinMs = ZONE_TOLERANCE_MS + errorMs;
  const isNear = Math.abs(size - quarters * QUARTER_MS) <= withinMs && errorMs <= MOST_ZONE_ERROR_MS;
  return quarters > 0 && size <= widestMs + withinMs && isNear;
}

export interface ClockComparison {
  readonly before: ClockReading;
  readonly after: ClockReading;
  /** The interval that the agent runs on. */
  readonly intervalMs: number;
  /** What the manager's own wall clock was stepped by between the two readings. */
  readonly managerStepMs: number;
}

export interface ClockChange {
  readonly classification: ChangeClass;
  readonly stepMs: number;
  /** What is certain of it: the change less the error bounds of both readings. */
  readonly certainMs: number;
  /** How far a step that the agent tells may be beside it and yet be the same. */
  readonly withinMs: number;
}

/** Compares two readings of one agent. */
export function compareReadings({ before, after, intervalMs, managerStepMs }: ClockComparison): ClockChange {
  const stepMs = after.aheadMs - before.aheadMs;
  const certainMs = Math.max(0, Math.abs(stepMs) - before.errorMs - after.errorMs);
  const elapsedMs = Math.max(0, after.at - before.at);
  const classify = (): ChangeClass => {
    if (certainMs === 0) return managerStepMs === 0 ? 'in-order' : 'manager-step';
    if (certainMs <= elapsedMs * FREQUENCY_TOLERANCE) return 'steady-drift';
    return hasStoodStill({ stepMs, elapsedMs, intervalMs }) ? 'suspend' : classifyStep(stepMs);
  };
  const withinMs = before.errorMs + after.errorMs + elapsedMs * FREQUENCY_TOLERANCE + UNTOLD_STEP_MS;
  return { classification: classify(), stepMs, certainMs, withinMs };
}

export interface Pause {
  readonly stepMs: number;
  readonly elapsedMs: number;
  readonly intervalMs: number;
}

/** A paused machine's clock went on only for what lies around the pause; a missed heartbeat must show that it paused. */
export function hasStoodStill({ stepMs, elapsedMs, intervalMs }: Pause): boolean {
  const ranMs = elapsedMs + stepMs;
  return stepMs < 0 && elapsedMs >= 2 * intervalMs && ranMs >= 0 && ranMs <= intervalMs + SUSPEND_SLACK_MS;
}

/** Whether a change found by comparison raises `clock-changed`: only a clock that was set. */
export function isComparisonAlerting({ classification, certainMs }: ClockChange, limits: ClockLimits): boolean {
  return (classification === 'step' || classification === 'time-zone-or-dst') && certainMs > limits.changeMs;
}

/**
 * Whether a reading is too uncertain to replace a better one: a step in the middle of an exchange looks like a slow
 * round trip, and a reading that swallows half of the step would hide it.
 */
export function isPassedOver(known: ClockReading | null, reading: ClockReading, intervalMs: number): boolean {
  if (!known || reading.errorMs <= UNCERTAIN_MS || reading.errorMs <= known.errorMs) return false;
  return reading.at - known.at <= KEPT_INTERVALS * intervalMs;
}

export interface StandingDifference {
  /** The agent's clock less trusted time. */
  readonly fromTrustedMs: number;
  /** The agent's clock less what the manager's wall clock shows, and showed within the last day. */
  readonly fromWallMs: readonly number[];
  /** The agent's clock less where most computers stand; null where they do not stand together. */
  readonly fromMajorityMs: number | null;
  readonly errorMs: number;
}

/**
 * Whether a clock stands beside the manager's. It must differ from trusted time, from the wall clock as it is and as it was,
 * and from most other computers: a manager whose clock is wrong, or was just put right, accuses nobody.
 */
export function isDrifting(wasDrifting: boolean, difference: StandingDifference, { driftMs }: ClockLimits): boolean {
  const { fromTrustedMs, fromWallMs, fromMajorityMs, errorMs } = difference;
  const besides = [fromTrustedMs, ...fromWallMs, fromMajorityMs ?? fromTrustedMs];
  const offMs = Math.min(...besides.map(Math.abs)) - errorMs;
  return offMs > (wasDrifting ? driftMs * HYSTERESIS : driftMs);
}
