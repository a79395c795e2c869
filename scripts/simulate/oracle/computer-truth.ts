import type { Orders, Report } from '../../../protocol/heartbeat-messages.js';
import { Circumstances } from './circumstances.js';
import type { TrueContact } from './silence-bounds.js';

/** A report that reached the manager, whatever became of it. */
interface Submitted {
  /** It may come more than once. */
  readonly receipts: readonly number[];
  readonly intervalMs: number;
  readonly announcedMs: number;
  readonly isDialled: boolean;
}

/** The stored row of a computer, read beside the product. */
export interface LiveFacts {
  readonly computerId: string;
  readonly reportId: string | null;
  readonly lastSeenAt: number | null;
  readonly contactDueAt: number | null;
  readonly deliveredMs: number | null;
}

const REMEMBERED = 50;
/** The setting `goodbyeToleranceSeconds` is left as it is. */
const TOLERANCE_MS = 300_000;

/** What is known of one computer from its messages: which of them are stored is all that is taken from the database. */
export class ComputerTruth {
  readonly computerId: string;
  readonly circumstances = new Circumstances();
  #submitted = new Map<string, Submitted>();
  #reportId: string | null = null;
  #storedLastSeen = Number.NEGATIVE_INFINITY;
  #storedDue = Number.NEGATIVE_INFINITY;
  #storedDelivered = 0;
  #lastSeenAt: number | undefined;
  #confirmedMs = 0;
  #announcedMs = 0;
  #isDialled = false;
  /** What an answer has carried and no report has confirmed yet. */
  #deliveredMs = 0;

  constructor(computerId: string) {
    this.computerId = computerId;
  }

  get lastSeenAt(): number | undefined {
    return this.#lastSeenAt;
  }

  submit(report: Report, receivedAt: number): void {
    const { reason } = report.goodbye ?? {};
    const announcedMs = reason === 'restart' || reason === 'update' ? TOLERANCE_MS : 0;
    const receipts = [...(this.#submitted.get(report.reportId)?.receipts ?? []), receivedAt];
    const isDialled = report.direction === 'managerInitiated';
    const intervalMs = report.intervalSeconds * 1000;
    this.#submitted.set(report.reportId, { receipts, announcedMs, isDialled, intervalMs });
    const [oldest] = this.#submitted.keys();
    if (oldest !== undefined && this.#submitted.size > REMEMBERED) this.#submitted.delete(oldest);
  }

  /** What is wrong with the stored row, if anything. */
  follow(live: LiveFacts): string | undefined {
    const stored = live.lastSeenAt ?? Number.NEGATIVE_INFINITY;
    if (stored < this.#storedLastSeen) return `last seen went back by ${this.#storedLastSeen - stored} ms`;
    const isNews = live.reportId !== null && live.reportId !== this.#reportId;
    if (isNews) this.#accept(live.reportId ?? '', stored);
    this.#storedLastSeen = stored;
    this.#storedDue = live.contactDueAt ?? stored;
    this.#storedDelivered = live.deliveredMs ?? 0;
    if (this.#lastSeenAt === undefined || stored === this.#lastSeenAt) return undefined;
    return `last seen is off by ${stored - this.#lastSeenAt} ms from the receipt`;
  }

  #accept(reportId: string, stored: number): void {
    const submitted = this.#submitted.get(reportId);
    this.#reportId = reportId;
    if (!submitted) return;
    const { receipts } = submitted;
    const receivedAt = receipts.find((receipt) => receipt === stored) ?? receipts.at(-1) ?? stored;
    this.#lastSeenAt = Math.max(this.#lastSeenAt ?? receivedAt, receivedAt);
    this.#confirmedMs = submitted.intervalMs;
    this.#announcedMs = submitted.announcedMs;
    this.#isDialled = submitted.isDialled;
    if (this.#deliveredMs === this.#confirmedMs) this.#deliveredMs = 0;
  }

  /** An answer on its way to the agent. */
  answered(orders: Orders): void {
    if (orders.effect === 'older') return;
    if (!orders.settings) {
      this.#deliveredMs = 0;
      return;
    }
    const { heartbeatIntervalSeconds } = JSON.parse(orders.settings.json) as { heartbeatIntervalSeconds: number };
    this.#deliveredMs = Math.max(this.#deliveredMs, heartbeatIntervalSeconds * 1000);
  }

  /** By its messages alone: nothing falls earlier. */
  soonest(): TrueContact | undefined {
    const { lastSeenAt } = this;
    if (lastSeenAt === undefined) return undefined;
    const intervalMs = Math.max(this.#confirmedMs, this.#deliveredMs);
    const [announcedMs, isDialled] = [this.#announcedMs, this.#isDialled];
    return { lastSeenAt, contactDueAt: lastSeenAt, intervalMs, announcedMs, isDialled };
  }

  /** With what the stored row may add: nothing falls later. */
  slowest(): TrueContact | undefined {
    const soonest = this.soonest();
    if (!soonest) return undefined;
    const intervalMs = Math.max(soonest.intervalMs, this.#storedDelivered);
    // What was ordered never waits longer than the longest interval.
    return { ...soonest, intervalMs, contactDueAt: Math.min(this.#storedDue, soonest.lastSeenAt + intervalMs) };
  }
}
