import { parseRfc3339, toRfc3339 } from '../../lib/clock.js';
import { invalidFields, Problem } from '../../lib/problem.js';
import { CLOCK_ADVICE, describeClock, type KnownStep } from '../../policies/clock-classification.js';
import { classifyStep } from '../../policies/clock-rules.js';
import type { ClockSample } from '../../policies/clock-samples.js';
import { extendWithComputer, type ResolvedSetting } from '../../policies/resolve-settings.js';
import type { SettingOverrides } from '../../policies/setting-values.js';
import type { Scope } from '../access/scope.js';
import { fleetAtWall } from '../fleet-clock/past-instant.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { CLOCK_CHANGE_CAPABILITY } from '../heartbeats/clock-findings.js';
import { ONE_WAY_ERROR_MS } from '../heartbeats/clock-sample-repository.js';
import type { PolicySettingsCache } from '../policies/index.js';
import type { ClockDto, ClockQuery } from './clock-dto.js';
import { readClockRow, type ClockRow } from './clock-query.js';
import { readClock, type ClockReaderDeps, type ReadClock } from './clock-reader.js';

export interface ClockServiceDeps extends ClockReaderDeps {
  readonly clock: FleetClock;
  readonly cache: Pick<PolicySettingsCache, 'refresh' | 'resolvedOf'>;
}

export interface ClockService {
  /** Throws `computer-not-found` for a computer outside the scope, `request-invalid` for a range that is none. */
  get(scope: Scope, computerId: string, query: ClockQuery): Promise<ClockDto>;
}

const MOST_STEPS = 100;

export function createClockService(deps: ClockServiceDeps): ClockService {
  return {
    async get(scope, computerId, query) {
      const range = rangeOf(query, deps.clock);
      const row = await readClockRow(deps.sql, scope, computerId);
      if (!row) throw new Problem('computer-not-found');
      const limits = await limitsOf(deps, row);
      const read = await readClock(deps, row, Number.isFinite(range.from) ? range.from : undefined);
      return toDto(deps, { row, read, limits, range });
    },
  };
}

interface Range {
  readonly from: number;
  readonly until: number;
}

/** Fleet instants. */
function rangeOf({ from, to }: ClockQuery, clock: FleetClock): Range {
  const now = clock.fleet();
  const [fromMs, toMs] = [from, to].map((text) => parseRfc3339(text ?? ''));
  if (fromMs !== undefined && toMs !== undefined && fromMs >= toMs)
    throw invalidFields([
      { pointer: '#/from', detail: 'must be before to' },
      { pointer: '#/to', detail: 'must be after from' },
    ]);
  return {
    from: fromMs === undefined ? Number.NEGATIVE_INFINITY : fleetAtWall(clock, fromMs, now),
    until: toMs === undefined ? Number.POSITIVE_INFINITY : fleetAtWall(clock, toMs, now),
  };
}

interface Limits {
  readonly change: ResolvedSetting<number | 'unlimited'>;
  readonly drift: ResolvedSetting<number | 'unlimited'>;
}

async function limitsOf({ cache }: ClockServiceDeps, row: ClockRow): Promise<Limits> {
  await cache.refresh();
  const policy = cache.resolvedOf(row.policy_id);
  // Deleted since the row was read: the next look finds the computer elsewhere.
  if (!policy)
    throw new Problem('unavailable', { detail: 'The computer is being moved at this moment.', retryAfterSeconds: 1 });
  const { computer_id: id, name, kind } = row;
  const overrides = JSON.parse(row.overrides ?? '{}') as SettingOverrides;
  const { settings } = extendWithComputer(policy, { id, name, kind, overrides });
  return { change: settings.clockChangeLimitSeconds, drift: settings.clockDriftLimitSeconds };
}

interface Shown {
  readonly row: ClockRow;
  readonly read: ReadClock;
  readonly limits: Limits;
  readonly range: Range;
}

function toDto(deps: ClockServiceDeps, { row, read, limits, range }: Shown): ClockDto {
  const { clock } = deps;
  const shown = (instant: number): string => toRfc3339(clock.toWall(instant));
  const { estimate, classification, since, evidence } = read;
  const isWithin = (instant: number): boolean => instant >= range.from && instant <= range.until;
  const steps = read.steps.filter(({ until }) => isWithin(until)).slice(-MOST_STEPS);
  return {
    at: shown(read.at),
    ...estimateOf(read, shown),
    classification,
    since: since === null ? null : shown(since),
    means: describeClock(classification, estimate?.aheadMs ?? null),
    evidence,
    advice: CLOCK_ADVICE[classification],
    detectedBy: row.capabilities?.includes(CLOCK_CHANGE_CAPABILITY) ? 'agent' : 'manager',
    limits: { clockChangeLimitSeconds: toLimit(limits.change), clockDriftLimitSeconds: toLimit(limits.drift) },
    samples: read.samples
      .filter((sample) => isWithin(sample.at) && isOfExchange(sample))
      .map(({ at, aheadMs, errorMs, roundTripMs }) => ({
        instant: shown(at),
        offsetMs: aheadMs - (clock.toTrusted(at) - at),
        errorBoundMs: errorMs,
        roundTripMs,
      })),
    steps: steps.toReversed().map((step) => ({
      from: shown(step.from),
      until: shown(step.until),
      byMs: Math.round(step.byMs),
      kind: kindOf(step),
      source: step.source,
      isAboveLimit: isAbove(step, limits.change.value),
    })),
  };
}

function estimateOf({ estimate, drift }: ReadClock, shown: (instant: number) => string) {
  return {
    offsetMs: estimate?.aheadMs ?? null,
    errorBoundMs: estimate?.errorMs ?? null,
    roundTripMs: estimate && isOfExchange(estimate) ? estimate.roundTripMs : null,
    sampledAt: estimate && shown(estimate.at),
    drift: drift && {
      ppm: Math.round(drift.ppm * 10) / 10,
      boundPpm: Math.ceil(drift.boundPpm * 10) / 10,
      isSteady: drift.isSteady,
      since: shown(drift.from),
      samples: drift.samples,
    },
  };
}

/** Of a fantastic clock one way is all that is known. */
function isOfExchange({ errorMs }: Pick<ClockSample, 'errorMs'>): boolean {
  return errorMs < ONE_WAY_ERROR_MS;
}

function toLimit({ value, inherited, source }: ResolvedSetting<number | 'unlimited'>) {
  return { value, inherited, source };
}

function kindOf({ kind, byMs }: KnownStep): string {
  return kind === 'step' ? classifyStep(byMs) : kind;
}

function isAbove({ byMs }: KnownStep, limitSeconds: number | 'unlimited'): boolean {
  return limitSeconds !== 'unlimited' && Math.abs(byMs) > limitSeconds * 1000;
}
