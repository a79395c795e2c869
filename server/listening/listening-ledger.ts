import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../../lib/log.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { combineSpans, LISTENER_LIVE_MS } from './combine-spans.js';
import type { DeafCause, DeafSpan, IngestProof, ListeningLedger } from './listening.js';
import {
  insertDeafSpan,
  listDeafSpans,
  listListeners,
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
  readonly onDeafSpan?: (sql: Sql, span: DeafSpan & { readonly cause: DeafCause }) => Promise<void>;
}

export interface RunningListeningLedger extends ListeningLedger {
  /** Registers this life of the node; the ledger is deaf until `opened`. */
  register(): Promise<void>;
  /** The agent port accepts from this instant on: stores what was missed since the life before. */
  opened(): Promise<void>;
  /** The renewal of each second; a failure makes the ledger deaf and is not thrown. */
  renew(): Promise<void>;
  /** Notices that the event loop stood still; to be called at least every second, apart from `renew`. */
  witness(): void;
  /** The last proof, before the agent port stops accepting. */
  close(): Promise<void>;
  /** Called after the known spans changed. */
  onSpans(listener: () => void): void;
  /** Why this process is deaf now, and since when; undefined while it listens. */
  deafness(): { readonly cause: DeafCause; readonly since: FleetInstant } | undefined;
  /** Seconds of deafness that this life has stored, the time before it included. */
  deafSeconds(): number;
}

/** A loop that did not turn for longer than this accepted nothing. */
const STALL_MS = 3000;
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
  /** From here on every second was clean; nothing before it is claimed to be. */
  #cleanSince: FleetInstant = Number.NEGATIVE_INFINITY;
  #isOpen = false;
  #witnessedAt: number;
  #spans: readonly DeafSpan[] = [];
  #listeners: (() => void)[] = [];
  #deafMs = 0;
  #running: Promise<void> | undefined;

  constructor(deps: ListeningLedgerDeps) {
    this.#deps = deps;
    this.#witnessedAt = deps.fleetClock.boot();
  }

  async register(): Promise<void> {
    const { inTransaction, node, fleetClock } = this.#deps;
    const registered = await inTransaction((sql) => registerListener(sql, node, fleetClock.fleet()));
    this.#key = { node, generation: registered.generation };
    this.#listenedUntil = registered.listenedUntil;
    this.#deaf = { cause: 'process-down', since: registered.listenedUntil };
    await inTransaction((sql) => this.#refresh(sql, { ownChanged: true }));
  }

  async opened(): Promise<void> {
    this.#isOpen = true;
    this.#witnessedAt = this.#deps.fleetClock.boot();
    const at = this.#deps.fleetClock.fleet();
    this.#cleanSince = at;
    await this.#guarded(() => this.#endDeafness(at));
  }

  spans(): readonly DeafSpan[] {
    return this.#spans;
  }

  onSpans(listener: () => void): void {
    this.#listeners.push(listener);
  }

  deafness(): { readonly cause: DeafCause; readonly since: FleetInstant } | undefined {
    this.witness();
    if (!this.#deaf && this.#noted && this.#noted.at >= this.#listenedUntil)
      return { cause: this.#noted.cause, since: this.#listenedUntil };
    return this.#deaf;
  }

  deafSeconds(): number {
    return this.#deafMs / 1000;
  }

  noteDeaf(cause: DeafCause): void {
    this.#noted = { at: this.#deps.fleetClock.fleet(), cause };
  }

  witness(): void {
    const now = this.#deps.fleetClock.boot();
    const stood = now - this.#witnessedAt;
    this.#witnessedAt = now;
    if (this.#isOpen && stood > STALL_MS) this.noteDeaf('stalled');
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
    if (!this.#isOpen || this.deafness()) return false;
    await this.#deps.ingest.settled();
    return !this.deafness() && (await renewListener(sql, key, at));
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
    const noted = this.#noted;
    if (noted && noted.at >= Math.max(this.#listenedUntil, this.#cleanSince)) {
      // Whatever was turned away after `at` belongs to the next second, which is then not clean either.
      this.#deaf ??= { cause: noted.cause, since: this.#listenedUntil };
      this.#cleanSince = Math.max(at, noted.at + 1);
      return;
    }
    if (this.#deaf) await this.#endDeafness(at);
    else await this.#prove(at);
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
      if (!(await insertDeafSpan(sql, this.#ownKey(), { until, cause })))
        throw new Error('Another process listens under this name');
      await this.#refresh(sql, { ownChanged: true });
      if (until > since) await this.#deps.onDeafSpan?.(sql, { from: since, until, cause });
    }, FEW);
    this.#deafMs += Math.max(0, until - since);
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
      this.#deaf ??= { cause: 'database-away', since: this.#listenedUntil };
      this.#cleanSince = this.#deps.fleetClock.fleet();
    }
  }

  #ownKey(): ListenerKey {
    if (!this.#key) throw new Error('The listener is not registered');
    return this.#key;
  }
}
