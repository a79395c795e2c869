import type { Clock } from '../../lib/clock.js';
import { shareRun, type Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import { createPeriodic } from '../../lib/periodic.js';
import type { Sql } from '../database/sql.js';
import { isDataError } from '../database/database-errors.js';
import { toClaimedInstant } from './clock-offset.js';
import { packReceipts, RECEIPT_BYTES, RING_RECEIPTS, type Receipt } from './receipt-ring.js';

export interface NotedReceipt extends Receipt {
  readonly computerId: string;
  readonly counters: unknown;
  /** What the agent's spool holds, or null. */
  readonly spool: unknown;
  readonly agentTimeMs: number;
}

/** Newest counters and receipts per computer, in memory until they are flushed; a crash may lose the unflushed ones. */
export interface CountersRecorder extends Lifecycle {
  note(receipt: NotedReceipt): void;
  /** Stores the computers that wait longest, at most one batch of them; answers how many still wait. */
  flush(): Promise<number>;
}

export interface CountersRecorderDeps {
  /** The pool's, outside of any transaction. */
  readonly sql: Sql;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Log;
  readonly everyMs?: number;
  /** Computers per flush: what bounds the cost, however large the fleet. */
  readonly batchSize?: number;
  /** Computers held at once; the longest waiting is let go beyond. */
  readonly capacity?: number;
}

interface Pending {
  readonly receipts: Receipt[];
  newest: NotedReceipt;
}

const FLUSH = `
INSERT INTO heartbeat_rings (computer_id, ring, counters, spool, agent_time_ms, updated_fleet_ms)
SELECT input.computer_id, input.ring, input.counters::jsonb, input.spool::jsonb, input.agent_time_ms,
  input.updated_fleet_ms
FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
  AS input (computer_id, ring, counters, spool, agent_time_ms, updated_fleet_ms)
WHERE EXISTS (SELECT FROM computer_live WHERE computer_live.computer_id = input.computer_id)
ORDER BY input.computer_id
ON CONFLICT (computer_id) DO UPDATE SET
  ring = substr(heartbeat_rings.ring || EXCLUDED.ring,
    greatest(1, length(heartbeat_rings.ring) + length(EXCLUDED.ring) - ${RING_RECEIPTS * RECEIPT_BYTES - 1})),
  counters = EXCLUDED.counters, spool = EXCLUDED.spool, agent_time_ms = EXCLUDED.agent_time_ms, updated_fleet_ms = EXCLUDED.updated_fleet_ms`;

export function createCountersRecorder(deps: CountersRecorderDeps): CountersRecorder {
  const { sql, clock, log, everyMs = 2000, batchSize = 500, capacity = 200_000 } = deps;
  const pending = new PendingReceipts(capacity);
  const flush = async (): Promise<number> => {
    const batch = pending.take(batchSize);
    if (batch.length === 0) return 0;
    try {
      await sql.query(FLUSH, columnsOf(batch));
    } catch (error) {
      log.warn({ err: error, computers: batch.length }, 'Counters could not be stored');
      // What the database will never take is let go; the next report brings newer counters.
      if (!isDataError(error)) pending.giveBack(batch);
      throw error;
    }
    return pending.size;
  };

  const periodic = createPeriodic({ clock, everyMs, action: async () => void (await flush()) });

  return {
    note: (receipt) => pending.add(receipt),
    flush,
    start: periodic.start,
    stop: shareRun(async () => {
      await periodic.stop();
      let waiting = pending.size;
      while (waiting > 0) waiting = await flush().catch(() => 0);
    }),
  };
}

/** Computers in order of their first unflushed receipt: a Map iterates by insertion. */
class PendingReceipts {
  readonly #entries = new Map<string, Pending>();

  constructor(private readonly capacity: number) {}

  get size(): number {
    return this.#entries.size;
  }

  add(noted: NotedReceipt): void {
    const known = this.#entries.get(noted.computerId);
    if (known) {
      known.receipts.push(toReceipt(noted));
      if (known.receipts.length > RING_RECEIPTS) known.receipts.shift();
      known.newest = noted;
      return;
    }
    this.#entries.set(noted.computerId, { receipts: [toReceipt(noted)], newest: noted });
    const [oldest] = this.#entries.size > this.capacity ? this.#entries.keys() : [];
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  /** Takes out those that wait longest, in id order. */
  take(count: number): Pending[] {
    const batch: Pending[] = [];
    for (const [id, entry] of this.#entries) {
      if (batch.length >= count) break;
      batch.push(entry);
      this.#entries.delete(id);
    }
    return batch.sort((a, b) => (a.newest.computerId < b.newest.computerId ? -1 : 1));
  }

  giveBack(batch: readonly Pending[]): void {
    for (const entry of batch) {
      const id = entry.newest.computerId;
      const later = this.#entries.get(id);
      if (!later && this.#entries.size >= this.capacity) continue;
      const receipts = [...entry.receipts, ...(later?.receipts ?? [])].slice(-RING_RECEIPTS);
      this.#entries.set(id, { receipts, newest: later?.newest ?? entry.newest });
    }
  }
}

function columnsOf(batch: readonly Pending[]): unknown[] {
  return [
    batch.map(({ newest }) => newest.computerId),
    batch.map(({ receipts }) => packReceipts(receipts)),
    batch.map(({ newest }) => JSON.stringify(newest.counters)),
    batch.map(({ newest }) => (newest.spool === null ? null : JSON.stringify(newest.spool))),
    batch.map(({ newest }) => toClaimedInstant(newest.agentTimeMs)),
    batch.map(({ newest }) => Math.floor(newest.receivedAt)),
  ];
}

/** Without the counters: those of older receipts are not kept. */
function toReceipt({ receivedAt, latenessMs, clockOffsetMs, latencyMs }: NotedReceipt): Receipt {
  return { receivedAt, latenessMs, clockOffsetMs, latencyMs };
}
