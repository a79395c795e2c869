import { toRfc3339 } from '../../lib/clock.js';
import { isPlainObject } from '../../lib/schema.js';
import { classifyStep, isChangeAlerting } from '../../policies/clock-rules.js';
import type { AlertCondition, AlertWriter } from '../alerts/alert.js';
import type { ManagerEvent, NewEvent } from '../events/event-writer.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { toClaim, toClaimedInstant } from './clock-offset.js';
import type { HotSession } from './hot-session.js';
import type { AcceptedWork } from './report-work.js';

/** The alert, and the kind of the agent's event of a changed clock in lane `control`. */
export const CLOCK_CHANGED = 'clock-changed';
const CLOCK_CHANGE_CODE = 5004;
export const CLOCK_DRIFT = 'clock-drift';

export interface ClockAlertDeps {
  readonly alerts: AlertWriter;
  readonly fleetClock: Pick<FleetClock, 'toTrusted'>;
}

/** Raises and resolves what reports tell of their agents' clocks; no statement where nothing changed. */
export async function storeClockAlerts(
  deps: ClockAlertDeps,
  session: HotSession,
  works: readonly AcceptedWork[],
): Promise<void> {
  const begun = works.flatMap((work) => [...changeConditions(deps, work), ...driftConditions(deps, work)]);
  if (begun.length > 0) await deps.alerts.raise(session, begun);
  const ended = works.filter(({ acceptance }) => acceptance.clock.drift === 'resolve');
  if (ended.length === 0) return;
  const subjects = ended.map(({ live, exchange }) => ({ subject: live.computerId, at: exchange.receivedAt }));
  await deps.alerts.resolve(session, CLOCK_DRIFT, subjects);
}

/** Each told step once, since a lane's events are taken once; or the one that a comparison has found. */
function changeConditions(deps: ClockAlertDeps, work: AcceptedWork): AlertCondition[] {
  const { settings, lanes, acceptance } = work;
  const told = lanes.events.flatMap((event) => {
    const stepMs = stepOf(event);
    if (stepMs === null || !isChangeAlerting(stepMs, settings.clockLimits)) return [];
    return [toldChange(deps, work, { stepMs, occurredMs: event.occurredMs })];
  });
  const { change } = acceptance.clock;
  if (!change) return told;
  const found = {
    source: 'manager',
    classification: change.classification,
    stepMs: Math.round(change.stepMs),
    offsetBeforeMs: change.offsetBeforeMs,
    offsetAfterMs: change.offsetAfterMs,
  };
  return [...told, condition(deps, work, { type: CLOCK_CHANGED, detail: found })];
}

/** What an agent wrote is a claim: anything but a number of milliseconds is stored as an event and no more. */
function stepOf({ lane, kind, code, data }: NewEvent): number | null {
  if (lane !== 'control' || kind !== CLOCK_CHANGED || code !== CLOCK_CHANGE_CODE || !isPlainObject(data)) return null;
  const { stepMs } = data;
  return typeof stepMs === 'number' && Number.isFinite(stepMs) ? toClaim(stepMs) : null;
}

function toldChange(
  deps: ClockAlertDeps,
  work: AcceptedWork,
  { stepMs, occurredMs }: { stepMs: number; occurredMs: number },
): AlertCondition {
  const { receivedAt, report } = work.exchange;
  const offsetAfterMs = toClaim(report.agentTime - deps.fleetClock.toTrusted(receivedAt));
  const detail = {
    source: 'agent',
    classification: classifyStep(stepMs),
    stepMs,
    offsetBeforeMs: toClaim(offsetAfterMs - stepMs),
    offsetAfterMs,
    occurredAt: toRfc3339(occurredMs),
  };
  return condition(deps, work, { type: CLOCK_CHANGED, detail });
}

function driftConditions(deps: ClockAlertDeps, work: AcceptedWork): AlertCondition[] {
  const { clock, next } = work.acceptance;
  if (clock.drift !== 'raise') return [];
  const detail = { classification: 'drift', offsetMs: clock.offsetMs, errorMs: next.clockErrorMs };
  // One step above both limits is one alert: the dismissal of the open one raises the drift.
  return [{ ...condition(deps, work, { type: CLOCK_DRIFT, detail }), unlessOpen: CLOCK_CHANGED }];
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
