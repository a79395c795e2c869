import { setMaxListeners } from 'node:events';
import { createLedger, type Ledger } from '../../policies/listening-ledger.js';
import type { Log } from '../../lib/log.js';
import { shareRun } from '../../lib/lifecycle.js';
import { createTokenBucket } from '../../lib/token-bucket.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { LivenessHint, LivenessHints } from '../heartbeats/liveness-hints.js';
import type { DeafSpan } from '../listening/listening.js';
import type { PolicySettingsCache } from '../policies/index.js';
import { createPolicyWatch, type PolicyWatch } from '../policies/policy-watch.js';
import { SHARD_COUNT } from '../shards/shard-rules.js';
import { createDialResults, type DialMetrics, type DialResult } from './dial-metrics.js';
import { findOutdated, type DialPlan, type PlanReader } from './dial-plan-query.js';
import type { DialRecorder, EndedDial } from './dial-recorder.js';
import {
  catchUpAt,
  decideDial,
  LANE_LIMITS,
  LISTENER_RETRIES_MAX,
  laneOf,
  marginOf,
  type Circumstances,
  type DialDecision,
  type DialLane,
  type DialPurpose,
} from './dial-rules.js';
import { DialSchedule, type Taken } from './dial-schedule.js';
import { chooseTarget } from './dial-target.js';
import type { DialOutcome, DialTransport } from './dial-transport.js';
import type { OwnedDialShards } from './dial-shards.js';

export interface DiallerDeps {
  readonly fleetClock: FleetClock;
  readonly log: Log;
  readonly sql: Sql;
  readonly settings: PolicySettingsCache;
  readonly spans: () => readonly DeafSpan[];
  /** The manager cannot store reports now: nobody is dialled. */
  readonly isDeaf: () => boolean;
  readonly plans: PlanReader;
  readonly shards: OwnedDialShards;
  readonly recorder: DialRecorder;
  readonly transport: DialTransport;
  /** Told of a failed dial once it is stored. */
  readonly verdicts: Pick<LivenessHints, 'reconsider'>;
}

const LANES = ['fast', 'slow'] as const;
const CHUNK = 100;
const LONGEST_SLEEP_MS = 1000;
const PAUSE_MS = 1000;
const SPACING_MS = 1000;
const STALE_SPACING_MS = 5000;
const BUSY_MS = 1500;
const SET_ASIDE_MS = 60_000;
const STOP_GRACE_MS = 2000;
/** A shard is read again behind hints and notifications; all of them within about a minute, at most a fortieth of the time. */
const REFRESH_EVERY_MS = 60_000 / SHARD_COUNT;
const REFRESH_SHARE = 40;

/** One process's dials: see docs/architecture.md. Runs from `start` to `stop`. */
export class Dialler {
  readonly #deps: DiallerDeps;
  readonly #schedule = new DialSchedule();
  readonly #policies: PolicyWatch;
  readonly #results = createDialResults();
  readonly #open: Record<DialLane, number> = { fast: 0, slow: 0 };
  #listenerRetries = 0;
  readonly #dials = new Set<Promise<void>>();
  /** State changes at `info` without a flood when a network goes. */
  readonly #telling = createTokenBucket(1, 10);
  readonly #stopping = new AbortController();
  readonly #cutting = new AbortController();
  #running: Promise<void> | undefined;
  #wake = new AbortController();
  #refreshAt = Number.NEGATIVE_INFINITY;
  #nextRefreshed = 0;
  #isFailing = false;
  #arithmetic: { readonly spans: readonly DeafSpan[]; readonly ledger: Ledger } | undefined;

  constructor(deps: DiallerDeps) {
    this.#deps = deps;
    this.#policies = createPolicyWatch(deps.settings);
    deps.settings.onChange(() => this.#wake.abort());
    // Every open dial listens to it.
    setMaxListeners(0, this.#cutting.signal);
  }

  readonly metrics: DialMetrics = {
    results: this.#results,
    open: this.#open,
    scheduled: () => this.#schedule.size,
    lagMs: () => {
      const earliest = Math.min(...LANES.map((lane) => this.#schedule.earliest(lane)));
      return Number.isFinite(earliest) ? Math.max(0, this.#deps.fleetClock.fleet() - earliest) : 0;
    },
  };

  heard(hints: readonly LivenessHint[]): void {
    for (const { computerId, contactDueAt } of hints) this.#schedule.hear(computerId, contactDueAt);
  }

  /** Looks at these now; answers those that are another process's to dial. */
  ask(computerIds: readonly string[]): string[] {
    const at = this.#deps.fleetClock.fleet();
    for (const id of computerIds) this.#schedule.ask(id, at);
    this.#wake.abort();
    return computerIds.filter((id) => !this.#schedule.owns(id));
  }

  start(): void {
    this.#running ??= this.#run();
  }

  readonly stop = shareRun(async () => {
    this.#stopping.abort();
    this.#wake.abort();
    await this.#running;
    const grace = new AbortController();
    const inFlight = Promise.all(this.#dials).finally(() => grace.abort());
    await this.#deps.fleetClock.sleep(STOP_GRACE_MS, grace.signal).catch(() => undefined);
    this.#cutting.abort(new Error('the manager stops'));
    await inFlight;
    await this.#deps.recorder.settled();
    await this.#deps.shards.release();
  });

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      try {
        await this.#turn();
        this.#isFailing = false;
      } catch (error) {
        if (!this.#isFailing) this.#deps.log.warn({ err: error }, 'Dials wait: the schedule could not be read');
        this.#isFailing = true;
        await this.#sleep(PAUSE_MS, signal);
      }
      const wait = this.#nextAt() - this.#deps.fleetClock.fleet();
      if (wait > 0) await this.#sleep(Math.min(wait, LONGEST_SLEEP_MS), AbortSignal.any([signal, this.#wake.signal]));
    }
  }

  async #turn(): Promise<void> {
    const at = this.#deps.fleetClock.fleet();
    const { taken, lost } = await this.#deps.shards.hold(at);
    for (const shard of lost) this.#schedule.dropShard(shard);
    for (const shard of taken) {
      this.#schedule.addShard(shard);
      await this.#load(shard, 'claimed');
    }
    await this.#hastenOutdated();
    if (!this.#deps.isDeaf()) for (const lane of LANES) await this.#startDue(lane);
    await this.#refreshNext();
  }

  /** When something is to be done: a free place in a lane and somebody for it, or the next renewal at the latest. */
  #nextAt(): FleetInstant {
    if (this.#deps.isDeaf()) return Number.POSITIVE_INFINITY;
    const free = LANES.filter((lane) => this.#open[lane] < LANE_LIMITS[lane]);
    return Math.min(...free.map((lane) => this.#schedule.earliest(lane)));
  }

  async #load(shard: number, why: 'claimed' | 'refresh'): Promise<void> {
    for await (const plans of this.#deps.plans.readShard(shard)) {
      const at = this.#deps.fleetClock.fleet();
      for (const plan of plans) {
        const decision = this.#decide(plan, this.#circumstances(at, false));
        const dueAt = why === 'claimed' ? catchUpAt(plan.facts, decision, at) : dueAtOf(decision, at);
        if (decision.kind === 'forget') continue;
        if (why === 'claimed') this.#schedule.place(plan.facts.computerId, { at: dueAt, ...placeOf(plan) });
        else this.#schedule.hasten(plan.facts.computerId, dueAt);
      }
    }
  }

  /** After an edit: those whom it reaches by a dial; the fingerprints are compared in the database. */
  async #hastenOutdated(): Promise<void> {
    const changed = this.#policies.changed();
    if (changed.ids.length === 0) return;
    for (const { shard } of this.#deps.shards.owned()) {
      const ids = await findOutdated(this.#deps.sql, shard, changed);
      const at = this.#deps.fleetClock.fleet();
      for (const id of ids) this.#schedule.hasten(id, at);
    }
    this.#policies.accept();
  }

  async #refreshNext(): Promise<void> {
    const at = this.#deps.fleetClock.fleet();
    if (at < this.#refreshAt) return;
    const shard = this.#nextRefreshed;
    this.#nextRefreshed = (shard + 1) % SHARD_COUNT;
    if (this.#deps.shards.owned().some((claim) => claim.shard === shard)) await this.#load(shard, 'refresh');
    const took = this.#deps.fleetClock.fleet() - at;
    this.#refreshAt = at + Math.max(REFRESH_EVERY_MS, took * REFRESH_SHARE);
  }

  async #startDue(lane: DialLane): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const free = Math.min(CHUNK, LANE_LIMITS[lane] - this.#open[lane]);
      const taken = this.#schedule.take(this.#deps.fleetClock.fleet(), lane, free);
      if (taken.length === 0) return;
      try {
        await this.#look(taken, lane);
      } catch (error) {
        const at = this.#deps.fleetClock.fleet() + PAUSE_MS;
        for (const { computerId } of taken) this.#schedule.settle(computerId, { at, lane, marginMs: 0 });
        throw error;
      }
    }
  }

  async #look(taken: readonly Taken[], lane: DialLane): Promise<void> {
    const plans = await this.#deps.plans.read(taken.map(({ computerId }) => computerId));
    const byId = new Map(plans.map((plan) => [plan.facts.computerId, plan]));
    const at = this.#deps.fleetClock.fleet();
    for (const { computerId, isAsked } of taken) {
      const plan = byId.get(computerId);
      const decision = plan && this.#decide(plan, this.#circumstances(at, isAsked));
      if (!plan || !decision || decision.kind === 'forget') this.#schedule.forget(computerId);
      else if (decision.kind === 'wait') this.#schedule.settle(computerId, { at: decision.until, ...placeOf(plan) });
      else if (laneOf(plan.facts) !== lane && !isAsked)
        this.#schedule.settle(computerId, { at: decision.dueAt, ...placeOf(plan) });
      else this.#dial(plan, { lane, purpose: decision.purpose });
    }
  }

  /** One row that cannot be judged is set aside; the others go on. */
  #decide({ facts }: DialPlan, circumstances: Circumstances): DialDecision {
    try {
      return decideDial(facts, circumstances);
    } catch (error) {
      this.#deps.log.error({ err: error, computerId: facts.computerId }, 'Whether to dial a computer cannot be told');
      return { kind: 'wait', until: circumstances.at + SET_ASIDE_MS };
    }
  }

  #dial(plan: DialPlan, { lane, purpose }: { readonly lane: DialLane; readonly purpose: DialPurpose }): void {
    const retries = purpose === 'listener' ? 1 : 0;
    this.#open[lane] += 1;
    this.#listenerRetries += retries;
    const dialled = this.#dialOne(plan, purpose).finally(() => {
      this.#open[lane] -= 1;
      this.#listenerRetries -= retries;
      this.#dials.delete(dialled);
      this.#wake.abort();
    });
    this.#dials.add(dialled);
  }

  async #dialOne(plan: DialPlan, purpose: DialPurpose): Promise<void> {
    const { fleetClock, transport } = this.#deps;
    const { computerId } = plan.facts;
    const begunAt = fleetClock.fleet();
    const target = { ...plan.target, candidatePort: purpose === 'candidate' ? plan.target.candidatePort : null };
    const outcome = await transport.dial(computerId, () => chooseTarget(target), this.#cutting.signal);
    const times = { begunAt, endedAt: fleetClock.fleet() };
    this.#results[resultOf(outcome)] += 1;
    try {
      await this.#store(plan, outcome, times);
    } catch (error) {
      this.#deps.log.debug({ err: error, computerId }, 'The end of a dial could not be stored');
    }
    this.#settle(plan, outcome);
  }

  async #store(plan: DialPlan, outcome: DialOutcome, times: Pick<EndedDial, 'begunAt' | 'endedAt'>): Promise<void> {
    const { computerId } = plan.facts;
    const { recorder, verdicts } = this.#deps;
    if (outcome.kind === 'answered' && plan.hasFailed) {
      await recorder.record({ computerId, ...times, result: 'answered', detail: null, hostUp: true });
      this.#tell({ computerId }, 'An agent can be dialled again');
    }
    if (outcome.kind !== 'failed') return;
    const { code: result, message: detail } = outcome.failure;
    await recorder.record({ computerId, ...times, result, detail, hostUp: outcome.hostUp });
    verdicts.reconsider([computerId]);
    if (!plan.hasFailed) this.#tell({ computerId, result, detail }, 'An agent could not be dialled');
    else this.#deps.log.debug({ computerId, result, detail }, 'An agent could not be dialled again');
  }

  #tell(facts: object, message: string): void {
    const now = this.#deps.fleetClock.monotonic();
    if (this.#telling.waitMs(now) > 0) return this.#deps.log.debug(facts, message);
    this.#telling.take(now);
    this.#deps.log.info(facts, message);
  }

  /** When it is looked at again: at once after a failure, for the row that was just stored says how long to wait. */
  #settle({ facts }: DialPlan, outcome: DialOutcome): void {
    const at = this.#deps.fleetClock.fleet();
    const hasTimedOut = outcome.kind === 'failed' && outcome.failure.code === 'timeout';
    const lane = hasTimedOut ? 'slow' : outcome.kind === 'answered' ? 'fast' : laneOf(facts);
    const spacing = spacingOf(outcome, facts.intervalMs);
    this.#schedule.settle(facts.computerId, { at, lane, marginMs: marginOf(facts), notBefore: at + spacing });
  }

  #circumstances(at: FleetInstant, ignoreFailures: boolean): Circumstances {
    const spans = this.#deps.spans();
    if (this.#arithmetic?.spans !== spans) this.#arithmetic = { spans, ledger: createLedger(spans) };
    const areListenersPutOff = this.#listenerRetries >= LISTENER_RETRIES_MAX;
    return { at, ignoreFailures, areListenersPutOff, ledger: this.#arithmetic.ledger };
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    await this.#deps.fleetClock.sleep(ms, signal).catch(() => undefined);
  }
}

function placeOf({ facts }: DialPlan): { readonly lane: DialLane; readonly marginMs: number } {
  return { lane: laneOf(facts), marginMs: marginOf(facts) };
}

function dueAtOf(decision: DialDecision, at: FleetInstant): FleetInstant {
  return decision.kind === 'wait' ? decision.until : at;
}

function resultOf(outcome: DialOutcome): DialResult {
  return outcome.kind === 'failed' ? outcome.failure.code : outcome.kind;
}

function spacingOf(outcome: DialOutcome, intervalMs: number): number {
  if (outcome.kind === 'own') return outcome.retryAfterMs;
  if (outcome.kind === 'busy') return BUSY_MS;
  // What was answered but brought nothing new would be due again at once.
  return outcome.kind === 'answered' && !outcome.isNews ? Math.min(intervalMs, STALE_SPACING_MS) : SPACING_MS;
}
