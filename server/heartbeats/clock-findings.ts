import {
  classifyStep,
  compareReadings,
  isComparisonAlerting,
  isDrifting,
  isPassedOver,
  type ChangeClass,
  type ClockChange,
  type ClockReading,
  type StandingDifference,
} from '../../policies/clock-rules.js';
import { sampleOf, type ClockSample } from '../../policies/clock-samples.js';
import type { FoundStep } from '../../policies/clock-steps.js';
import type { Report } from '../../protocol/heartbeat-messages.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ComputerSettings } from '../policies/settings-cache.js';
import { isFantastic, toClaim } from './clock-offset.js';
import { toldBy } from './clock-step-repository.js';
import { ALONE, type ClockWitness } from './clock-witness.js';
import type { Exchange } from './exchange.js';
import type { LiveRow } from './live-row.js';

/** An agent with it tells the changes of its clock that it sees by event 5004. */
export const CLOCK_CHANGE_CAPABILITY = 'clockChangeEvents';

/** A change of an agent's clock above the limit. Offsets are the agent's clock less trusted time. */
export interface FoundClockChange extends FoundStep {
  readonly classification: ChangeClass;
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
  /** What the exchange before told, however good it is; its offset less trusted time. Null where it told nothing. */
  readonly measured: { readonly offsetMs: number; readonly roundTripMs: number | null } | null;
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
  /** What is known of the other computers' clocks. */
  readonly witness?: ClockWitness | undefined;
}

interface Estimate {
  readonly aheadMs: number | null;
  readonly errorMs: number | null;
  readonly at: FleetInstant | null;
  /** A full exchange gave it, this time. */
  readonly isReading: boolean;
}

interface Findings {
  readonly change: FoundClockChange | null;
  readonly drift: ReturnType<typeof judgeDrift>;
}

/** What a report and the row say of a clock, before it is judged. */
interface Evidence {
  readonly sample: ClockSample | null;
  readonly next: Estimate;
  /** As the report was built: one that waited is behind by its wait. */
  readonly oneWayMs: number;
  /** Only one way is known, or believed. */
  readonly isCrude: boolean;
  readonly isNewlyFantastic: boolean;
  /** What this report shows: the estimate, unless it contradicts that. */
  readonly freshMs: number;
}

/** What an accepted report tells about its agent's clock, under the lock of the row. */
export function judgeClock(row: LiveRow, exchange: Exchange, circumstances: ClockCircumstances): ClockFindings {
  const { now, clock } = circumstances;
  const trustedMs = clock.toTrusted(now) - now;
  const evidence = readEvidence(row, exchange, trustedMs);
  const context = { exchange, circumstances, trustedMs, freshMs: evidence.freshMs };
  const { kept, change, drift } = judgeWithOthers(row, evidence, context);
  return {
    columns: {
      clockOffsetMs: kept.aheadMs,
      clockErrorMs: kept.errorMs,
      clockSampledAt: kept.at,
      isClockDrifting: drift.isDrifting,
    },
    offsetMs: kept.aheadMs === null ? null : kept.aheadMs - trustedMs,
    measured: measuredBy(evidence, trustedMs),
    isNewlyFantastic: evidence.isNewlyFantastic,
    change,
    isLeftToAgent: isLeftToAgent(row, exchange),
    drift: drift.change,
  };
}

function readEvidence(row: LiveRow, { report, receivedAt }: Exchange, trustedMs: number): Evidence {
  const isBeyond = (aheadMs: number | null): boolean => isFantastic((aheadMs ?? trustedMs) - trustedMs);
  const oneWayMs = toClaim(report.agentTime - receivedAt);
  const wasFantastic = isBeyond(row.clockOffsetMs);
  const isNewlyFantastic = isBeyond(oneWayMs) && !wasFantastic;
  const sample = sampleIn(row, report);
  const sampled = nextEstimate(row, sample);
  // A sample belongs to the exchange before; about a clock that just became fantastic or sane only this report knows.
  const isCrude = isNewlyFantastic || wasFantastic || isBeyond(sampled.aheadMs);
  const next = isCrude ? { aheadMs: oneWayMs, errorMs: null, at: receivedAt, isReading: false } : sampled;
  const isContradicted = next.aheadMs === null || Math.abs(oneWayMs - next.aheadMs) > ONE_WAY_MS + errorOf(row, next);
  const freshMs = isContradicted ? oneWayMs : (next.aheadMs ?? oneWayMs);
  return { sample, next, oneWayMs, isCrude, isNewlyFantastic, freshMs };
}

/** Whether it is the manager's clock that is wrong, the others will have told by the next report. */
function judgeWithOthers(
  row: LiveRow,
  { next, isCrude }: Evidence,
  context: ChangeContext,
): Findings & { readonly kept: Estimate } {
  const isFirstHearing = !isCrude && hear(row, next, context);
  const judged = judgeEstimate(row, next, context);
  const isPutOff = isFirstHearing && (judged.change !== null || judged.drift.change === 'raise');
  return isPutOff ? { ...nothingFound(row), kept: keptEstimate(row) } : { ...judged, kept: next };
}

function judgeEstimate(row: LiveRow, next: Estimate, context: ChangeContext): Findings {
  const { circumstances, freshMs } = context;
  const drift = judgeDrift(row, next, circumstances);
  // It was set since, or the manager's clock was: the next exchange tells.
  const isDoubtful =
    drift.change === 'raise' && judgeDrift(row, { ...next, aheadMs: freshMs }, circumstances).change === null;
  return { change: findChange(row, next, context), drift: isDoubtful ? nothingFound(row).drift : drift };
}

function nothingFound({ isClockDrifting: wasDrifting }: LiveRow): Findings {
  return { change: null, drift: { isDrifting: wasDrifting, change: null } };
}

function measuredBy({ sample, isCrude, oneWayMs }: Evidence, trustedMs: number): ClockFindings['measured'] {
  if (isCrude) return { offsetMs: oneWayMs - trustedMs, roundTripMs: null };
  return sample && { offsetMs: sample.aheadMs - trustedMs, roundTripMs: sample.roundTripMs };
}

/** The sample of the exchange before, which only belongs to it where its report is the one that the row knows. */
function sampleIn(row: LiveRow, { previousExchange }: Report): ClockSample | null {
  if (!previousExchange || previousExchange.sequence !== row.sequence) return null;
  if (row.lastSeenAt === null || row.answeredAt === null) return null;
  const sample = sampleOf({
    sentAt: previousExchange.sentAt,
    receivedAt: row.lastSeenAt,
    answeredAt: row.answeredAt,
    answerReceivedAt: previousExchange.receivedAt,
  });
  return sample && { ...sample, aheadMs: toClaim(sample.aheadMs) };
}

function keptEstimate({ clockOffsetMs, clockErrorMs, clockSampledAt }: LiveRow): Estimate {
  return { aheadMs: clockOffsetMs, errorMs: clockErrorMs, at: clockSampledAt, isReading: false };
}

function nextEstimate(row: LiveRow, sample: ClockSample | null): Estimate {
  if (!sample) return keptEstimate(row);
  const { aheadMs, errorMs, at } = sample;
  const isWorse = isPassedOver(readingOf(row), sample, row.confirmedIntervalMs ?? 0);
  return isWorse ? keptEstimate(row) : { aheadMs, errorMs, at, isReading: true };
}

/** One way is known within this, unless the report waited. */
const ONE_WAY_MS = 2000;

function errorOf({ clockErrorMs }: LiveRow, { errorMs }: Estimate): number {
  return Math.max(clockErrorMs ?? 0, errorMs ?? 0);
}

/** Tells the witness of a clock that is no fantasy; answers whether it cannot judge by others yet. */
function hear(row: LiveRow, next: Estimate, { exchange, circumstances, freshMs }: ChangeContext): boolean {
  const { computerId, clockOffsetMs: knownMs, clockSampledAt: knownAt } = row;
  const { witness = ALONE } = circumstances;
  return witness.hear({
    computerId,
    heardAt: exchange.receivedAt,
    intervalMs: exchange.report.intervalSeconds * 1000,
    aheadMs: freshMs,
    movedMs: knownMs === null ? null : freshMs - knownMs,
    knownAt,
    errorMs: errorOf(row, next),
    toldMs: toldMs(exchange),
  });
}

function toldMs({ report: { lanes } }: Exchange): number {
  const [control] = lanes.filter(({ lane }) => lane === 'control');
  if (!control) return 0;
  const told = control.events.map(({ kind, code, data, occurredAt }) =>
    toldBy({ lane: 'control', kind, code: code ?? null, data, occurredMs: occurredAt }),
  );
  return told.reduce((sum, step) => sum + (step?.stepMs ?? 0), 0);
}

function readingOf({ clockOffsetMs, clockErrorMs, clockSampledAt }: LiveRow): ClockReading | null {
  if (clockOffsetMs === null || clockErrorMs === null || clockSampledAt === null) return null;
  return { aheadMs: clockOffsetMs, errorMs: clockErrorMs, at: clockSampledAt };
}

interface ChangeContext {
  readonly exchange: Exchange;
  readonly circumstances: ClockCircumstances;
  readonly trustedMs: number;
  /** What this report shows. */
  readonly freshMs: number;
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
  if (next.isReading && isManagersChange(change, { row, next, exchange, circumstances })) return null;
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

interface SuspectReading {
  readonly row: LiveRow;
  readonly next: Estimate;
  readonly exchange: Exchange;
  readonly circumstances: ClockCircumstances;
}

/** What many computers show at once the manager has done; what is left of the change must be above the limit. */
function isManagersChange(change: ClockChange, { row, next, exchange, circumstances }: SuspectReading): boolean {
  const { witness = ALONE, settings } = circumstances;
  const byMs = witness.managerStep({
    computerId: row.computerId,
    byMs: change.stepMs,
    errorMs: (row.clockErrorMs ?? 0) + (next.errorMs ?? 0),
    from: row.clockSampledAt ?? exchange.receivedAt,
    until: next.at ?? exchange.receivedAt,
  });
  if (byMs === 0) return false;
  const certainMs = change.certainMs - (Math.abs(change.stepMs) - Math.abs(change.stepMs - byMs));
  return !isComparisonAlerting({ ...change, certainMs }, settings.clockLimits);
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

/** The manager's clock may have been set, rightly or wrongly, within the last day: what it showed then counts too. */
const LOOKED_BACK_MS = [0, 1, 6, 24].map((hours) => hours * 3_600_000);

/** How far the agent's clock is beside the manager's clocks at an instant; no error bound counts as none. */
export function standingDifference(
  { aheadMs, errorMs }: { readonly aheadMs: number; readonly errorMs: number | null },
  now: FleetInstant,
  clock: ClockCircumstances['clock'],
): StandingDifference {
  return {
    fromTrustedMs: aheadMs - (clock.toTrusted(now) - now),
    fromWallMs: LOOKED_BACK_MS.map((back) => aheadMs - (clock.toWall(now - back) - (now - back))),
    fromMajorityMs: null,
    errorMs: errorMs ?? 0,
  };
}

function judgeDrift(
  { isClockDrifting: wasDrifting }: LiveRow,
  { aheadMs, errorMs }: Pick<Estimate, 'aheadMs' | 'errorMs'>,
  circumstances: ClockCircumstances,
): { isDrifting: boolean; change: 'raise' | 'resolve' | null } {
  const kept = { isDrifting: wasDrifting, change: null };
  if (aheadMs === null) return kept;
  const { now, clock } = circumstances;
  const difference = standingDifference({ aheadMs, errorMs }, now, clock);
  const isNow = isBeside(wasDrifting, { difference, aheadMs, isCrude: errorMs === null }, circumstances);
  // Of a clock that only just ceased to be fantastic one way is known: too little to call it right or wrong.
  if (errorMs === null && isNow && !isFantastic(difference.fromTrustedMs)) return kept;
  if (isNow === wasDrifting) return kept;
  return { isDrifting: isNow, change: isNow ? 'raise' : 'resolve' };
}

interface Standing {
  readonly difference: StandingDifference;
  readonly aheadMs: number;
  readonly isCrude: boolean;
}

/** Hardly any clock drifts: the others are asked about those alone. */
function isBeside(
  wasDrifting: boolean,
  { difference, aheadMs, isCrude }: Standing,
  { settings: { clockLimits }, now, witness = ALONE }: ClockCircumstances,
): boolean {
  if (!isDrifting(wasDrifting, difference, clockLimits)) return false;
  const majority = isCrude ? null : witness.majority(now);
  if (!majority) return true;
  return isDrifting(wasDrifting, { ...difference, fromMajorityMs: aheadMs - majority.aheadMs }, clockLimits);
}
