import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../../lib/log.js';
import { causeOfStandStill } from '../../policies/deafness-rules.js';
import { DEGRADED_WINDOW_MS } from '../../policies/degradation-rules.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { combineSpans, LISTENER_LIVE_MS } from './combine-spans.js';
import {
  DEAF_CAUSES,
  type DeafCause,
  type DeafConditions,
  type DeafSpan,
  type IngestProof,
  type ListeningLedger,
  type NamedDeafSpan,
} from './listening.js';
import {
  insertDeafSpan,
  listDeafSpans,
  listListeners,
  listOwnSpans,
  registerListener,
  renewListener,
  type ListenerKey,
} from './listening-repository.js';

export interface ListeningLedgerDeps {
  /** Unique among the processes that listen at the same time, the same after a restart. */
  readonly node: string;
  readonly inTransaction: HotTransaction;
  readonly fleetClock: FleetClock;
  readonly ingest: IngestProof;
  readonly log: Log;
  /** Called in the transaction that stores how long this process did not listen. */
  readonly onDeafSpan?: (sql: Sql, span: NamedDeafSpan) => Promise<void>;
  /** For how long another thread of this process has turned so far, in milliseconds; undefined without one. */
  readonly otherThreadMs?: () => number | undefined;
  /** Whether the agent port keeps somebody waiting: nothing is proven until it is known why. */
  readonly isInDoubt?: () => boolean;
}

export interface RunningListeningLedger extends ListeningLedger, DeafConditions {
  /** Registers this life of the node; the ledger is deaf until `opened`. */
  register(): Promise<void>;
  /** The agent port accepts from this instant on: stores what was missed since the life before. */
  opened(): Promise<void>;
  /** The renewal of each second; a failure makes the ledger deaf and is not thrown. */
  renew(): Promise<void>;
  /** Notices that the event loop stood still; to be called several times a second, apart from `renew`. */
  witness(): void;
  /** The last proof, before the agent port stops accepting. */
  close(): Promise<void>;
  /** Called after the known spans changed. */
  onSpans(listener: () => void): void;
  /** Why this process is deaf now, and since when; undefined while it listens. */
  deafness(): { readonly cause: DeafCause; readonly since: FleetInstant } | undefined;
  /** Seconds of deafness that this life has stored, the time before it included. */
  deafSeconds(): number;
  deafSecondsBy(): Readonly<Record<DeafCause, number>>;
  /** This node's own spans of the last minutes, those of lives before included; one that is not over ends now. */
  recentSpans(): readonly NamedDeafSpan[];
}

const FAILS_AFTER_MS = 1000;
const REMEMBER_MS = 400 * 86_400_000;
/** The next second tries again anyway. */
const FEW = { attempts: 2 };

export function createListeningLedger(deps: ListeningLedgerDeps): RunningListeningLedger {
  return new Ledger(deps);
}

class Ledger implements RunningListeningLedger {
  readonly #deps: ListeningLedgerDeps;
  #key: ListenerKey | undefined;
  /** The last proof known to be stored. */
  #listenedUntil: FleetInstant = 0;
  #deaf: { cause: DeafCause; since: FleetInstant } | undefined;
  /** The last instant at which something was turned away, and why. */
  #noted: { at: FleetInstant; cause: DeafCause } | undefined;
  /** When the loop turned again after it had stood still for the last time, and why it did. */
  #stoodStill: { at: FleetInstant; cause: DeafCause } | undefined;
  /** From here on every second was clean; nothing before it is claimed to be. */
  #cleanSince: FleetInstant = Number.NEGATIVE_INFINITY;
  /** What is known from outside the event loop, with its beginning. */
  readonly #conditions = new Map<DeafCause, FleetInstant>();
  #isOpen = false;
  #witnessed: Witnessed;
  #spans: readonly DeafSpan[] = [];
  #isAlone = false;
  #listeners: (() => void)[] = [];
  #recent: readonly NamedDeafSpan[] = [];
  readonly #deafMs = Object.fromEntries(DEAF_CAUSES.map((cause) => [cause, 0])) as Record<DeafCause, number>;
  #running: Promise<void> | undefined;

  constructor(deps: ListeningLedgerDeps) {
    this.#deps = deps;
    this.#witnessed = this.#look();
  }

  async register(): Promise<void> {
    const { inTransaction, node, fleetClock } = this.#deps;
    const registered = await inTransaction((sql) => registerListener(sql, node, fleetClock.fleet()));
    this.#key = { node, generation: registered.generation };
    this.#listenedUntil = registered.listenedUntil;
    this.#deaf = { cause: 'process-down', since: registered.listenedUntil };
    await inTransaction(async (sql) => {
      await this.#refresh(sql, { ownChanged: true });
      this.#recent = await listOwnSpans(sql, node, fleetClock.fleet() - DEGRADED_WINDOW_MS);
    });
  }

  async opened(): Promise<void> {
    this.#isOpen = true;
    this.#witnessed = this.#look();
    const at = this.#deps.fleetClock.fleet();
    this.#cleanSince = at;
    await this.#guarded(() => this.#endDeafness(at));
  }

  spans(): readonly DeafSpan[] {
    return this.#spans;
  }

  spansUntilNow(): readonly DeafSpan[] {
    const present = this.#isAlone ? this.deafness() : undefined;
    if (!present) return this.#spans;
    // One that is just being stored may be among them already.
    const from = Math.max(present.since, this.#spans.at(-1)?.until ?? present.since);
    return [...this.#spans, { from, until: Math.max(from, this.#deps.fleetClock.fleet()) }];
  }

  onSpans(listener: () => void): void {
    this.#listeners.push(listener);
  }

  deafness(): { readonly cause: DeafCause; readonly since: FleetInstant } | undefined {
    this.witness();
    if (this.#deaf) return this.#deaf;
    const [condition] = this.#conditions;
    if (condition) return { cause: condition[0], since: Math.min(condition[1], this.#listenedUntil) };
    if (this.#noted && this.#noted.at >= this.#listenedUntil)
      return { cause: this.#noted.cause, since: this.#listenedUntil };
    return undefined;
  }

  deafSeconds(): number {
    return DEAF_CAUSES.reduce((sum, cause) => sum + this.#deafMs[cause], 0) / 1000;
  }

  deafSecondsBy(): Readonly<Record<DeafCause, number>> {
    return Object.fromEntries(DEAF_CAUSES.map((cause) => [cause, this.#deafMs[cause] / 1000])) as Record<
      DeafCause,
      number
    >;
  }

  recentSpans(): readonly NamedDeafSpan[] {
    const now = this.#deps.fleetClock.fleet();
    const present = this.deafness();
    this.#recent = this.#recent.filter(({ until }) => until > now - DEGRADED_WINDOW_MS);
    return present ? [...this.#recent, { from: present.since, until: now, cause: present.cause }] : this.#recent;
  }

  noteDeaf(cause: DeafCause): void {
    this.witness();
    this.#note(cause);
  }

  #note(cause: DeafCause): void {
    this.#noted = { at: this.#deps.fleetClock.fleet(), cause: this.#standStillNow() ?? cause };
  }

  /** A process that stood still finds its own timers run out: what fails right afterwards says nothing of others. */
  #standStillNow(): DeafCause | undefined {
    const stood = this.#stoodStill;
    return stood && this.#deps.fleetClock.fleet() - stood.at <= FAILS_AFTER_MS ? stood.cause : undefined;
  }

  beginDeaf(cause: DeafCause, since: FleetInstant): void {
    if (!this.#conditions.has(cause)) this.#conditions.set(cause, since);
  }

  endDeaf(cause: DeafCause): void {
    const since = this.#conditions.get(cause);
    this.#conditions.delete(cause);
    // The next renewal stores it, though none has seen it.
    if (since !== undefined && this.#isOpen) this.#addDeaf(cause, since);
  }

  witness(): void {
    const before = this.#witnessed;
    const now = this.#look();
    this.#witnessed = now;
    const stoodMs = now.bootMs - before.bootMs;
    const suspendedMs = stoodMs - (now.monotonicMs - before.monotonicMs);
    const isSameThread = now.otherThreadMs !== undefined && before.otherThreadMs !== undefined;
    const otherThreadMs = isSameThread ? now.otherThreadMs - before.otherThreadMs : undefined;
    const cause = causeOfStandStill({ stoodMs, suspendedMs, otherThreadMs });
    if (!this.#isOpen || !cause) return;
    this.#stoodStill = { at: this.#deps.fleetClock.fleet(), cause };
    this.#note(cause);
  }

  #look(): Witnessed {
    const { fleetClock, otherThreadMs } = this.#deps;
    return { bootMs: fleetClock.boot(), monotonicMs: fleetClock.monotonic(), otherThreadMs: otherThreadMs?.() };
  }

  renew(): Promise<void> {
    this.witness();
    this.#running ??= this.#guarded(() => this.#renewOnce()).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async close(): Promise<void> {
    await this.#running;
    await this.renew();
    this.#isOpen = false;
    this.#deaf ??= { cause: 'process-down', since: this.#listenedUntil };
  }

  async proveThrough(sql: Sql, at: FleetInstant): Promise<FleetInstant | null> {
    const isProven = this.#key ? await this.#proveOwn(sql, this.#key, at) : await this.#lookOn(sql);
    if (!isProven) return null;
    const now = this.#deps.fleetClock.fleet();
    const live = (await listListeners(sql)).filter(
      ({ node, listenedUntil }) => !this.#isOwn(node) && listenedUntil + LISTENER_LIVE_MS >= now,
    );
    if (!this.#key && live.length === 0) return null;
    return Math.min(at, ...live.map(({ listenedUntil }) => listenedUntil));
  }

  async #proveOwn(sql: Sql, key: ListenerKey, at: FleetInstant): Promise<boolean> {
    if (!this.#isOpen || this.deafness() || this.#isInDoubt()) return false;
    await this.#deps.ingest.settled();
    return !this.deafness() && !this.#isInDoubt() && (await renewListener(sql, key, at));
  }

  /** A process without an agent port knows of the spans only what it reads when it needs them. */
  async #lookOn(sql: Sql): Promise<boolean> {
    await this.#refresh(sql, { ownChanged: true });
    return true;
  }

  #isOwn(node: string): boolean {
    return this.#key !== undefined && node === this.#deps.node;
  }

  async #renewOnce(): Promise<void> {
    if (!this.#isOpen) return;
    const at = this.#deps.fleetClock.fleet();
    await this.#deps.ingest.settled();
    if (this.#noteConditions(at) || this.#noteRefusals(at) || this.#isInDoubt()) return;
    if (this.#deaf) await this.#endDeafness(at);
    else await this.#prove(at);
  }

  #isInDoubt(): boolean {
    return this.#deps.isInDoubt?.() ?? false;
  }

  /** Whether something goes on for which nothing is listened to. */
  #noteConditions(at: FleetInstant): boolean {
    for (const [cause, since] of this.#conditions) this.#addDeaf(cause, since);
    if (this.#conditions.size > 0) this.#cleanSince = Math.max(this.#cleanSince, at);
    return this.#conditions.size > 0;
  }

  /** Whether something was turned away since the last proof, or the loop stood still. */
  #noteRefusals(at: FleetInstant): boolean {
    const noted = this.#noted;
    if (!noted || noted.at < Math.max(this.#listenedUntil, this.#cleanSince)) return false;
    // Whatever was turned away after `at` belongs to the next second, which is then not clean either.
    this.#deaf ??= { cause: noted.cause, since: this.#listenedUntil };
    this.#cleanSince = Math.max(at, noted.at + 1);
    return true;
  }

  /** What is deaf already keeps its cause. */
  #addDeaf(cause: DeafCause, since: FleetInstant): void {
    const known = this.#deaf ?? { cause, since: this.#listenedUntil };
    this.#deaf = { cause: known.cause, since: Math.min(since, known.since) };
  }

  async #prove(at: FleetInstant): Promise<void> {
    const { inTransaction } = this.#deps;
    await inTransaction(async (sql) => {
      if (!(await renewListener(sql, this.#ownKey(), at))) throw new Error('Another process listens under this name');
      await this.#refresh(sql, { ownChanged: false });
    }, FEW);
    this.#listenedUntil = Math.max(this.#listenedUntil, at);
  }

  async #endDeafness(until: FleetInstant): Promise<void> {
    const { cause, since } = this.#deaf ?? { cause: 'process-down' as const, since: this.#listenedUntil };
    await this.#deps.inTransaction(async (sql) => {
      if (!(await insertDeafSpan(sql, this.#ownKey(), { from: since, until, cause })))
        throw new Error('Another process listens under this name');
      await this.#refresh(sql, { ownChanged: true });
      if (until > since) await this.#deps.onDeafSpan?.(sql, { from: since, until, cause });
    }, FEW);
    this.#deafMs[cause] += Math.max(0, until - since);
    if (until > since) this.#recent = [...this.#recent, { from: since, until, cause }];
    this.#listenedUntil = Math.max(this.#listenedUntil, until);
    this.#deaf = undefined;
    if (until > since) this.#deps.log.info({ cause, seconds: (until - since) / 1000 }, 'listening again');
  }

  /**
   * Reads the proofs of all listeners, and after them the spans: a proof that moved on after a deaf time must not be
   * known without the span of that time.
   */
  async #refresh(sql: Sql, { ownChanged }: { readonly ownChanged: boolean }): Promise<void> {
    const now = this.#deps.fleetClock.fleet();
    const listeners = await listListeners(sql);
    this.#isAlone = listeners.every(({ node }) => this.#isOwn(node));
    if (!ownChanged && listeners.length === 1) return;
    const spans = await listDeafSpans(sql, now - REMEMBER_MS);
    const known = listeners.map(({ node, listenedUntil }) => ({
      // This process speaks for itself: what it has not stored yet is no proof against it.
      listenedUntil: this.#isOwn(node) ? now : listenedUntil,
      spans: spans.filter(({ listener }) => listener === node),
    }));
    const combined = combineSpans(known, now).map(({ from, until }) => ({ from, until }));
    if (isDeepStrictEqual(combined, this.#spans)) return;
    this.#spans = combined;
    for (const listener of this.#listeners) listener();
  }

  async #guarded(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!this.#deaf) this.#deps.log.warn({ err: error }, 'not listening');
      this.witness();
      this.#deaf ??= { cause: this.#standStillNow() ?? 'database-away', since: this.#listenedUntil };
      this.#cleanSince = this.#deps.fleetClock.fleet();
    }
  }

  #ownKey(): ListenerKey {
    if (!this.#key) throw new Error('The listener is not registered');
    return this.#key;
  }
}

/** What the clocks and the other thread said when the loop turned last. */
interface Witnessed {
  readonly bootMs: number;
  readonly monotonicMs: number;
  readonly otherThreadMs: number | undefined;
}
