import { errorBoundOf, roundTripOf, type ClockSample } from '../../policies/clock-samples.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { LiveRow } from './live-row.js';
import { unpackReceipts, type Receipt } from './receipt-ring.js';

/** What the rings of receipts hold of clocks; read only where something is to be said of them. */
export interface ClockSampleRepository {
  /** By computer id, as they are stored: what was received within the last seconds may be missing. */
  read(sql: Sql, computerIds: readonly string[]): Promise<ReadonlyMap<string, readonly Receipt[]>>;
}

const READ = `
SELECT heartbeat_rings.computer_id, heartbeat_rings.ring FROM heartbeat_rings
WHERE heartbeat_rings.computer_id = ANY($1::uuid[])`;

export function createClockSampleRepository(): ClockSampleRepository {
  return {
    async read(sql, computerIds) {
      if (computerIds.length === 0) return new Map();
      const rows = await sql.query<{ computer_id: string; ring: Buffer }>(READ, [computerIds]);
      return new Map(rows.map((row) => [row.computer_id, unpackReceipts(row.ring)]));
    },
  };
}

/** A ring keeps offsets up to 24 days; what is beyond stands at the limit, and says nothing. */
const WIDEST_MS = 0x7fff_ffff;

/**
 * The samples of a ring, ascending, with offsets from the fleet clock. A report tells of the exchange before it, which was
 * when the report before it was received; the first of a ring is left out, since that instant is not known any more.
 */
export function samplesOf(receipts: readonly Receipt[], clock: Pick<FleetClock, 'toTrusted'>): ClockSample[] {
  return receipts.slice(1).flatMap((receipt, index) => {
    const { clockOffsetMs, latencyMs: roundTripMs, receivedAt } = receipt;
    if (clockOffsetMs === null || roundTripMs === null || Math.abs(clockOffsetMs) >= WIDEST_MS) return [];
    const at = receipts[index]?.receivedAt ?? receivedAt;
    const aheadMs = clockOffsetMs + clock.toTrusted(receivedAt) - receivedAt;
    return [{ at, aheadMs, errorMs: errorBoundOf(roundTripMs), roundTripMs }];
  });
}

/** One way says that a clock is not behind it, and nothing of how long the report waited. */
export const ONE_WAY_ERROR_MS = 86_400_000;

/** What a live row holds of a clock; empty where that is nothing. */
export function sampleOfRow(row: Pick<LiveRow, 'clockOffsetMs' | 'clockErrorMs' | 'clockSampledAt'>): ClockSample[] {
  const { clockOffsetMs: aheadMs, clockErrorMs, clockSampledAt: at } = row;
  if (aheadMs === null || at === null) return [];
  if (clockErrorMs === null) return [{ at, aheadMs, errorMs: ONE_WAY_ERROR_MS, roundTripMs: 0 }];
  return [{ at, aheadMs, errorMs: clockErrorMs, roundTripMs: roundTripOf(clockErrorMs) }];
}

/** Two sources may know the same exchange; the later one counts. */
export function mergeSamples(samples: readonly ClockSample[]): ClockSample[] {
  const byInstant = new Map(samples.map((sample) => [sample.at, sample]));
  return [...byInstant.values()].toSorted((a, b) => a.at - b.at);
}
