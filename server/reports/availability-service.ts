import { createBreather } from '../../lib/breather.js';
import { parseRfc3339, toRfc3339 } from '../../lib/clock.js';
import { invalidFields, Problem } from '../../lib/problem.js';
import {
  addAvailability,
  availabilityOf,
  NO_AVAILABILITY,
  stretchesOf,
  type Accounting,
  type Availability,
} from '../../policies/availability-rules.js';
import type { Span } from '../../policies/listening-ledger.js';
import type { Scope } from '../access/scope.js';
import { mapPage, pageOf, parsePage, type PageRequest } from '../admin-api/page.js';
import { parseLabelFilter } from '../computers/index.js';
import type { Sql } from '../database/sql.js';
import { fleetAtWall, wallBounds } from '../fleet-clock/past-instant.js';
import { listOffsetsAfter } from '../fleet-clock/fleet-clock-repository.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { DeafSpan } from '../listening/listening.js';
import { readWindowsFrom } from '../maintenance/index.js';
import type { PolicySettingsCache } from '../policies/index.js';
import { RETENTION_DAYS } from '../scheduler/maintenance.js';
import type { AvailabilityQuery, AvailabilityReply } from './availability-dto.js';
import {
  BY_NAME,
  CHUNK,
  listReported,
  listReportedAfter,
  listShownPolicies,
  readChanges,
  type ComputersAsked,
  type HistoryDeps,
  type ReportedComputer,
} from './availability-query.js';
import { CSV_HEADER, toCsv, toItem, toSums, type Shown } from './availability-shown.js';
import { createAccountings } from './maintenance-spans.js';
import { createBudget, type Budget, type Turnstile } from './report-budget.js';
import { groupFaults, keptFrom, rangeFaults, rollUp } from './report-rules.js';

export interface AvailabilityDeps {
  /** Each statement is a transaction of its own. */
  readonly sql: Sql;
  readonly cache: PolicySettingsCache;
  readonly clock: FleetClock;
  readonly spans: () => readonly DeafSpan[];
  readonly turnstile: Turnstile;
  /** Throw `policy-not-found` and `computer-not-found` for what is outside the scope. */
  readonly assertPolicyVisible: (scope: Scope, policyId: string) => Promise<unknown>;
  readonly assertComputerVisible: (scope: Scope, computerId: string) => Promise<unknown>;
}

export interface AvailabilityService {
  report(scope: Scope, query: AvailabilityQuery): Promise<AvailabilityReply>;
  /** The whole report, whatever the limit and cursor; throws before the first piece what `report` throws. */
  csv(scope: Scope, query: AvailabilityQuery): AsyncIterable<string>;
}

const REMEDY = 'ask for a shorter range, for a part of the fleet, or by computer';
/** Values of a label that one answer holds. */
const VALUES_MAX = 10_000;

export function createAvailabilityService(deps: AvailabilityDeps): AvailabilityService {
  return {
    async report(scope, query) {
      const work = await begin(deps, scope, query);
      return work.groupBy === 'computer' ? reportPage(work, query) : reportGroups(deps, work);
    },
    async *csv(scope, query) {
      const work = await begin(deps, scope, query);
      const leave = deps.turnstile.enter();
      try {
        yield* csvRecords(work, work.groupBy === 'computer' ? everyComputer(work) : groupsAtOnce(work));
      } finally {
        leave();
      }
    },
  };
}

/** A report that is being made. */
interface Work {
  readonly groupBy: 'computer' | 'policy' | 'label';
  readonly asked: ComputersAsked;
  readonly history: HistoryDeps;
  /** Of an answer that is made whole. */
  readonly budget: Budget;
  readonly range: Span;
  /** As the answer shows it. */
  readonly shown: { readonly from: string; readonly to: string; readonly coveredFrom: string };
  readonly accountingOf: (computer: ReportedComputer) => Promise<Accounting>;
}

async function begin(deps: AvailabilityDeps, scope: Scope, query: AvailabilityQuery): Promise<Work> {
  const { sql, cache, clock } = deps;
  const { groupBy = 'computer', key, policyId, computerId, label = [], maintenance = 'include' } = query;
  const now = Math.floor(clock.fleet());
  const walls = wallsOf(query, clock.toWall(now), { groupBy, key });
  if (policyId !== undefined) await deps.assertPolicyVisible(scope, policyId);
  if (computerId !== undefined) await deps.assertComputerVisible(scope, computerId);
  await cache.refresh();
  const toFleet = (wallMs: number): number => fleetAtWall(clock, wallMs, now);
  const kept = keptFrom(Math.min(clock.trustedTime(), clock.toWall(now)), RETENTION_DAYS.status_history);
  const until = toFleet(walls.until);
  const coveredFrom = Math.max(walls.from, kept);
  const range = { from: Math.min(toFleet(coveredFrom), until), until };
  const steps = (await listOffsetsAfter(sql, range.from)).map(({ fleetMs }) => fleetMs);
  const newBudget = () => createBudget(clock, REMEDY);
  const shownWalls = wallBounds(clock, range, steps);
  const accountingOf = createAccountings({
    forest: cache.pinned(),
    oneOffs: await readWindowsFrom(sql, shownWalls.from),
    deaf: deps.spans(),
    range,
    walls: shownWalls,
    toFleet,
    isMaintenanceExcluded: maintenance === 'exclude',
    breather: createBreather(clock),
    newBudget,
  });
  return {
    groupBy,
    asked: { scope, filters: { policyId, labels: label.map(parseLabelFilter) }, computerId, labelKey: key },
    history: { sql, now, wallsOf: (span) => wallBounds(clock, span, steps) },
    budget: newBudget(),
    range,
    shown: {
      from: toRfc3339(walls.from),
      to: toRfc3339(walls.until),
      coveredFrom: toRfc3339(coveredFrom),
    },
    accountingOf,
  };
}

/** Throws `request-invalid` with every field that cannot be answered. */
function wallsOf(
  query: AvailabilityQuery,
  now: number,
  group: Pick<Work, 'groupBy'> & { key: string | undefined },
): Span {
  const from = parseRfc3339(query.from) ?? Number.NaN;
  const to = query.to === undefined ? now : (parseRfc3339(query.to) ?? Number.NaN);
  const { cursor, sort } = query;
  const faults = [...rangeFaults({ from, to }, now), ...groupFaults({ ...group, cursor, sort })];
  if (faults.length > 0) throw invalidFields(faults);
  return { from, until: to };
}

async function reportPage(work: Work, query: AvailabilityQuery): Promise<AvailabilityReply> {
  const page = parsePage(query, BY_NAME);
  const { items, next } = await readPage(work, page);
  const isWhole = next === null && page.after === undefined;
  const totals = isWhole ? toSums(total(items)) : null;
  return { ...work.shown, items: items.map(toItem), totals, next };
}

async function readPage(work: Work, page: PageRequest) {
  const rows = await listReported(work.history.sql, work.asked, page);
  const { items, next } = pageOf(rows, page, (row) => [row.name, row.id]);
  return mapPage({ items: await measured(work, items), next }, ({ computer: { id, name }, sums }): Shown => ({
    id,
    name,
    sums,
  }));
}

async function reportGroups(deps: AvailabilityDeps, work: Work): Promise<AvailabilityReply> {
  const leave = deps.turnstile.enter();
  try {
    const { groups, totals } = await measureGroups(work);
    return { ...work.shown, items: groups.map(toItem), totals: toSums(totals), next: null };
  } finally {
    leave();
  }
}

/** The header comes with the first part: what fails before is a problem still, and nobody waits long in the middle. */
async function* csvRecords(work: Work, parts: AsyncIterable<readonly Shown[]>): AsyncGenerator<string> {
  let header = CSV_HEADER;
  for await (const part of parts) {
    yield header + part.map((group) => toCsv(toItem(group), work.shown)).join('');
    header = '';
  }
}

async function* everyComputer(work: Work): AsyncGenerator<readonly Shown[]> {
  let page = parsePage({ limit: CHUNK }, BY_NAME);
  for (;;) {
    const { items, next } = await readPage(work, page);
    yield items;
    if (next === null) return;
    page = parsePage({ limit: CHUNK, cursor: next }, BY_NAME);
  }
}

async function* groupsAtOnce(work: Work): AsyncGenerator<readonly Shown[]> {
  yield (await measureGroups(work)).groups;
}

interface Measured {
  readonly computer: ReportedComputer;
  readonly sums: Availability;
}

async function measured(work: Work, computers: readonly ReportedComputer[]): Promise<Measured[]> {
  const { history, range, accountingOf } = work;
  const changes = await readChanges(history, computers, range);
  const results: Measured[] = [];
  for (const computer of computers) {
    const accounting = await accountingOf(computer);
    const { created_fleet_ms: createdAt, status } = computer;
    const stretches = stretchesOf({ createdAt, status, changes: changes.get(computer.id) ?? [] }, range);
    results.push({ computer, sums: availabilityOf(stretches, range, accounting) });
  }
  return results;
}

interface Groups {
  readonly groups: readonly Shown[];
  readonly totals: Availability;
}

async function measureGroups(work: Work): Promise<Groups> {
  const own = new Map<string | null, Availability>();
  for await (const part of measuredById(work))
    for (const { computer, sums } of part) {
      const key = work.groupBy === 'policy' ? computer.policy_id : computer.label;
      const known = own.get(key);
      own.set(key, known ? addAvailability(known, sums) : sums);
      if (own.size > VALUES_MAX && work.groupBy === 'label') throw tooManyValues();
    }
  const totals = [...own.values()].reduce(addAvailability, NO_AVAILABILITY);
  return { totals, groups: work.groupBy === 'policy' ? await byPolicy(work, own) : byValue(own) };
}

function tooManyValues(): Problem {
  return invalidFields([{ pointer: '#/key', detail: `has more than ${VALUES_MAX} values among these computers` }]);
}

async function* measuredById(work: Work): AsyncGenerator<readonly Measured[]> {
  let after: string | null = null;
  for (;;) {
    const computers: ReportedComputer[] = await listReportedAfter(work.history.sql, work.asked, after);
    yield await measured(work, computers);
    work.budget.check();
    after = computers.at(-1)?.id ?? null;
    if (computers.length < CHUNK) return;
  }
}

async function byPolicy(work: Work, own: ReadonlyMap<string | null, Availability>): Promise<Shown[]> {
  const { scope, filters } = work.asked;
  const policies = await listShownPolicies(work.history.sql, scope, filters.policyId);
  const sums = rollUp(policies, own as ReadonlyMap<string, Availability>, addAvailability);
  return policies.map(({ id, name }) => ({ id, name, sums: sums.get(id) ?? NO_AVAILABILITY }));
}

/** By value; those without the label come last. */
function byValue(own: ReadonlyMap<string | null, Availability>): Shown[] {
  const values = [...own].toSorted(([a], [b]) => (b === null || (a !== null && a < b) ? -1 : 1));
  return values.map(([name, sums]) => ({ id: null, name, sums }));
}

function total(items: readonly Shown[]): Availability {
  return items.map(({ sums }) => sums).reduce(addAvailability, NO_AVAILABILITY);
}
