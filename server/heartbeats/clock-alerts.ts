import { toRfc3339 } from '../../lib/clock.js';
import { assessClock, type ClockAssessment } from '../../policies/clock-assessment.js';
import { CLOCK_ADVICE, describeClock, type ClockClass } from '../../policies/clock-classification.js';
import { classifyStep } from '../../policies/clock-rules.js';
import type { ClockSample } from '../../policies/clock-samples.js';
import type { ToldStep } from '../../policies/clock-steps.js';
import type { AlertCondition, AlertWriter } from '../alerts/alert.js';
import type { ManagerEvent } from '../events/event-writer.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { FoundClockChange } from './clock-findings.js';
import { toClaim, toClaimedInstant } from './clock-offset.js';
import { CLOCK_CHANGED, CLOCK_DRIFT, storedStep, type ClockStepRepository } from './clock-step-repository.js';
import { newSteps, type NewSteps } from './clock-steps.js';
import { mergeSamples, sampleOfRow, samplesOf, type ClockSampleRepository } from './clock-sample-repository.js';
import type { Receipt } from './receipt-ring.js';
import type { HotSession } from './hot-session.js';
import type { AcceptedWork } from './report-work.js';

export interface ClockAlertDeps {
  readonly alerts: AlertWriter;
  readonly steps: ClockStepRepository;
  readonly rings: ClockSampleRepository;
  readonly fleetClock: Pick<FleetClock, 'toTrusted'>;
}

/** Raises and resolves what reports tell of their agents' clocks; no statement where nothing changed. */
export async function storeClockAlerts(
  deps: ClockAlertDeps,
  session: HotSession,
  works: readonly AcceptedWork[],
): Promise<void> {
  const steps = await newSteps(deps.steps, session, works);
  const turned = await turnDrifts(deps, session, steps);
  const changes = steps.flatMap((step) => changeConditions(deps, step));
  const begun = [...turned, ...changes, ...(await driftsBegun(deps, session, works))];
  if (begun.length > 0) await deps.alerts.raise(session, begun);
  const ended = works.filter(({ acceptance }) => acceptance.clock.drift === 'resolve');
  if (ended.length === 0) return;
  const subjects = ended.map(({ live, exchange }) => ({ subject: live.computerId, at: exchange.receivedAt }));
  await deps.alerts.resolve(session, CLOCK_DRIFT, subjects);
}

/** A drift that began with a step becomes its alert when the agent tells it at last; answers what is yet to be raised. */
async function turnDrifts(
  deps: ClockAlertDeps,
  session: HotSession,
  steps: readonly NewSteps[],
): Promise<AlertCondition[]> {
  const late = steps.flatMap(({ work, drifted }) => drifted.map((step) => toldChange(deps, work, step)));
  const turned = await deps.alerts.turn(session, CLOCK_DRIFT, late);
  return late.filter(({ subject }) => !turned.has(subject));
}

function changeConditions(deps: ClockAlertDeps, { work, found, told }: NewSteps): AlertCondition[] {
  const conditions = told.map((step) => toldChange(deps, work, step));
  return found ? [foundChange(deps, work, found), ...conditions] : conditions;
}

function foundChange(deps: ClockAlertDeps, work: AcceptedWork, found: FoundClockChange): AlertCondition {
  const { classification, offsetBeforeMs, offsetAfterMs } = found;
  const latest = storedStep(found);
  const { stepMs } = latest;
  const meaning = meaningOf(classification, offsetAfterMs);
  const detail = { source: 'manager', ...meaning, stepMs, offsetBeforeMs, offsetAfterMs, latest };
  return condition(deps, work, { type: CLOCK_CHANGED, detail });
}

function toldChange(deps: ClockAlertDeps, work: AcceptedWork, { stepMs, occurredMs }: ToldStep): AlertCondition {
  const { receivedAt, report } = work.exchange;
  const offsetAfterMs = toClaim(report.agentTime - deps.fleetClock.toTrusted(receivedAt));
  const detail = {
    source: 'agent',
    ...meaningOf(classifyStep(stepMs), offsetAfterMs),
    stepMs,
    offsetBeforeMs: toClaim(offsetAfterMs - stepMs),
    offsetAfterMs,
    occurredAt: toRfc3339(occurredMs),
  };
  return condition(deps, work, { type: CLOCK_CHANGED, detail });
}

/** What a clock is taken for, in words too. */
export function meaningOf(classification: ClockClass, offsetMs: number | null) {
  return { classification, means: describeClock(classification, offsetMs), advice: CLOCK_ADVICE[classification] };
}

/** One statement for all that begin: the samples tell why. */
async function driftsBegun(
  deps: ClockAlertDeps,
  session: HotSession,
  works: readonly AcceptedWork[],
): Promise<AlertCondition[]> {
  const begun = works.filter(({ acceptance }) => acceptance.clock.drift === 'raise');
  const rings = await deps.rings.read(
    session,
    begun.map(({ live }) => live.computerId),
  );
  return begun.map((work) => driftCondition(deps, work, rings.get(work.live.computerId) ?? []));
}

function driftCondition(deps: ClockAlertDeps, work: AcceptedWork, ring: readonly Receipt[]): AlertCondition {
  const { clock, next } = work.acceptance;
  const { receivedAt } = work.exchange;
  const trustedMs = deps.fleetClock.toTrusted(receivedAt) - receivedAt;
  const samples = mergeSamples([...samplesOf(ring, deps.fleetClock), ...sampleOfRow(next)]);
  const assessed = assessDrift({ samples, at: receivedAt, trustedMs, intervalMs: next.confirmedIntervalMs ?? 0 });
  const latest = clock.change ? { latest: storedStep(clock.change) } : {};
  const drift = driftDetail(assessed, { offsetMs: clock.offsetMs, errorMs: next.clockErrorMs });
  // One step above both limits is one alert: the dismissal of the open one raises the drift.
  return {
    ...condition(deps, work, { type: CLOCK_DRIFT, detail: { ...drift, ...latest } }),
    unlessOpen: CLOCK_CHANGED,
  };
}

interface DriftingClock {
  readonly samples: readonly ClockSample[];
  readonly at: FleetInstant;
  readonly trustedMs: number;
  readonly intervalMs: number;
}

/** A difference that was found to be the agent's own. */
export function assessDrift(clock: DriftingClock): ClockAssessment {
  return assessClock({ ...clock, told: [], manager: { showed: [], majority: null, steps: [] } });
}

/** The detail of a `clock-drift`. The samples may be fewer than what was judged by: what is not known is a standing offset. */
export function driftDetail(
  { classification: seen, drift }: ClockAssessment,
  { offsetMs, errorMs }: { readonly offsetMs: number | null; readonly errorMs: number | null },
) {
  const classification = seen === 'unknown' || seen === 'in-order' ? 'standing-offset' : seen;
  const rate = drift?.isSteady ? { driftPpm: Math.round(drift.ppm), driftBoundPpm: Math.ceil(drift.boundPpm) } : {};
  return { ...meaningOf(classification, offsetMs), offsetMs, errorMs, ...rate };
}

interface Raised {
  readonly type: typeof CLOCK_CHANGED | typeof CLOCK_DRIFT;
  readonly detail: Readonly<Record<string, unknown>>;
}

function condition({ fleetClock }: ClockAlertDeps, work: AcceptedWork, { type, detail }: Raised): AlertCondition {
  const { exchange, live, settings } = work;
  const { changeMs, driftMs } = settings.clockLimits;
  const limitSeconds = (type === CLOCK_DRIFT ? driftMs : changeMs) / 1000;
  const clocks = {
    agentTime: toRfc3339(toClaimedInstant(exchange.report.agentTime)),
    managerTime: toRfc3339(fleetClock.toTrusted(exchange.receivedAt)),
  };
  return {
    type,
    subject: live.computerId,
    computerId: live.computerId,
    raisedAt: exchange.receivedAt,
    reason: type,
    detail: { ...detail, limitSeconds, ...clocks },
  };
}

/** Told once, whatever the limits are. */
export function fantasticClockEvents({ acceptance, exchange }: AcceptedWork): ManagerEvent[] {
  if (!acceptance.clock.isNewlyFantastic) return [];
  const { identity, receivedAt, report } = exchange;
  return [
    {
      computerId: identity.computerId,
      at: receivedAt,
      kind: 'clock-implausible',
      severity: 'medium',
      message: "The computer's clock is over a year beside the manager's.",
      data: { agentTime: report.agentTime, offsetMs: acceptance.clock.offsetMs },
    },
  ];
}
