import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { shedRetryAfterSeconds } from '../../policies/herd-rules.js';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import type { IngestProof, ListeningLedger } from '../listening/listening.js';
import type { DatabaseBreaker } from '../database/database-breaker.js';
import type { Exchange } from './exchange.js';
import type { IngestMetrics } from './ingest-metrics.js';
import { changedItems } from '../telemetry/inventory-rules.js';
import { assertLanes } from './report-rules.js';
import type { Outcome, ReportService } from './report-service.js';

export interface BatcherOptions {
  /** How long the first report of a batch waits for others. */
  readonly gatherMs?: number;
  readonly maxReports?: number;
  readonly maxEvents?: number;
  readonly maxInFlight?: number;
  /** Changes of inventories that wait; those of a report beyond are left out, and it is stored without them. */
  readonly maxInventoryRows?: number;
  /** Reports that wait; what comes beyond is turned away. */
  readonly maxQueued?: number;
  /** Reports of one computer that wait or are in flight. */
  readonly maxPerComputer?: number;
  /** What is not stored within this time is turned away, for the agent does not wait much longer. */
  readonly answerWithinMs?: number;
}

export interface BatcherDeps {
  readonly service: ReportService;
  readonly listening: Pick<ListeningLedger, 'noteDeaf'>;
  readonly metrics: IngestMetrics;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly breaker: Pick<DatabaseBreaker, 'admits' | 'isAway'>;
  readonly options?: BatcherOptions;
}

export interface ReportBatcher extends IngestProof {
  /** Answers when the report's batch is committed; throws a Problem. */
  submit(exchange: Exchange): Promise<Orders>;
  /** From now on everything is turned away with 503; resolves when what was taken is answered. */
  drain(): Promise<void>;
  /** The share of the queue that is in use, 0 to 1. */
  load(): number;
}

interface Waiter {
  readonly exchange: Exchange;
  /** Rows that it brings beside its own: events, changes of the inventory. */
  readonly events: number;
  /** The look at late ones after which it came. */
  readonly look: number;
  /** Only the first answer counts. */
  readonly answer: (outcome: Outcome) => void;
}

const DEFAULTS: Required<BatcherOptions> = {
  gatherMs: 4,
  maxReports: 200,
  maxEvents: 1000,
  maxInFlight: 2,
  maxInventoryRows: 10_000,
  maxQueued: 1000,
  maxPerComputer: 3,
  answerWithinMs: 6000,
};
/** Looks at what is late within `answerWithinMs`: counted, so that a pause of the process makes nothing late. */
const LOOKS = 12;
/** Reports with more events than this travel in batches of their own. */
const LIGHT_EVENTS = 50;
/** A computer that did not wait for its answer. */
const IMPATIENT_RETRY_SECONDS = 2;

/** Group commit: see design.md §11. At most one report of a computer is in flight, in its order of arrival. */
export function createReportBatcher(deps: BatcherDeps): ReportBatcher {
  const batcher = new Batcher(deps);
  return {
    submit: (exchange) => batcher.submit(exchange),
    settled: () => batcher.settled(),
    drain: () => batcher.drain(),
    load: () => batcher.load(),
  };
}

class Batcher {
  readonly #deps: BatcherDeps;
  readonly #options: Required<BatcherOptions>;
  #queue: Waiter[] = [];
  /** Not answered yet, queued or in flight, oldest first. */
  readonly #waiting = new Set<Waiter>();
  #looks = 0;
  #isLooking = false;
  readonly #inFlight = new Set<string>();
  readonly #perComputer = new Map<string, number>();
  readonly #unanswered = new Set<Promise<unknown>>();
  #batches = 0;
  #heavyBatches = 0;
  #inventoryRows = 0;
  #isGathering = false;
  #isDraining = false;
  #turnedAway = 0;

  constructor(deps: BatcherDeps) {
    this.#deps = deps;
    this.#options = { ...DEFAULTS, ...deps.options };
  }

  load(): number {
    return this.#queue.length / this.#options.maxQueued;
  }

  submit(exchange: Exchange): Promise<Orders> {
    try {
      this.#assertRoom(exchange);
      assertLanes(exchange.report);
    } catch (error) {
      return Promise.reject(error);
    }
    const { computerId } = exchange.identity;
    const items = changedItems(exchange.report);
    const shedsInventory = items > 0 && this.#inventoryRows + items > this.#options.maxInventoryRows;
    const inventoryRows = shedsInventory ? 0 : items;
    this.#inventoryRows += inventoryRows;
    const events = exchange.report.lanes.reduce((sum, lane) => sum + lane.events.length, inventoryRows);
    this.#perComputer.set(computerId, (this.#perComputer.get(computerId) ?? 0) + 1);
    const answered = new Promise<Orders>((resolve, reject) => {
      const answer = (outcome: Outcome): void => {
        if (!this.#waiting.delete(waiter)) return;
        this.#leave(computerId);
        this.#inventoryRows -= inventoryRows;
        if (outcome instanceof Problem) reject(outcome);
        else resolve(outcome);
      };
      const waiter = {
        exchange: shedsInventory ? { ...exchange, shedsInventory } : exchange,
        events,
        look: this.#looks,
        answer,
      };
      this.#waiting.add(waiter);
      this.#queue.push(waiter);
    });
    const tracked = answered.catch(() => undefined).finally(() => this.#unanswered.delete(tracked));
    this.#unanswered.add(tracked);
    this.#gather();
    void this.#turnLateAway();
    return answered;
  }

  async settled(): Promise<void> {
    await Promise.all(this.#unanswered);
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    await this.settled();
  }

  #assertRoom({ identity }: Exchange): void {
    const { metrics, listening } = this.#deps;
    if ((this.#perComputer.get(identity.computerId) ?? 0) >= this.#options.maxPerComputer)
      throw new Problem('too-many-requests', {
        detail: 'Wait for the answer to the last report.',
        retryAfterSeconds: IMPATIENT_RETRY_SECONDS,
      });
    if (!this.#isDraining && this.#queue.length < this.#options.maxQueued) {
      if (this.#deps.breaker.admits()) return;
      throw this.#databaseAway();
    }
    metrics.refused += 1;
    listening.noteDeaf('refused-heartbeats');
    const detail = this.#isDraining ? 'The manager is shutting down.' : 'Too many heartbeats are waiting.';
    throw new Problem('unavailable', { detail, retryAfterSeconds: this.#retryAfterSeconds() });
  }

  #retryAfterSeconds(): number {
    this.#turnedAway += 1;
    return shedRetryAfterSeconds('heartbeat', this.#turnedAway);
  }

  #databaseAway(): Problem {
    this.#deps.metrics.refused += 1;
    this.#deps.listening.noteDeaf('database-away');
    const detail = 'The report could not be stored.';
    return new Problem('unavailable', { detail, retryAfterSeconds: this.#retryAfterSeconds() });
  }

  /** Who waits behind a batch that found the database away is not made to find it out in turn. */
  #refuseQueued(): void {
    const waiting = this.#queue;
    this.#queue = [];
    for (const { answer } of waiting) answer(this.#databaseAway());
  }

  /** Looks as long as anything waits. What is in flight may yet be stored: its repeat is recognised. */
  async #turnLateAway(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    while (this.#waiting.size > 0) {
      await this.#deps.clock.sleep(this.#options.answerWithinMs / LOOKS);
      this.#looks += 1;
      this.#refuseLate();
    }
    this.#isLooking = false;
  }

  #refuseLate(): void {
    const { metrics, listening } = this.#deps;
    const late = new Set([...this.#waiting].filter(({ look }) => look + LOOKS < this.#looks));
    if (late.size === 0) return;
    this.#queue = this.#queue.filter((waiter) => !late.has(waiter));
    metrics.refused += late.size;
    listening.noteDeaf('refused-heartbeats');
    const detail = 'The report could not be stored in time.';
    for (const { answer } of late)
      answer(new Problem('unavailable', { detail, retryAfterSeconds: this.#retryAfterSeconds() }));
  }

  #leave(computerId: string): void {
    const left = (this.#perComputer.get(computerId) ?? 1) - 1;
    if (left > 0) this.#perComputer.set(computerId, left);
    else this.#perComputer.delete(computerId);
  }

  /** Waits a moment for company, unless a full batch is there already or one is being stored anyway. */
  #gather(): void {
    if (this.#queue.length >= this.#options.maxReports) return this.#dispatch();
    if (this.#isGathering) return;
    this.#isGathering = true;
    void this.#deps.clock
      .sleep(this.#options.gatherMs)
      .catch(() => undefined)
      .finally(() => {
        this.#isGathering = false;
        this.#dispatch();
      });
  }

  #dispatch(): void {
    while (this.#batches < this.#options.maxInFlight) {
      // One slot may be a backlog's, so that neither it nor the live heartbeats wait for ever.
      const heavy = this.#heavyBatches === 0 ? this.#take(true) : [];
      const batch = heavy.length > 0 ? heavy : this.#take(false);
      if (batch.length === 0) return;
      void this.#run(batch);
    }
  }

  /** Takes the oldest waiters that may travel together; who is in flight already stays in the queue, in order. */
  #take(heavy: boolean): Waiter[] {
    const { maxReports, maxEvents } = this.#options;
    const batch: Waiter[] = [];
    const rest: Waiter[] = [];
    const passed = new Set<string>();
    let events = 0;
    for (const waiter of this.#queue) {
      const { computerId } = waiter.exchange.identity;
      const hasRoom = batch.length < maxReports && (batch.length === 0 || events + waiter.events <= maxEvents);
      const isBlocked = passed.has(computerId) || this.#inFlight.has(computerId);
      if (isBlocked || !hasRoom || waiter.events > LIGHT_EVENTS !== heavy) rest.push(waiter);
      else {
        batch.push(waiter);
        events += waiter.events;
      }
      passed.add(computerId);
    }
    this.#queue = rest;
    return batch;
  }

  async #run(batch: readonly Waiter[]): Promise<void> {
    const isHeavy = (batch[0]?.events ?? 0) > LIGHT_EVENTS;
    const ids = batch.map(({ exchange }) => exchange.identity.computerId);
    for (const id of ids) this.#inFlight.add(id);
    this.#batches += 1;
    this.#heavyBatches += isHeavy ? 1 : 0;
    const outcomes = await this.#deps.service
      .store(batch.map(({ exchange }) => exchange))
      .catch((error: unknown) => batch.map(() => new Problem('internal', {}, error)));
    this.#batches -= 1;
    this.#heavyBatches -= isHeavy ? 1 : 0;
    for (const id of ids) this.#inFlight.delete(id);
    for (const [index, waiter] of batch.entries())
      waiter.answer(outcomes[index] ?? new Problem('internal', { detail: 'A report was left without an answer.' }));
    if (this.#deps.breaker.isAway()) this.#refuseQueued();
    this.#dispatch();
  }
}
