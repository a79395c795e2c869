import type { ReportCommands } from '../agent-commands/report-commands.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import { awaitsDial } from '../../policies/candidate-rules.js';
import { shedRetryAfterSeconds } from '../../policies/herd-rules.js';
import type { DialRequests } from '../dials/dial-requests.js';
import type { ListeningLedger } from '../listening/listening.js';
import type { ForestGeneration } from '../policies/settings-cache.js';
import type { ReportRenewals, RenewalAnswers } from '../certificates/report-renewals.js';
import type { ReportInventory } from '../telemetry/report-inventory.js';
import type { CountersRecorder } from './counters-recorder.js';
import type { DatabaseBreaker } from '../database/database-breaker.js';
import { kindOfFailure } from './database-failure.js';
import type { EventRates } from './event-rates.js';
import type { Exchange } from './exchange.js';
import type { HeartbeatRepository, StoredStanding } from './heartbeat-repository.js';
import { inHotTransaction, type HotPool, type HotSession } from './hot-session.js';
import { judgeToken } from './identity-token.js';
import type { IngestMetrics } from './ingest-metrics.js';
import { intervalInForce, type LiveRow } from './live-row.js';
import type { LatenessRecorder } from './lateness-recorder.js';
import type { LivenessHints } from './liveness-hints.js';
import { buildOrders, type OrdersDeps } from './orders.js';
import { storeEffects, type EffectsDeps } from './report-effects.js';
import { planReports, revoked, type PlannerDeps } from './report-planner.js';
import { standingOf } from './report-rules.js';
import type { AcceptedWork, RefusedWork, ReportWork } from './report-work.js';

export interface ReportServiceDeps extends PlannerDeps, EffectsDeps, OrdersDeps {
  readonly pool: HotPool;
  readonly repository: HeartbeatRepository;
  readonly listening: Pick<ListeningLedger, 'noteDeaf'>;
  readonly hints: LivenessHints;
  readonly dials: DialRequests;
  readonly breaker: Pick<DatabaseBreaker, 'note'>;
  readonly recorder: Pick<CountersRecorder, 'note'>;
  readonly lateness: Pick<LatenessRecorder, 'note'>;
  readonly metrics: IngestMetrics;
  readonly log: Log;
  readonly rates: EventRates;
  readonly fleetClock: PlannerDeps['fleetClock'];
  readonly positions: PlannerDeps['positions'];
  readonly facts: PlannerDeps['facts'];
  readonly contacts: EffectsDeps['contacts'];
  readonly commands: ReportCommands;
  readonly inventory: ReportInventory;
  readonly renewals: ReportRenewals;
}

export type Outcome = Orders | Problem;

export interface ReportService {
  /**
   * Stores a batch of reports, each of another computer, and answers what becomes of each, in the order given, after
   * the commit. Never throws: what the database will not take fails alone with `request-invalid`.
   */
  store(exchanges: readonly Exchange[]): Promise<readonly Outcome[]>;
}

interface Stored {
  readonly works: readonly ReportWork[];
  readonly generation: ForestGeneration;
  /** Computers whose status or goodbye this batch changed. */
  readonly moved: ReadonlySet<string>;
  readonly renewals: RenewalAnswers;
}

const CONFLICT_ATTEMPTS = 4;

export function createReportService(deps: ReportServiceDeps): ReportService {
  const store = async (exchanges: readonly Exchange[], attempt = 1): Promise<readonly Outcome[]> => {
    try {
      const stored = await storeOnce(deps, exchanges);
      deps.breaker.note('there');
      return publish(deps, stored);
    } catch (error) {
      const kind = kindOfFailure(error);
      if (kind === 'conflict' && attempt < CONFLICT_ATTEMPTS) {
        deps.metrics.retries += 1;
        return store(exchanges, attempt + 1);
      }
      if (kind === 'data') return bisect(deps, store, { exchanges, error });
      return refuseAll(deps, exchanges, error);
    }
  };
  return { store: (exchanges) => store(exchanges) };
}

async function storeOnce(deps: ReportServiceDeps, exchanges: readonly Exchange[]): Promise<Stored> {
  deps.metrics.batches += 1;
  return inHotTransaction(deps.pool, deps.metrics, async (session) => {
    const locked = await deps.repository.lock(
      session,
      exchanges.map(({ identity }) => identity),
    );
    const { works, generation } = await planReports(deps, session, { exchanges, locked });
    const standings = await storeRows(deps, session, works);
    const kept = works.map((work) => refuseIfRevoked(work, standings));
    const accepted = kept.filter(isAccepted).flatMap((work) => {
      const standing = standings.get(work.live.computerId);
      return standing ? [{ work, standing }] : [];
    });
    const moved = await storeEffects(deps, session, accepted);
    await deps.inventory.store(
      session,
      accepted.flatMap(({ work }) => work.inventory.updates),
    );
    await deps.commands.store(
      session,
      kept.flatMap((work) => (work.effect === 'refused' ? [] : [work.commands])),
    );
    const renewals = await deps.renewals.store(session, kept.filter(isEffective));
    return { works: kept, generation, moved, renewals };
  });
}

function nextRowOf(work: ReportWork): LiveRow | null {
  if (work.effect === 'refused') return null;
  return work.effect === 'accepted' ? work.acceptance.next : work.next;
}

async function storeRows(
  deps: ReportServiceDeps,
  session: HotSession,
  works: readonly ReportWork[],
): Promise<ReadonlyMap<string, StoredStanding>> {
  const rows = works.map(nextRowOf).filter((row) => row !== null);
  return rows.length > 0 ? deps.repository.store(session, rows) : new Map<string, StoredStanding>();
}

/** The computer was revoked while its row's lock was awaited. */
function refuseIfRevoked(work: ReportWork, standings: ReadonlyMap<string, StoredStanding>): ReportWork {
  const row = nextRowOf(work);
  if (!row || standings.has(row.computerId)) return work;
  return { exchange: work.exchange, effect: 'refused', problem: revoked() };
}

function isAccepted(work: ReportWork): work is AcceptedWork {
  return work.effect === 'accepted';
}

/** What is older than the stored report neither renews nor proves anything. */
function isEffective(work: ReportWork): work is Exclude<ReportWork, RefusedWork> {
  return work.effect === 'accepted' || work.effect === 'repeat';
}

/** After the commit: tells the verdict owner, counts, and builds the answers. */
function publish(deps: ReportServiceDeps, { works, generation, moved, renewals }: Stored): Outcome[] {
  const accepted = works.filter(isAccepted);
  const steady = accepted.filter(({ live, exchange }) => !moved.has(live.computerId) || !exchange.report.goodbye);
  deps.hints.heard(steady.map(({ acceptance }) => toHint(acceptance.next)));
  if (moved.size > 0) deps.hints.reconsider([...moved]);
  requestDials(deps, accepted);
  requestForCommands(deps, accepted);
  for (const work of accepted) noteReceipt(deps, work, generation);
  return works.map((work) => {
    count(deps.metrics, work);
    if (work.effect === 'refused') return work.problem;
    const orders = buildOrders(deps, work, generation);
    const renewal = renewals.get(work.live.computerId);
    return renewal ? { ...orders, ...renewal } : orders;
  });
}

/** A candidate has a deadline. One that is committed here may yet wait for a dial: the agent judges what was proven. */
function requestDials({ dials }: ReportServiceDeps, accepted: readonly AcceptedWork[]): void {
  const waiting = accepted.filter(({ exchange, settings }) => {
    const { candidate } = exchange.report;
    return candidate && awaitsDial(candidate) && standingOf(exchange, settings) === 'proving';
  });
  if (waiting.length === 0) return;
  dials.request(
    waiting.map(({ live }) => live.computerId),
    'candidate',
  );
}

/** Whoever is only ever dialled is dialled again for commands that did not fit, and for results. */
function requestForCommands({ dials }: ReportServiceDeps, accepted: readonly AcceptedWork[]): void {
  const ids = accepted
    .filter(({ exchange }) => exchange.report.direction === 'managerInitiated')
    .filter(({ commands: { hasCommands, awaitsResults } }) => hasCommands || awaitsResults)
    .map(({ live }) => live.computerId);
  if (ids.length > 0) dials.request(ids, 'commands');
}

function toHint(row: LiveRow) {
  const { computerId, lastSeenAt, contactDueAt } = row;
  return { computerId, lastSeenAt: lastSeenAt ?? 0, contactDueAt: contactDueAt ?? 0, intervalMs: intervalInForce(row) };
}

function noteReceipt(
  { recorder, lateness, metrics, tokens, rates }: ReportServiceDeps,
  work: AcceptedWork,
  { epoch }: ForestGeneration,
) {
  const { live, exchange, acceptance, policyId, lanes } = work;
  if (lanes.rate) rates.keep(live.computerId, lanes.rate);
  const { receivedAt, report } = exchange;
  const latenessMs = live.contactDueAt === null ? null : receivedAt - live.contactDueAt;
  if (latenessMs !== null) lateness.note({ policyId, receivedAt, latenessMs });
  const { measured } = acceptance.clock;
  recorder.note({
    computerId: live.computerId,
    receivedAt,
    latenessMs,
    clockOffsetMs: measured?.offsetMs ?? null,
    latencyMs: measured?.roundTripMs ?? null,
    counters: report.counters,
    spool: report.spool ?? null,
    agentTimeMs: report.agentTime,
  });
  countToken(metrics, judgeToken(report.identityToken, tokens.tokenOf(live.computerId, epoch, live.tokenN)));
}

function countToken(metrics: IngestMetrics, outcome: ReturnType<typeof judgeToken>): void {
  if (outcome === 'current') metrics.tokensCurrent += 1;
  else if (outcome === 'missing') metrics.tokensMissing += 1;
  else metrics.tokensOther += 1;
}

function count(metrics: IngestMetrics, work: ReportWork): void {
  switch (work.effect) {
    case 'accepted':
      metrics.accepted += 1;
      metrics.events += work.lanes.events.length;
      metrics.eventsHeldBack += work.lanes.heldBack;
      return;
    case 'repeat':
      metrics.repeats += 1;
      return;
    case 'older':
      metrics.older += 1;
      return;
    case 'refused':
      metrics[work.problem.code === 'computer-removed' ? 'removed' : 'revoked'] += 1;
  }
}

interface FailedBatch {
  readonly exchanges: readonly Exchange[];
  readonly error: unknown;
}

/** Halves a batch until the poisoned report stands alone. */
async function bisect(
  deps: ReportServiceDeps,
  store: (exchanges: readonly Exchange[]) => Promise<readonly Outcome[]>,
  { exchanges, error }: FailedBatch,
): Promise<readonly Outcome[]> {
  const [only] = exchanges;
  if (exchanges.length > 1) {
    const half = exchanges.length >>> 1;
    return [...(await store(exchanges.slice(0, half))), ...(await store(exchanges.slice(half)))];
  }
  deps.metrics.poisoned += 1;
  deps.log.warn({ err: error, computerId: only?.identity.computerId }, 'A report cannot be stored');
  const detail = 'The report carries values that cannot be stored.';
  return [new Problem('request-invalid', { detail, errors: [{ pointer: '#', detail }] }, error)];
}

/** Nothing was stored, or nobody knows: the agents send the same reports again, and what was stored is a repeat. */
function refuseAll(deps: ReportServiceDeps, exchanges: readonly Exchange[], error: unknown): Outcome[] {
  const kind = kindOfFailure(error);
  deps.listening.noteDeaf('database-away');
  if (kind === 'away' || kind === 'unknown') deps.breaker.note('away');
  deps.metrics[kind === 'bug' ? 'failed' : 'refused'] += exchanges.length;
  const fields = { err: error, kind, reports: exchanges.length };
  if (kind === 'bug') deps.log.error(fields, 'A batch of heartbeats failed');
  else deps.log.warn(fields, 'A batch of heartbeats could not be stored');
  if (kind === 'unknown') deps.hints.reconsider(exchanges.map(({ identity }) => identity.computerId));
  if (kind === 'bug') return exchanges.map(() => new Problem('internal', {}, error));
  const detail = 'The report could not be stored.';
  return exchanges.map((_, index) => {
    const retryAfterSeconds = shedRetryAfterSeconds('heartbeat', index);
    return new Problem('unavailable', { detail, retryAfterSeconds }, error);
  });
}
