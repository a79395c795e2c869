import {
  classifyStep,
  compareReadings,
  isComparisonAlerting,
  isDrifting,
  isPassedOver,
  type ClockClassification,
  type ClockReading,
  type StandingDifference,
} from '../../policies/clock-rules.js';
import type { FoundStep } from '../../policies/clock-steps.js';
import type { Report } from '../../protocol/heartbeat-messages.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ComputerSettings } from '../policies/settings-cache.js';
import { clockSample, isFantastic, toClaim } from './clock-offset.js';
import type { Exchange } from './exchange.js';
import type { LiveRow } from './live-row.js';

/** An agent with it tells the changes of its clock that it sees by event 5004. */
export const CLOCK_CHANGE_CAPABILITY = 'clockChangeEvents';

/** A change of an agent's clock above the limit. Offsets are the agent's clock less trusted time. */
export interface FoundClockChange extends FoundStep {
  readonly classification: ClockClassification;
  readonly offsetBeforeMs: number;
  /** When the reading before it was taken: what the agent told later may be this change. */
  readonly knownAt: FleetInstant;
}

export type ClockColumns = Pick<LiveRow, 'clockOffsetMs' | 'clockErrorMs' | 'clockSampledAt' | 'isClockDrifting'>;

export interface ClockFindings {
  /** What the row remembers of it. */
  readonly columns: ClockColumns;
  /** The agent's clock less trusted time; null while unknown. */
  readonly offsetMs: number | null;
  /** The agent's clock became fantastic with this report. */
  readonly isNewlyFantastic: boolean;
  /** By comparison of offsets. */
  readonly change: FoundClockChange | null;
  /** Whether it is the agent that tells of such a change. */
  readonly isLeftToAgent: boolean;
  readonly drift: 'raise' | 'resolve' | null;
}

export interface ClockCircumstances {
  readonly settings: Pick<ComputerSettings, 'clockLimits' | 'intervalMs'>;
  readonly now: FleetInstant;
  readonly clock: Pick<FleetClock, 'toWall' | 'toTrusted'>;
}

interface Estimate {
  readonly aheadMs: number | null;
  readonly errorMs: number | null;
  readonly at: FleetInstant | null;
  /** A full exchange gave it, this time. */
  readonly isReading: boolean;
}

/** What an accepted report tells about its agent's clock, under the lock of the row. */
export function judgeClock(row: LiveRow, exchange: Exchange, circumstances: ClockCircumstances): ClockFindings {
  const { now, clock } = circumstances;
  const trustedMs = clock.toTrusted(now) - now;
  const wasFantastic = isFantastic((row.clockOffsetMs ?? trustedMs) - trustedMs);
  // As it was built: a report that waited is behind by its wait.
  const oneWayMs = toClaim(exchange.report.agentTime - exchange.receivedAt);
  const isNewlyFantastic = isFantastic(oneWayMs - trustedMs) && !wasFantastic;
  const sampled = nextEstimate(row, exchange.report);
  // A sample belongs to the exchange before; about a clock that just became fantastic or sane only this report knows.
  const isCrude = isNewlyFantastic || wasFantastic || isFantastic((sampled.aheadMs ?? trustedMs) - trustedMs);
  const next: Estimate = isCrude
    ? { aheadMs: oneWayMs, errorMs: null, at: exchange.receivedAt, isReading: false }
    : sampled;
  const drift = judgeDrift(row, next, circumstances);
  return {
    columns: {
      clockOffsetMs: next.aheadMs,
      clockErrorMs: next.errorMs,
      clockSampledAt: next.at,
      isClockDrifting: drift.isDrifting,
    },
    offsetMs: next.aheadMs === null ? null : next.aheadMs - trustedMs,
    isNewlyFantastic,
    change: findChange(row, next, { exchange, circumstances, trustedMs }),
    isLeftToAgent: isLeftToAgent(row, exchange),
    drift: drift.change,
  };
}

function nextEstimate(row: LiveRow, { previousExchange }: Report): Estimate {
  const known = readingOf(row);
  const kept: Estimate = {
    aheadMs: row.clockOffsetMs,
    errorMs: row.clockErrorMs,
    at: row.clockSampledAt,
    isReading: false,
  };
  if (!previousExchange || previousExchange.sequence !== row.sequence) return kept;
  if (row.lastSeenAt === null || row.answeredAt === null) return kept;
  const sample = clockSample({
    sentAt: previousExchange.sentAt,
    receivedAt: row.lastSeenAt,
    answeredAt: row.answeredAt,
    answerReceivedAt: previousExchange.receivedAt,
  });
  if (!sample) return kept;
  const reading = { aheadMs: sample.offsetMs, errorMs: sample.errorMs, at: row.lastSeenAt };
  return isPassedOver(known, reading, row.confirmedIntervalMs ?? 0) ? kept : { ...reading, isReading: true };
}

function readingOf({ clockOffsetMs, clockErrorMs, clockSampledAt }: LiveRow): ClockReading | null {
  if (clockOffsetMs === null || clockErrorMs === null || clockSampledAt === null) return null;
  return { aheadMs: clockOffsetMs, errorMs: clockErrorMs, at: clockSampledAt };
}

interface ChangeContext {
  readonly exchange: Exchange;
  readonly circumstances: ClockCircumstances;
  readonly trustedMs: number;
}

function findChange(
  row: LiveRow,
  next: Estimate,
  { exchange, circumstances, trustedMs }: ChangeContext,
): FoundClockChange | null {
  const { aheadMs, at } = next;
  if (row.clockOffsetMs === null || aheadMs === null) return null;
  const change = next.isReading ? compare(row, next, circumstances) : leap(row.clockOffsetMs, aheadMs, trustedMs);
  if (!change || !isComparisonAlerting(change, circumstances.settings.clockLimits)) return null;
  const knownAt = row.clockSampledAt ?? exchange.receivedAt;
  return {
    classification: change.classification,
    stepMs: change.stepMs,
    withinMs: change.withinMs,
    offsetBeforeMs: row.clockOffsetMs - trustedMs,
    offsetAfterMs: aheadMs - trustedMs,
    between: [knownAt + trustedMs, (at ?? exchange.receivedAt) + trustedMs],
    knownAt,
  };
}

/**
 * An agent that tells changes is believed to. But it saw none that was made before its kernel was started: then the known
 * reading is older than that. The boot clock says so; the boot id changes one report before the reading does.
 */
function isLeftToAgent({ clockSampledAt }: LiveRow, { report, receivedAt }: Exchange): boolean {
  if (!report.capabilities.includes(CLOCK_CHANGE_CAPABILITY)) return false;
  return clockSampledAt === null || clockSampledAt >= receivedAt - report.uptimeMs;
}

function compare(row: LiveRow, { aheadMs, errorMs, at }: Estimate, { clock }: ClockCircumstances) {
  const before = readingOf(row);
  if (!before || aheadMs === null || errorMs === null || at === null) return null;
  const managerStepMs = clock.toWall(at) - at - (clock.toWall(before.at) - before.at);
  const after = { aheadMs, errorMs, at };
  return compareReadings({ before, after, intervalMs: row.confirmedIntervalMs ?? 0, managerStepMs });
}

/** The report may have waited before it was sent. */
const LEAP_TOLERANCE = 0.1;

/** Into the fantastic, or back: no four timestamps are needed to see that. */
function leap(beforeMs: number, afterMs: number, trustedMs: number) {
  if (isFantastic(beforeMs - trustedMs) === isFantastic(afterMs - trustedMs)) return null;
  const stepMs = afterMs - beforeMs;
  const size = Math.abs(stepMs);
  return { classification: classifyStep(stepMs), stepMs, certainMs: size, withinMs: size * LEAP_TOLERANCE };
}

/** How far the agent's clock is beside the manager's clocks at an instant; no error bound counts as none. */
export function standingDifference(
  { aheadMs, errorMs }: { readonly aheadMs: number; readonly errorMs: number | null },
  now: FleetInstant,
  clock: ClockCircumstances['clock'],
): StandingDifference {
  return {
    fromTrustedMs: aheadMs - (clock.toTrusted(now) - now),
    fromWallMs: aheadMs - (clock.toWall(now) - now),
    errorMs: errorMs ?? 0,
  };
}

function judgeDrift(
  { isClockDrifting: wasDrifting }: LiveRow,
  { aheadMs, errorMs }: Estimate,
  { settings, now, clock }: ClockCircumstances,
): { isDrifting: boolean; change: 'raise' | 'resolve' | null } {
  if (aheadMs === null) return { isDrifting: wasDrifting, change: null };
  const difference = standingDifference({ aheadMs, errorMs }, now, clock);
  const isNow = isDrifting(wasDrifting, difference, settings.clockLimits);
  // Of a clock that only just ceased to be fantastic one way is known: too little to call it right or wrong.
  if (errorMs === null && isNow && !isFantastic(difference.fromTrustedMs))
    return { isDrifting: wasDrifting, change: null };
  if (isNow === wasDrifting) return { isDrifting: wasDrifting, change: null };
  return { isDrifting: isNow, change: isNow ? 'raise' : 'resolve' };
}
