import { toRfc3339 } from '../../lib/clock.js';
import type { StatusChange } from '../../policies/availability-rules.js';
import type { Span } from '../../policies/listening-ledger.js';
import type { Status } from '../../policies/status-model.js';
import type { Scope } from '../access/scope.js';
import { keysetOf, type ListOrder, type PageRequest } from '../admin-api/page.js';
import { computerConditions, type ComputerFilters } from '../computers/index.js';
import type { Sql } from '../database/sql.js';
import { DAY_MS } from './report-rules.js';

export const BY_NAME: ListOrder = {
  list: 'reports/availability',
  keys: { name: { column: 'computers.name', type: 'text' } },
  default: 'name',
  id: 'computers.id',
};

/** A row's day was told by the clock as its writer knew it. */
export const SLACK_MS = 60_000;
/** Computers whose history is read by one statement. */
export const CHUNK = 500;

export interface ReportedComputer {
  readonly id: string;
  readonly name: string;
  readonly kind: 'agent' | 'appliance';
  readonly policy_id: string;
  readonly overrides: string | null;
  readonly label: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly created_fleet_ms: number;
  readonly status: Status;
  readonly since_fleet_ms: number;
}

export interface ComputersAsked {
  readonly scope: Scope;
  readonly filters: Pick<ComputerFilters, 'policyId' | 'labels'>;
  readonly computerId: string | undefined;
  /** The label whose value is read. */
  readonly labelKey: string | undefined;
}

/** Up to `limit + 1` computers of a page. */
export function listReported(sql: Sql, asked: ComputersAsked, page: PageRequest): Promise<ReportedComputer[]> {
  const where = conditionsOf(asked);
  const keyset = keysetOf(page, where.next);
  where.add(keyset.condition, ...keyset.parameters);
  return readComputers(sql, { asked, where, orderBy: keyset.orderBy, limit: page.limit + 1 });
}

/** The next computers by id. */
export function listReportedAfter(sql: Sql, asked: ComputersAsked, after: string | null): Promise<ReportedComputer[]> {
  const where = conditionsOf(asked);
  if (after !== null) where.add(`computers.id > $${where.next}::uuid`, after);
  return readComputers(sql, { asked, where, orderBy: 'computers.id', limit: CHUNK });
}

type Where = ReturnType<typeof computerConditions>;

function conditionsOf({ scope, filters, computerId }: ComputersAsked): Where {
  const where = computerConditions(scope, { statuses: [], q: undefined, ...filters });
  if (computerId !== undefined) where.add(`computers.id = $${where.next}::uuid`, computerId);
  return where;
}

interface Listing {
  readonly asked: ComputersAsked;
  readonly where: Where;
  readonly orderBy: string;
  readonly limit: number;
}

function readComputers(sql: Sql, { asked, where, orderBy, limit }: Listing): Promise<ReportedComputer[]> {
  const [labelAt, limitAt] = [where.next, where.next + 1];
  return sql.query<ReportedComputer>(
    `SELECT computers.id, computers.name, computers.kind, computers.policy_id, computers.overrides::text AS overrides,
       computers.labels, computers.labels ->> $${labelAt}::text AS label, computers.created_fleet_ms, computer_status.status,
       computer_status.since_fleet_ms
     FROM computers JOIN computer_status ON computer_status.computer_id = computers.id
     WHERE ${where.toSql()} ORDER BY ${orderBy} LIMIT $${limitAt}`,
    [...where.parameters, asked.labelKey ?? null, limit],
  );
}

export interface HistoryRow {
  readonly computer_id: string;
  readonly status: Status;
  readonly previous_status: Status;
  readonly since_fleet_ms: number;
  readonly noticed_fleet_ms: number;
}

/**
 * Changes noticed within a span that began after `since`. The days are given as instants of the partitions' own clock, so
 * that no other day is looked at. A flag that is lit or ended is a row too, of the status that goes on.
 */
export const LIST_CHANGES = `
SELECT status_history.computer_id, status_history.status, status_history.previous_status,
  status_history.since_fleet_ms, status_history.noticed_fleet_ms
FROM status_history
WHERE status_history.computer_id = ANY($1::uuid[]) AND status_history.since_fleet_ms > $2
  AND status_history.noticed_fleet_ms >= $3 AND status_history.noticed_fleet_ms < $4
  AND status_history.partition_at >= $5::timestamptz AND status_history.partition_at <= $6::timestamptz
  AND status_history.status <> status_history.previous_status`;

export interface HistoryDeps {
  readonly sql: Sql;
  /** The wall times that the clock showed within a span of fleet instants. */
  readonly wallsOf: (span: Span) => Span;
  readonly now: number;
}

type Standing = Pick<ReportedComputer, 'id' | 'status' | 'since_fleet_ms'>;

/**
 * The changes of these computers that began within the range, each up to one that began later: that tells by its previous
 * status what was before it, also of a computer that did not change within the range. Most computers have not changed
 * since, and nothing is read of them; for the others the days from the range's begin on are walked in growing steps.
 */
export async function readChanges(
  { sql, wallsOf, now }: HistoryDeps,
  computers: readonly Standing[],
  range: Span,
): Promise<ReadonlyMap<string, readonly StatusChange[]>> {
  const found = new Map<string, StatusChange[]>();
  let waiting = computers.filter((computer) => computer.since_fleet_ms > range.from);
  let step = range.until - range.from + DAY_MS;
  for (let from = range.from; waiting.length > 0 && from <= now; step *= 2) {
    const noticed = { from, until: from + step };
    const walls = wallsOf({ from, until: Math.min(noticed.until, now) });
    const rows = await sql.query<HistoryRow>(LIST_CHANGES, [
      waiting.map(({ id }) => id),
      range.from,
      noticed.from,
      noticed.until,
      toRfc3339(walls.from - SLACK_MS),
      toRfc3339(walls.until + SLACK_MS),
    ]);
    for (const row of rows) addTo(found, row);
    waiting = waiting.filter((computer) => !isKnown(computer, found.get(computer.id) ?? [], range));
    from = noticed.until;
  }
  return found;
}

function addTo(found: Map<string, StatusChange[]>, row: HistoryRow): void {
  const change = {
    status: row.status,
    previousStatus: row.previous_status,
    since: row.since_fleet_ms,
    noticedAt: row.noticed_fleet_ms,
  };
  const known = found.get(row.computer_id);
  if (known) known.push(change);
  else found.set(row.computer_id, [change]);
}

/** Nothing that was noticed later can be of the range. */
function isKnown({ status, since_fleet_ms }: Standing, changes: readonly StatusChange[], range: Span): boolean {
  return changes.some(
    (change) => change.since >= range.until || (change.since === since_fleet_ms && change.status === status),
  );
}

export interface ShownPolicy {
  readonly id: string;
  readonly name: string;
  readonly parentId: string | null;
}

/** The policies of the scope by name, all or a subtree. */
export function listShownPolicies(sql: Sql, scope: Scope, policyId: string | undefined): Promise<ShownPolicy[]> {
  const visible = scope.predicate('policies.id', 2);
  return sql.query<ShownPolicy>(
    `WITH RECURSIVE below AS (
       SELECT policies.id FROM policies WHERE $1::uuid IS NULL OR policies.id = $1::uuid
       UNION SELECT child.id FROM policies child JOIN below ON child.parent_id = below.id
     )
     SELECT policies.id, policies.name, policies.parent_id AS "parentId" FROM policies
     WHERE policies.id IN (SELECT below.id FROM below) AND ${visible.sql} ORDER BY policies.name, policies.id`,
    [policyId ?? null, ...visible.parameters],
  );
}
