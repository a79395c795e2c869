import { createLedger } from '../../policies/listening-ledger.js';
import { judge, type Verdict } from '../../policies/verdict-rules.js';
import type { AlertCondition } from '../alerts/alert.js';
import type { EventWriter } from '../events/event-writer.js';
import type { LanePositionRepository } from '../events/lane-position-repository.js';
import type { DeafSpan } from '../listening/listening.js';
import { verdictFactsOf, type LivenessRow } from '../statuses/liveness-row.js';
import type { FlagChange, StatusTransition, StatusWriter } from '../statuses/status.js';
import { fantasticClockEvents, storeClockAlerts, type ClockAlertDeps } from './clock-alerts.js';
import type { ComponentRepository } from './component-repository.js';
import { compareComponents, componentSubject, type ComponentChanges } from './component-rules.js';
import type { ContactsRepository } from './contacts-repository.js';
import type { FactsRepository } from './facts-repository.js';
import type { StoredStanding } from './heartbeat-repository.js';
import type { HotSession } from './hot-session.js';
import { gapOf } from './report-rules.js';
import type { AcceptedWork } from './report-work.js';
import { storeSettingsAlerts } from './settings-alerts.js';
import type { StandingRepository } from './standing-repository.js';

export interface EffectsDeps extends ClockAlertDeps {
  readonly events: EventWriter;
  readonly positions: LanePositionRepository;
  readonly facts: FactsRepository;
  readonly contacts: ContactsRepository;
  readonly components: ComponentRepository;
  readonly standings: StandingRepository;
  readonly statuses: StatusWriter;
  readonly spans: () => readonly DeafSpan[];
  /** The deafness that goes on at present is among these, before it is stored. */
  readonly spansUntilNow: () => readonly DeafSpan[];
}

/** An accepted report with the standing under its lock. */
export interface StandingWork {
  readonly work: AcceptedWork;
  readonly standing: StoredStanding;
}

/**
 * Stores what accepted reports bring beside their hot rows, one statement for each kind of effect and none for a kind
 * that did not occur. Statuses come before alerts; everything is in id order. Answers whose standing changed.
 */
export async function storeEffects(
  deps: EffectsDeps,
  session: HotSession,
  works: readonly StandingWork[],
): Promise<ReadonlySet<string>> {
  const accepted = works.map(({ work }) => work);
  const spans = deps.spansUntilNow();
  await deps.events.append(
    session,
    accepted.flatMap(({ lanes }) => lanes.events),
  );
  await deps.positions.advance(
    session,
    accepted.flatMap(({ lanes }) => lanes.positions),
  );
  await deps.events.appendManagerEvents(session, accepted.flatMap(fantasticClockEvents));
  await deps.standings.insertGaps(
    session,
    accepted.flatMap((work) => gaps(work, spans)),
  );
  const moved = await storeStandings(deps, session, works);
  await storeStates(
    deps,
    session,
    accepted.filter(({ isStateNew }) => isStateNew),
  );
  await storeSettingsAlerts(deps.alerts, session, accepted);
  await storeClockAlerts(deps, session, accepted);
  return moved;
}

function gaps({ live, exchange, settings }: AcceptedWork, spans: readonly DeafSpan[]) {
  const gap = gapOf(live, exchange.receivedAt, { graceMs: settings.verdictRules.graceMs, spans });
  return gap ? [{ ...gap, computerId: live.computerId }] : [];
}

/** Goodbyes, power states, and the statuses that follow from them by the one rule. */
async function storeStandings(
  deps: EffectsDeps,
  session: HotSession,
  works: readonly StandingWork[],
): Promise<ReadonlySet<string>> {
  const moved = works.filter(({ work, standing }) => isMoved(work, standing));
  if (moved.length === 0) return new Set();
  const parting = moved.filter(({ work, standing }) => work.exchange.report.goodbye || standing.hasGoodbye);
  await deps.statuses.setGoodbyes(
    session,
    parting.map(({ work }) => goodbyeOf(work)),
  );
  const stopped = moved.filter(({ standing }) => standing.isStopped);
  const heard = stopped.map(({ work }) => ({ computerId: work.live.computerId, at: work.exchange.receivedAt }));
  await deps.standings.startRunning(session, heard);
  const byId = new Map(moved.map(({ work }) => [work.live.computerId, work]));
  const rows = await deps.standings.readLiveness(session, [...byId.keys()]);
  const ledger = createLedger(deps.spans());
  const transitions = rows.flatMap((row) => {
    const work = byId.get(row.computer_id);
    if (!work) return [];
    const question = { facts: verdictFactsOf(row, work.settings), rules: work.settings.verdictRules, ledger };
    return toTransition(row, judge(question, work.exchange.receivedAt));
  });
  const noticedAt = Math.max(...moved.map(({ work }) => work.exchange.receivedAt));
  if (transitions.length > 0) await deps.statuses.apply(session, transitions, noticedAt);
  return new Set(byId.keys());
}

function isMoved({ exchange }: AcceptedWork, { status, hasGoodbye, isStopped }: StoredStanding): boolean {
  return status !== 'online' || isStopped || hasGoodbye || exchange.report.goodbye !== undefined;
}

function goodbyeOf({ exchange }: AcceptedWork) {
  const { goodbye } = exchange.report;
  const { computerId } = exchange.identity;
  if (!goodbye) return { computerId, goodbye: null };
  const { reason, expectedBackMs } = goodbye;
  const expected = expectedBackMs === undefined ? null : Math.round(expectedBackMs);
  return { computerId, goodbye: { reason, receivedAt: exchange.receivedAt, expectedBackMs: expected } };
}

function toTransition(row: LivenessRow, verdict: Verdict): StatusTransition[] {
  if (verdict.status === row.status) return [];
  const { status: to, reason, since, alert } = verdict;
  const offlineAt = to === 'online' ? null : verdict.offlineAt;
  return [{ computerId: row.computer_id, from: row.status, to, reason, since, offlineAt, offlineAlert: alert }];
}

async function storeStates(deps: EffectsDeps, session: HotSession, works: readonly AcceptedWork[]): Promise<void> {
  if (works.length === 0) return;
  await deps.facts.store(
    session,
    works.map(({ exchange }) => exchange),
  );
  await deps.contacts.store(
    session,
    works.map(({ exchange }) => exchange),
  );
  await deps.statuses.setFlags(session, works.flatMap(isolationOf));
  await deps.positions.touch(session, works.flatMap(namedLanes), works[0]?.exchange.receivedAt ?? 0);
  const stored = await deps.components.read(
    session,
    works.map(({ live }) => live.computerId),
  );
  const changes = works.map(({ live, exchange }) =>
    compareComponents({
      computerId: live.computerId,
      stored: stored.filter(({ computerId }) => computerId === live.computerId),
      reported: exchange.report.components,
      direction: exchange.report.direction,
      at: exchange.receivedAt,
    }),
  );
  await deps.components.store(
    session,
    changes.flatMap(({ changed }) => changed),
  );
  await deps.components.remove(
    session,
    changes.flatMap(({ gone }) => gone),
  );
  await deps.alerts.raise(session, changes.flatMap(componentConditions));
  const at = Math.max(...works.map(({ exchange }) => exchange.receivedAt));
  const recovered = changes.flatMap((change) => change.recovered);
  if (recovered.length > 0)
    await deps.alerts.resolve(
      session,
      'component-offline',
      recovered.map((component) => ({ subject: componentSubject(component), at })),
    );
}

/** By the agent's own word; of one that says nothing of it the flag stays. */
function isolationOf({ exchange, live }: AcceptedWork): FlagChange[] {
  const { firewall } = exchange.report;
  if (!firewall) return [];
  const on = firewall.isolatedBy !== undefined;
  return [{ computerId: live.computerId, flag: 'isolated', on, at: exchange.receivedAt }];
}

function namedLanes({ exchange, live }: AcceptedWork) {
  return exchange.report.lanes
    .filter(({ events }) => events.length === 0)
    .map(({ lane, epoch }) => ({ computerId: live.computerId, lane, epoch }));
}

function componentConditions({ failed, at }: ComponentChanges): AlertCondition[] {
  return failed.map((component) => ({
    type: 'component-offline',
    subject: componentSubject(component),
    computerId: component.computerId,
    raisedAt: at,
    reason: 'component-offline',
    detail: { kind: component.kind, name: component.name, detail: component.detail },
    unlessOpen: 'component-offline',
  }));
}
