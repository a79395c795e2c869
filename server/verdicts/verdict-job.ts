import { setImmediate as nextTurn } from 'node:timers/promises';
import { createBreather } from '../../lib/breather.js';
import { createLedger, type Ledger } from '../../policies/listening-ledger.js';
import { isTransientDatabaseError } from '../database/database-errors.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { LivenessHint, LivenessHints } from '../heartbeats/liveness-hints.js';
import type { DeafCause, DeafSpan, ListeningLedger } from '../listening/listening.js';
import { Problem } from '../../lib/problem.js';
import { isDialled, settingsSubjectOf } from '../statuses/liveness-row.js';
import { DialWaiters } from './dial-waiters.js';
import { OwnedShards, type OwnedShard, type Suspect } from './owned-shards.js';
import { createRuleGroups, type RuleGroups } from './rule-groups.js';
import type { SelfSuspicion } from './self-suspicion.js';
import { judgeBatch, type BatchDeps, type BatchOutcome, type Judged } from './verdict-batch.js';
import { listChangedDials, loadOverrides, loadShard } from './verdict-repository.js';
import { SHARD_COUNT } from '../shards/shard-rules.js';
import { claimShards, releaseShards, renewShards } from './verdict-shard-repository.js';

export interface VerdictJobDeps extends Omit<BatchDeps, 'listening' | 'ledger'> {
  readonly inTransaction: HotTransaction;
  readonly ledger: ListeningLedger & {
    deafness(): { readonly cause: DeafCause; readonly since: FleetInstant } | undefined;
  };
  /** Makes the deadlines' arithmetic from spans; that of policies/ unless given. */
  readonly createLedger?: typeof createLedger;
  /** Asked before silences are written; without it all are believed. */
  readonly suspicion?: SelfSuspicion;
  /** The manager is about to go: it makes no verdicts, and its shards are others'. */
  readonly isDraining?: () => boolean;
  /** Told of shards that another process has taken. */
  readonly onShardsLost?: (shards: readonly number[]) => void;
}

/** Whether verdicts are being made; instants in fleet milliseconds. */
export interface VerdictState {
  readonly state: 'active' | 'held' | 'warming';
  readonly reason: string | null;
  readonly since: FleetInstant;
  /** When it ends at the latest, where that is known. */
  readonly until: FleetInstant | null;
}

export interface VerdictJob extends LivenessHints {
  /** Claims what is free, then judges all that is due. Must not run twice at a time. */
  run(signal: AbortSignal): Promise<void>;
  /** Calls `fire` at the earliest hint, again and again, until the signal; it only adds to the schedule. */
  wakeUps(signal: AbortSignal, fire: () => Promise<void>): Promise<void>;
  verdictState(): VerdictState;
  /** Gives the shards back, for another process or the next life. */
  release(): Promise<void>;
}

const CHUNK = 1000;
const SLICE_MS = 20;
const RENEW_EVERY_MS = 3000;
/** A shard is read again behind the hints; all of them within about a minute. */
const REFRESH_EVERY_MS = 60_000 / SHARD_COUNT;
/** Reading shards again takes at most a fortieth of the time. */
const REFRESH_SHARE = 40;
const RETRY_PROOF_MS = 200;
const RETRY_FAILURE_MS = 1000;
const SET_ASIDE_MS = 60_000;
const LONGEST_SLEEP_MS = 60_000;
const HELD_AFTER_REFUSAL_MS = 2000;
const PAUSE_MS = 50;
const SUSPICIOUS: DeafCause = 'self-suspicion';
/** Behind the asking for dials, a computer that waits for one is judged anew this often. */
const WAITING_MS = 60_000;

export function createVerdictJob(deps: VerdictJobDeps): VerdictJob {
  return new Job(deps);
}

class Job implements VerdictJob {
  readonly #deps: VerdictJobDeps;
  readonly #batch: BatchDeps;
  readonly #groups: RuleGroups;
  readonly #shards: OwnedShards;
  readonly #waiters = new DialWaiters();
  #renewAt = Number.NEGATIVE_INFINITY;
  #refreshAt = Number.NEGATIVE_INFINITY;
  #nextRefreshed = 0;
  #areGroupsStale = false;
  /** The last instant through which another listener had not proven yet. */
  #unprovenAt = Number.NEGATIVE_INFINITY;
  #hasClaimed = false;
  #arithmetic: { readonly spans: readonly DeafSpan[]; readonly ledger: Ledger } | undefined;
  #rearm = new AbortController();
  #armedFor = Number.POSITIVE_INFINITY;
  #reported: VerdictState;

  constructor(deps: VerdictJobDeps) {
    this.#deps = deps;
    this.#batch = { ...deps, listening: () => this.#listening() };
    this.#groups = createRuleGroups(deps.settings);
    this.#shards = new OwnedShards(this.#groups);
    this.#reported = { state: 'warming', reason: 'loading', since: deps.fleetClock.fleet(), until: null };
    deps.settings.onChange(() => {
      this.#areGroupsStale = true;
      this.#rearm.abort();
    });
  }

  heard(hints: readonly LivenessHint[]): void {
    const now = this.#deps.fleetClock.fleet();
    for (const hint of hints) {
      this.#shards.heard(hint, now);
      this.#waiters.remove(hint.computerId);
    }
    this.#rearmIfEarlier();
  }

  reconsider(computerIds: readonly string[]): void {
    const now = this.#deps.fleetClock.fleet();
    for (const computerId of computerIds) this.#shards.reconsider(computerId, now);
    this.#rearmIfEarlier();
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#noteState();
    // A doubt ends also where no verdict waits for that: until then the ledger is deaf.
    this.#deps.suspicion?.step((since) => this.#shards.heardSince(since));
    if (this.#isDraining()) return this.release();
    await this.#holdLeases();
    await this.#loadClaimed(signal);
    if (this.#areGroupsStale) this.#distrustChangedGroups();
    await this.#askForDials(signal);
    await this.#judgeDue(signal);
    await this.#refreshNext(signal);
    this.#noteState();
    this.#rearmIfEarlier();
  }

  async #judgeDue(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#isDraining() && !this.#deps.ledger.deafness()) {
      const startedAt = this.#deps.fleetClock.monotonic();
      const hasTime = () => this.#deps.fleetClock.monotonic() - startedAt < SLICE_MS;
      const at = this.#deps.fleetClock.fleet();
      const suspects = this.#shards.takeSuspects(at, this.#listening(), { limit: CHUNK, hasTime });
      if (await this.#mustHold(suspects, at)) {
        this.#shards.postpone(suspects, at + RETRY_PROOF_MS);
        break;
      }
      if (suspects.length > 0) await this.#judge(suspects);
      else if (this.#shards.earliest() > at) break;
      else await nextTurn();
      if (this.#unprovenAt >= at) break;
      await this.#holdLeases();
    }
  }

  /** Whether these wait until it is known that the manager itself is not the cause of their silence. */
  async #mustHold(suspects: readonly Suspect[], at: FleetInstant): Promise<boolean> {
    const { suspicion, fleetClock } = this.#deps;
    if (!suspicion || suspects.length === 0) return false;
    if (suspicion.hold()) return true;
    const falling = this.#shards.countFalling(suspects, at, this.#listening());
    if (suspicion.mustCount(falling, this.#shards.earliest() <= at))
      suspicion.take(await this.#shards.census(at, this.#listening(), createBreather(fleetClock)));
    return suspicion.hold() !== undefined;
  }

  async wakeUps(signal: AbortSignal, fire: () => Promise<void>): Promise<void> {
    while (!signal.aborted) {
      this.#rearm = new AbortController();
      this.#armedFor = this.#hasNews() ? 0 : this.#dueAt();
      const wait = Math.min(this.#armedFor - this.#deps.fleetClock.fleet(), LONGEST_SLEEP_MS);
      if (wait > 0) await this.#sleep(wait, AbortSignal.any([signal, this.#rearm.signal]));
      else {
        await fire();
        // What is still due then could not be judged yet: a failing database is not asked without a pause.
        if (this.#isDue()) await this.#sleep(PAUSE_MS, signal);
      }
    }
  }

  verdictState(): VerdictState {
    this.#noteState();
    return this.#reported;
  }

  /** Noted with every run, so that `since` does not wait for somebody to ask. */
  #noteState(): void {
    const { state, reason } = this.#presentState();
    const until = reason === SUSPICIOUS ? (this.#deps.suspicion?.hold()?.until ?? null) : null;
    if (state !== this.#reported.state || reason !== this.#reported.reason)
      this.#reported = { state, reason, since: this.#deps.fleetClock.fleet(), until };
  }

  async release(): Promise<void> {
    const held = this.#shards.all();
    for (const { shard } of held) this.#shards.drop(shard);
    this.#waiters.clear();
    this.#hasClaimed = false;
    this.#renewAt = Number.NEGATIVE_INFINITY;
    if (held.length > 0) await this.#deps.inTransaction((sql) => releaseShards(sql, this.#deps.owner, held));
  }

  #presentState(): Pick<VerdictState, 'state' | 'reason'> {
    if (this.#isDraining()) return { state: 'held', reason: 'draining' };
    if (!this.#hasClaimed || this.#shards.all().some(({ isLoaded }) => !isLoaded))
      return { state: 'warming', reason: 'loading' };
    if (this.#deps.suspicion?.hold()) return { state: 'held', reason: SUSPICIOUS };
    const deafness = this.#deps.ledger.deafness();
    if (deafness) return { state: 'held', reason: deafness.cause };
    if (this.#deps.fleetClock.fleet() - this.#unprovenAt < HELD_AFTER_REFUSAL_MS)
      return { state: 'held', reason: 'listener-behind' };
    return { state: 'active', reason: null };
  }

  #isDraining(): boolean {
    return this.#deps.isDraining?.() ?? false;
  }

  #dueAt(): FleetInstant {
    return Math.min(this.#shards.earliest(), this.#waiters.pollAt());
  }

  #isDue(): boolean {
    return this.#hasNews() || this.#dueAt() <= this.#deps.fleetClock.fleet();
  }

  /** Settings have changed; who judges nobody learns them later. */
  #hasNews(): boolean {
    return this.#areGroupsStale && !this.#isDraining();
  }

  #rearmIfEarlier(): void {
    if (this.#dueAt() < this.#armedFor) this.#rearm.abort();
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#deps.fleetClock.sleep(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** The spans' sums are kept for as long as the spans are the same. */
  #listening(): Ledger {
    const spans = this.#deps.ledger.spans();
    if (this.#arithmetic?.spans !== spans)
      this.#arithmetic = { spans, ledger: (this.#deps.createLedger ?? createLedger)(spans) };
    return this.#arithmetic.ledger;
  }

  #distrustChangedGroups(): void {
    this.#areGroupsStale = false;
    this.#shards.distrustGroups(this.#groups.refresh(), this.#deps.fleetClock.fleet());
  }

  async #holdLeases(): Promise<void> {
    const { fleetClock, inTransaction, owner } = this.#deps;
    const at = fleetClock.fleet();
    if (at < this.#renewAt) return;
    const held = this.#shards.all();
    const { kept, taken } = await inTransaction(async (sql) => {
      const renewed = held.length > 0 ? await renewShards(sql, { owner, at }, held) : [];
      const shards = renewed.map(({ shard }) => shard);
      return { kept: new Set(shards), taken: await claimShards(sql, { owner, at }, shards) };
    });
    this.#lose(held.flatMap(({ shard }) => (kept.has(shard) ? [] : [shard])));
    for (const claim of taken) this.#shards.add(claim);
    this.#renewAt = at + RENEW_EVERY_MS;
    this.#hasClaimed = true;
  }

  #lose(shards: readonly number[]): void {
    if (shards.length === 0) return;
    for (const shard of shards) this.#shards.drop(shard);
    this.#waiters.dropShards(shards);
    this.#deps.log.warn({ shards }, 'verdict shards were lost to another process');
    this.#deps.onShardsLost?.(shards);
  }

  async #loadClaimed(signal: AbortSignal): Promise<void> {
    for (const owned of this.#shards.all()) {
      if (signal.aborted) return;
      if (!owned.isLoaded) await this.#load(owned);
      await this.#holdLeases();
    }
  }

  async #load(owned: OwnedShard): Promise<void> {
    const readAt = this.#deps.fleetClock.fleet();
    const loaded = await this.#deps.inTransaction(async (sql) => ({
      packed: await loadShard(sql, owned.shard),
      overrides: await loadOverrides(sql, owned.shard),
    }));
    this.#shards.learnShard(owned, loaded, readAt);
  }

  /** Reads one shard again, so that what another process changed is found without any hint. */
  async #refreshNext(signal: AbortSignal): Promise<void> {
    const at = this.#deps.fleetClock.fleet();
    if (at < this.#refreshAt || signal.aborted) return;
    const owned = this.#shards.get(this.#nextRefreshed);
    this.#nextRefreshed = (this.#nextRefreshed + 1) % SHARD_COUNT;
    if (owned) await this.#load(owned);
    const took = this.#deps.fleetClock.fleet() - at;
    this.#refreshAt = at + Math.max(REFRESH_EVERY_MS, took * REFRESH_SHARE);
  }

  /** Looks again at those whose dial failed in another process. */
  async #askForDials(signal: AbortSignal): Promise<void> {
    const at = this.#deps.fleetClock.fleet();
    if (at < this.#waiters.pollAt() || signal.aborted) return;
    const turn = this.#waiters.takeTurn(at);
    const changed = await this.#deps.inTransaction((sql) => listChangedDials(sql, turn));
    for (const computerId of changed) this.#shards.reconsider(computerId, at);
  }

  async #judge(suspects: readonly Suspect[]): Promise<void> {
    const claims = [...new Set(suspects.map(({ shard }) => shard))].flatMap((shard) => this.#shards.get(shard) ?? []);
    const ids = (owned: ReadonlySet<number>) =>
      suspects.flatMap(({ shard, computerId }) => (owned.has(shard) ? [computerId] : [])).sort();
    try {
      const outcome = await this.#deps.inTransaction((sql) => judgeBatch(sql, this.#batch, { claims, ids }));
      this.#lose(claims.flatMap(({ shard }) => (outcome.owned.has(shard) ? [] : [shard])));
      this.#remember(suspects, outcome);
    } catch (error) {
      await this.#onFailure(suspects, error);
    }
  }

  #remember(suspects: readonly Suspect[], outcome: BatchOutcome): void {
    const { at, provenAt } = outcome;
    if (provenAt === null) {
      this.#unprovenAt = at;
      this.#shards.postpone(suspects, at + RETRY_PROOF_MS);
      return;
    }
    const judged = new Map(outcome.judged.map((one) => [one.row.computer_id, one]));
    const failed = new Set(outcome.failed);
    for (const suspect of suspects) {
      const one = judged.get(suspect.computerId);
      this.#waiters.remove(suspect.computerId);
      if (one) this.#settle(suspect, one, { at, provenAt });
      else if (failed.has(suspect.computerId)) this.#shards.postpone([suspect], at + SET_ASIDE_MS);
      else this.#shards.forget(suspect);
    }
  }

  #settle(suspect: Suspect, judged: Judged, proof: Proof): void {
    const { at } = proof;
    const { dialNeededFrom } = judged.verdict;
    const isWaiting = dialNeededFrom <= at;
    const lookAt = Math.min(nextLook(judged, proof), isWaiting ? at + WAITING_MS : dialNeededFrom);
    this.#shards.settle(suspect, this.#toFacts(judged), { at, until: lookAt });
    if (isWaiting) this.#waiters.add(suspect, judged.row.dial_ended_fleet_ms, at);
  }

  #toFacts({ row, verdict }: Judged) {
    const lastSeenAt = row.last_seen_fleet_ms;
    return {
      lastSeenAt,
      contactDueAt: row.contact_due_fleet_ms,
      intervalMs: Math.max(row.confirmed_interval_ms ?? 0, row.delivered_interval_ms ?? 0),
      group: this.#groups.indexOf(settingsSubjectOf(row)),
      status: verdict.status,
      rulesSince: row.verdict_rules_fleet_ms,
      isSpecial: row.goodbye_reason !== null || (row.power_since_fleet_ms ?? -2) >= (lastSeenAt ?? -1),
      isDialled: isDialled(row),
    };
  }

  /** A row that makes the whole statement fail is found by halving, and set aside. */
  async #onFailure(suspects: readonly Suspect[], error: unknown): Promise<void> {
    const now = this.#deps.fleetClock.fleet();
    if (error instanceof Problem || isTransientDatabaseError(error)) {
      this.#deps.log.warn({ err: error, computers: suspects.length }, 'verdicts could not be stored yet');
      this.#shards.postpone(suspects, now + RETRY_FAILURE_MS);
    } else if (suspects.length === 1) {
      this.#deps.log.error({ err: error, computerId: suspects[0]?.computerId }, 'a verdict cannot be stored');
      this.#shards.postpone(suspects, now + SET_ASIDE_MS);
    } else {
      const middle = suspects.length >>> 1;
      await this.#judge(suspects.slice(0, middle));
      await this.#judge(suspects.slice(middle));
    }
  }
}

interface Proof {
  readonly at: FleetInstant;
  readonly provenAt: FleetInstant;
}

/** When a computer is looked at next: a deadline that passed after the last proof is asked about once more in a moment. */
function nextLook({ verdict }: Judged, { at, provenAt }: Proof): FleetInstant {
  const { nextChangeAt } = verdict;
  return nextChangeAt > provenAt && nextChangeAt <= at ? at + RETRY_PROOF_MS : nextChangeAt;
}
