import { toRfc3339 } from '../../lib/clock.js';
import {
  containing,
  keysetOf,
  mapPage,
  pageOf,
  parsePage,
  type ListOrder,
  type Page,
  type PageQuery,
} from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { unpackReceipts } from '../heartbeats/receipt-ring.js';
import type { GapDto, HeartbeatDto, StatusChangeDto } from './computer-dto.js';

export const STATUS_ORDER: ListOrder = {
  list: 'computers/status-history',
  keys: { since: { column: 'status_history.since_fleet_ms', type: 'integer' } },
  default: '-since',
  id: 'status_history.id',
};

export const GAP_ORDER: ListOrder = {
  list: 'computers/gaps',
  keys: { from: { column: 'heartbeat_gaps.from_fleet_ms', type: 'integer' } },
  default: '-from',
  id: 'heartbeat_gaps.id',
};

/** A ring is small: it is paged in memory, by the instant alone. */
export const RING_ORDER: ListOrder = {
  list: 'computers/heartbeats',
  keys: { receivedAt: { column: 'received_fleet_ms', type: 'integer' } },
  default: '-receivedAt',
  id: 'computer_id',
};

/** Past statuses and gaps of one computer; the caller has checked that it may be seen. */
export interface ComputerHistory {
  listStatuses(computerId: string, query: PageQuery): Promise<Page<StatusChangeDto>>;
  listGaps(computerId: string, query: PageQuery): Promise<Page<GapDto>>;
  /** What the ring of receipts holds; newest first unless asked otherwise. */
  listHeartbeats(computerId: string, query: PageQuery): Promise<Page<HeartbeatDto>>;
}

interface StatusRow {
  readonly id: string;
  readonly status: string;
  readonly previous_status: string;
  readonly reason: string;
  readonly since_fleet_ms: number;
  readonly noticed_fleet_ms: number;
}

interface GapRow {
  readonly id: string;
  readonly from_fleet_ms: number;
  readonly until_fleet_ms: number;
  readonly interval_ms: number;
  readonly deaf_ms: number;
}

export function createComputerHistory({
  sql,
  clock,
}: {
  readonly sql: Sql;
  readonly clock: FleetClock;
}): ComputerHistory {
  const shown = (instant: number): string => toRfc3339(clock.toWall(instant));
  return {
    listHeartbeats: (computerId, query) => listHeartbeats({ sql, shown }, computerId, query),
    async listStatuses(computerId, query) {
      const page = parsePage(query, STATUS_ORDER);
      const keyset = keysetOf(page, 4);
      const pattern = query.q === undefined ? null : containing(query.q);
      const rows = await sql.query<StatusRow>(
        `SELECT status_history.id, status_history.status, status_history.previous_status, status_history.reason,
           status_history.since_fleet_ms, status_history.noticed_fleet_ms
         FROM status_history WHERE status_history.computer_id = $1 AND ${keyset.condition}
           AND ($3::text IS NULL OR status_history.reason ILIKE $3 ESCAPE '\\')
         ORDER BY ${keyset.orderBy} LIMIT $2`,
        [computerId, page.limit + 1, pattern, ...keyset.parameters],
      );
      return mapPage(
        pageOf(rows, page, (row) => [row.since_fleet_ms, row.id]),
        (row) => ({
          status: row.status,
          previousStatus: row.previous_status,
          reason: row.reason,
          since: shown(row.since_fleet_ms),
          noticedAt: shown(row.noticed_fleet_ms),
        }),
      );
    },
    async listGaps(computerId, query) {
      const page = parsePage(query, GAP_ORDER);
      const keyset = keysetOf(page, 3);
      const rows = await sql.query<GapRow>(
        `SELECT heartbeat_gaps.id, heartbeat_gaps.from_fleet_ms, heartbeat_gaps.until_fleet_ms,
           heartbeat_gaps.interval_ms, heartbeat_gaps.deaf_ms
         FROM heartbeat_gaps WHERE heartbeat_gaps.computer_id = $1 AND ${keyset.condition}
         ORDER BY ${keyset.orderBy} LIMIT $2`,
        [computerId, page.limit + 1, ...keyset.parameters],
      );
      return mapPage(
        pageOf(rows, page, (row) => [row.from_fleet_ms, row.id]),
        (row) => ({
          from: shown(row.from_fleet_ms),
          until: shown(row.until_fleet_ms),
          durationMs: row.until_fleet_ms - row.from_fleet_ms,
          intervalMs: row.interval_ms,
          deafMs: row.deaf_ms,
        }),
      );
    },
  };
}

interface RingReader {
  readonly sql: Sql;
  readonly shown: (instant: number) => string;
}

async function listHeartbeats(
  { sql, shown }: RingReader,
  computerId: string,
  query: PageQuery,
): Promise<Page<HeartbeatDto>> {
  const page = parsePage(query, RING_ORDER);
  const [row] = await sql.query<{ ring: Buffer }>(
    'SELECT heartbeat_rings.ring FROM heartbeat_rings WHERE heartbeat_rings.computer_id = $1',
    [computerId],
  );
  const after = page.after ? Number(page.after[0]) : null;
  const sign = page.descending ? -1 : 1;
  const receipts = unpackReceipts(row?.ring ?? Buffer.alloc(0))
    .filter(({ receivedAt }) => after === null || (receivedAt - after) * sign > 0)
    .toSorted((a, b) => (a.receivedAt - b.receivedAt) * sign);
  return mapPage(
    pageOf(receipts, page, ({ receivedAt }) => [receivedAt, computerId]),
    (receipt) => ({ ...receipt, receivedAt: shown(receipt.receivedAt) }),
  );
}
