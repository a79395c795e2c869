import { createLedger } from '../../policies/listening-ledger.js';
import { createBreather } from '../../lib/breather.js';
import { Problem } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import { sqlStateOf } from '../database/database-errors.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { DeafSpan } from '../listening/listening.js';
import { isPolicyVisible, readGeneration, type PinnedForest, type PolicySettingsCache } from '../policies/index.js';
import { previewOfComputer, type ComputerProposal } from './computer-preview.js';
import { impactOf, judgeMarked, readFleet, type FleetReading, type SettingsImpact } from './policy-preview.js';
import { listSubjects, nameComputers } from './preview-query.js';
import type { Present } from './preview-rules.js';
import { addTallies, emptyTally } from './preview-tally.js';
import type { Preview, PreviewedComputer } from './preview.js';
import { changedPolicies, proposedPolicy, type PolicyProposal } from './proposed-edit.js';

export interface PreviewDeps {
  readonly sql: Sql;
  readonly inTransaction: UnitOfWork;
  readonly cache: PolicySettingsCache;
  readonly clock: FleetClock;
  /** The deaf spans that are known now, of the listening ledger. */
  readonly spans: () => readonly DeafSpan[];
}

/** What an edit would do; nothing is stored, and it is refused with what saving it would be refused with. */
export interface PreviewService {
  ofPolicy(scope: Scope, policyId: string, proposal: PolicyProposal): Promise<Preview>;
  ofComputer(scope: Scope, computerId: string, proposal: ComputerProposal): Promise<Preview>;
}

/** How often a preview is begun anew because the forest was edited meanwhile. */
const ATTEMPTS = 4;
/** No transaction that can see the hot table may last longer (design.md §11). */
const SNAPSHOT_MS = 5000;
const STATEMENT_CANCELED = '57014';

export function createPreviewService(deps: PreviewDeps): PreviewService {
  return {
    async ofPolicy(scope, policyId, proposal) {
      await assertVisible(deps.sql, scope, { policyId, proposal });
      return withOneForest(deps, (forest) => previewPolicy(deps, forest, { policyId, proposal }));
    },
    ofComputer: (scope, computerId, proposal) =>
      withOneForest(deps, (forest) =>
        previewOfComputer({ ...forest, sql: deps.sql, scope, present: () => presentOf(deps) }, computerId, proposal),
      ),
  };
}

interface Asked {
  readonly policyId: string;
  readonly proposal: PolicyProposal;
}

async function assertVisible(sql: Sql, scope: Scope, { policyId, proposal: { parentId } }: Asked): Promise<void> {
  if (!(await isPolicyVisible(sql, scope, policyId))) throw new Problem('policy-not-found');
  if (parentId !== undefined && !(await isPolicyVisible(sql, scope, parentId)))
    throw new Problem('policy-not-found', { detail: 'The parent policy does not exist.' });
}

/** Works with one generation of the forest; `undefined` from the work asks for a newer one. */
async function withOneForest<T>(deps: PreviewDeps, work: (forest: PinnedForest) => Promise<T | undefined>): Promise<T> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    await deps.cache.refresh();
    const answer = await work(deps.cache.pinned());
    if (answer !== undefined) return answer;
  }
  throw new Problem('unavailable', { detail: 'Policies are being edited at this moment.', retryAfterSeconds: 1 });
}

function presentOf({ spans, clock }: PreviewDeps): Present {
  return { ledger: createLedger(spans()), at: Math.floor(clock.fleet()) };
}

/**
 * (1) Which policies the edit changes, (2) which computers, by groups that resolve alike, (3) who of them is silent, by
 * one snapshot of the fleet. Undefined when the forest is not the pinned one any more. Nothing is computed at length
 * while a snapshot is held.
 */
async function previewPolicy(deps: PreviewDeps, forest: PinnedForest, asked: Asked): Promise<Preview | undefined> {
  const breather = createBreather(deps.clock);
  const stored = forest.policies.get(asked.policyId);
  if (!stored) throw new Problem('policy-not-found');
  const changes = await changedPolicies(forest, proposedPolicy(forest, stored, asked.proposal), breather);
  const subjects = await inSnapshot(deps, forest, (sql) => listSubjects(sql, [...changes.keys()]));
  const impact = subjects && (await impactOf(subjects, changes, breather));
  if (!impact) return undefined;
  if (impact.computersChanged === 0) return toPreview(deps.sql, impact, NOTHING_READ);
  const present = presentOf(deps);
  const reading = await inSnapshot(deps, forest, (sql) => readFleet(sql, impact, present));
  if (!reading) return undefined;
  const marked = await judgeMarked(impact, reading.marked, { present, breather });
  return toPreview(deps.sql, impact, { ...reading, silent: addTallies(reading.silent, marked) });
}

const NOTHING_READ: FleetReading = {
  silent: emptyTally(),
  marked: [],
  changedSample: [],
  ownWay: { count: 0, sample: [] },
};

/** Reads by one snapshot in which the forest is the pinned one; undefined where it is not. */
async function inSnapshot<T>(
  deps: PreviewDeps,
  { generation }: PinnedForest,
  read: (sql: Sql) => Promise<T>,
): Promise<T | undefined> {
  const within = deps.inTransaction(
    async (manager) => {
      const sql = boundedSql(sqlOfManager(manager), deps.clock);
      await sql.query("SELECT set_config('work_mem', '64MB', true)");
      const stored = await readGeneration(sql);
      const isPinned = stored.epoch === generation.epoch && stored.counter === generation.counter;
      return isPinned ? read(sql) : undefined;
    },
    { isolation: 'REPEATABLE READ', idempotent: true },
  );
  return within.catch((error: unknown) => {
    throw sqlStateOf(error) === STATEMENT_CANCELED ? tooSlow(error) : error;
  });
}

/** All its statements together end within the time that a snapshot may last. */
function boundedSql(sql: Sql, clock: FleetClock): Sql {
  const endsAt = clock.monotonic() + SNAPSHOT_MS;
  return {
    async query(text, parameters) {
      const left = Math.ceil(endsAt - clock.monotonic());
      if (left <= 0) throw tooSlow();
      await sql.query("SELECT set_config('statement_timeout', $1, true)", [String(left)]);
      return sql.query(text, parameters);
    },
  };
}

function tooSlow(cause?: unknown): Problem {
  const detail = `The fleet could not be counted within ${SNAPSHOT_MS / 1000} s: the database is busy.`;
  return new Problem('unavailable', { detail, retryAfterSeconds: 10 }, cause);
}

async function toPreview(sql: Sql, impact: SettingsImpact, reading: FleetReading): Promise<Preview> {
  const { silent, changedSample, ownWay } = reading;
  const { counts, samples } = silent;
  const ids = [changedSample, ownWay.sample, ...Object.values(samples)].flat();
  const names = await nameComputers(sql, [...new Set(ids)]);
  const named = (listed: readonly string[]): PreviewedComputer[] => listed.flatMap((id) => names.get(id) ?? []);
  return {
    computersChanged: impact.computersChanged,
    bySetting: Object.fromEntries(impact.bySetting),
    present: { late: counts.presentLate, offline: counts.presentOffline },
    wouldBeLate: counts.late,
    wouldBeOffline: counts.offline,
    steadyState: { wouldBeLate: counts.steadyLate, wouldBeOffline: counts.steadyOffline },
    wouldLoseDirection: ownWay.count,
    sample: {
      computersChanged: named(changedSample),
      wouldBeLate: named(samples.late),
      wouldBeOffline: named(samples.offline),
      wouldLoseDirection: named(ownWay.sample),
      steadyState: { wouldBeLate: named(samples.steadyLate), wouldBeOffline: named(samples.steadyOffline) },
    },
  };
}
