import { toRfc3339 } from '../../lib/clock.js';
import type { Span } from '../../policies/listening-ledger.js';
import { excusesOf, NO_EXCUSES, type Excuses, type NotedStatus } from '../../policies/rehearsal-rules.js';
import type { Sql } from '../database/sql.js';
import { LIVENESS_COLUMNS, LIVENESS_TABLES, type LivenessRow } from '../statuses/liveness-row.js';
import { SLACK_MS } from './availability-query.js';
import { DAY_MS } from './report-rules.js';

/** Rows that one statement reads. */
const PAGE = 1000;

/** Who a row is of, as settings are resolved. */
export interface RowSubject {
  readonly computer_id: string;
  readonly policy_id: string;
  readonly kind: 'agent' | 'appliance';
  readonly overrides: string | null;
}

export interface GapRow extends RowSubject {
  readonly id: string;
  readonly from_fleet_ms: number;
  readonly until_fleet_ms: number;
  readonly interval_ms: number;
}

/** Gaps of one day, from a place on in the order of the index of that day's partition. */
export const LIST_GAPS = `
SELECT heartbeat_gaps.id, heartbeat_gaps.computer_id, heartbeat_gaps.from_fleet_ms, heartbeat_gaps.until_fleet_ms,
  heartbeat_gaps.interval_ms, computers.policy_id, computers.kind, computers.overrides::text AS overrides
FROM heartbeat_gaps JOIN computers ON computers.id = heartbeat_gaps.computer_id
WHERE heartbeat_gaps.partition_at >= $1::timestamptz AND heartbeat_gaps.partition_at < $2::timestamptz
  AND computers.policy_id = ANY($3::uuid[])
  AND heartbeat_gaps.until_fleet_ms > $4 AND heartbeat_gaps.until_fleet_ms - heartbeat_gaps.from_fleet_ms > $5
  AND (heartbeat_gaps.computer_id, heartbeat_gaps.from_fleet_ms, heartbeat_gaps.id) > ($6::uuid, $7::bigint, $8::uuid)
ORDER BY heartbeat_gaps.computer_id, heartbeat_gaps.from_fleet_ms, heartbeat_gaps.id LIMIT ${PAGE}`;

const BELOW_EVERY_ID = '00000000-0000-0000-0000-000000000000';

export interface GapsAsked {
  readonly policyIds: readonly string[];
  /** Fleet instants in which they ended, and the wall time of these. */
  readonly range: Span;
  readonly walls: Span;
  /** Shorter ones are left out. */
  readonly longerThanMs: number;
}

/** Recorded gaps in pages, day by day. */
export async function* listGaps(sql: Sql, asked: GapsAsked): AsyncGenerator<readonly GapRow[]> {
  const { policyIds, range, walls, longerThanMs } = asked;
  for (let day = Math.floor(walls.from / DAY_MS) * DAY_MS; day <= walls.until; day += DAY_MS) {
    let after: readonly [string, number, string] = [BELOW_EVERY_ID, 0, BELOW_EVERY_ID];
    for (let isLast = false; !isLast;) {
      const parameters = [toRfc3339(day), toRfc3339(day + DAY_MS), policyIds, range.from, longerThanMs, ...after];
      const rows = await sql.query<GapRow>(LIST_GAPS, parameters);
      if (rows.length > 0) yield rows;
      const last = rows.at(-1);
      isLast = rows.length < PAGE || !last;
      if (last) after = [last.computer_id, last.from_fleet_ms, last.id];
    }
  }
}

interface ExcuseRow extends NotedStatus {
  readonly place: number;
}

/** What the status history tells of each of these gaps, in their order. */
export async function readExcuses(
  sql: Sql,
  gaps: readonly Pick<GapRow, 'computer_id' | 'from_fleet_ms' | 'until_fleet_ms'>[],
  wallsOf: (span: Span) => Span,
): Promise<Excuses[]> {
  if (gaps.length === 0) return [];
  const from = gaps.reduce((least, gap) => Math.min(least, gap.from_fleet_ms), Number.POSITIVE_INFINITY);
  const until = gaps.reduce((most, gap) => Math.max(most, gap.until_fleet_ms), 0);
  const walls = wallsOf({ from, until });
  const rows = await sql.query<ExcuseRow>(
    `SELECT gap.place, status_history.status, status_history.reason, status_history.since_fleet_ms AS since
     FROM unnest($1::integer[], $2::uuid[], $3::bigint[], $4::bigint[]) AS gap (place, computer_id, from_ms, until_ms)
     JOIN status_history ON status_history.computer_id = gap.computer_id
       AND status_history.since_fleet_ms >= gap.from_ms AND status_history.since_fleet_ms < gap.until_ms
     WHERE status_history.partition_at >= $5::timestamptz AND status_history.partition_at <= $6::timestamptz
     ORDER BY gap.place, status_history.noticed_fleet_ms, status_history.since_fleet_ms`,
    [
      gaps.map((_gap, place) => place),
      gaps.map((gap) => gap.computer_id),
      gaps.map((gap) => gap.from_fleet_ms),
      gaps.map((gap) => gap.until_fleet_ms),
      toRfc3339(walls.from - SLACK_MS),
      toRfc3339(walls.until + SLACK_MS),
    ],
  );
  const histories = new Map<number, NotedStatus[]>();
  for (const row of rows) {
    const history = histories.get(row.place);
    if (history) history.push(row);
    else histories.set(row.place, [row]);
  }
  return gaps.map((_gap, place) => {
    const history = histories.get(place);
    return history ? excusesOf(history) : NO_EXCUSES;
  });
}

interface SilentAsked {
  readonly policyIds: readonly string[];
  /** Those heard later are left out. */
  readonly heardBy: number;
}

/** Computers that are silent still, in pages by id. */
export async function* listSilent(
  sql: Sql,
  { policyIds, heardBy }: SilentAsked,
): AsyncGenerator<readonly LivenessRow[]> {
  let after = BELOW_EVERY_ID;
  for (;;) {
    const rows = await sql.query<LivenessRow>(
      `SELECT ${LIVENESS_COLUMNS} FROM ${LIVENESS_TABLES}
       WHERE computers.policy_id = ANY($1::uuid[]) AND computer_live.last_seen_fleet_ms <= $2
         AND computer_status.status <> 'revoked' AND computers.id > $3::uuid ORDER BY computers.id LIMIT ${PAGE}`,
      [policyIds, heardBy, after],
    );
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (rows.length < PAGE || !last) return;
    after = last.computer_id;
  }
}

export interface RaisedRow extends RowSubject {
  readonly id: string;
  readonly raised_fleet_ms: number;
  readonly closed_fleet_ms: number | null;
}

/** Offline alerts that were raised within a span, in pages. */
export async function* listRaised(
  sql: Sql,
  { policyIds, range }: Pick<GapsAsked, 'policyIds' | 'range'>,
): AsyncGenerator<readonly RaisedRow[]> {
  let after: readonly [number, string] = [range.from, BELOW_EVERY_ID];
  for (;;) {
    const rows: RaisedRow[] = await sql.query<RaisedRow>(
      `SELECT alerts.id, alerts.raised_fleet_ms, alerts.closed_fleet_ms, alerts.computer_id, computers.policy_id,
         computers.kind, computers.overrides::text AS overrides
       FROM alerts JOIN computers ON computers.id = alerts.computer_id
       WHERE (alerts.raised_fleet_ms, alerts.id) > ($1::bigint, $2::uuid) AND alerts.raised_fleet_ms < $3
         AND alerts.type = 'computer-offline' AND computers.policy_id = ANY($4::uuid[])
       ORDER BY alerts.raised_fleet_ms, alerts.id LIMIT ${PAGE}`,
      [...after, range.until, policyIds],
    );
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (rows.length < PAGE || !last) return;
    after = [last.raised_fleet_ms, last.id];
  }
}
