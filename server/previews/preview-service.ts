import { createLedger } from '../../policies/listening-ledger.js';
import { createBreather, type Breather } from '../../lib/breather.js';
import { Problem } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { DeafSpan } from '../listening/listening.js';
import { isPolicyVisible, ROOTS_ARE_FOR_ALL, type PinnedForest, type PolicySettingsCache } from '../policies/index.js';
import { previewOfComputer, type ComputerProposal } from './computer-preview.js';
import {
  impactOf,
  judgeMarked,
  PARTS_MAX,
  readAffected,
  readPart,
  type Affected,
  type SettingsImpact,
} from './policy-preview.js';
import { listSubjects, nameComputers, partsOfFleet, type FleetPart } from './preview-query.js';
import type { Present } from './preview-rules.js';
import { addTallies, emptyTally, type Tally } from './preview-tally.js';
import type { Preview, PreviewedComputer } from './preview.js';
import { inSnapshot, SnapshotTooSlow, type SnapshotDeps } from './snapshot.js';
import { changedPolicies, proposedPolicy, type PolicyProposal } from './proposed-edit.js';

export interface PreviewDeps extends SnapshotDeps {
  readonly sql: Sql;
  readonly cache: PolicySettingsCache;
  readonly clock: FleetClock;
  /** The deaf spans that are known now, of the listening ledger. */
  readonly spans: () => readonly DeafSpan[];
  /** The fleet is read in at least this many parts: 1, 2, 4, … 64; 1 unless told. */
  readonly partsAtLeast?: number;
  /** Up to this many pairs of rules and interval are reckoned with unasked; 1000 unless told. */
  readonly casesUnasked?: number;
}

/** What an edit would do; nothing is stored, and it is refused with what saving it would be refused with. */
export interface PreviewService {
  ofPolicy(scope: Scope, policyId: string, proposal: PolicyProposal): Promise<Preview>;
  ofComputer(scope: Scope, computerId: string, proposal: ComputerProposal): Promise<Preview>;
}

/** How long a preview is begun anew because the forest was edited meanwhile. */
const PATIENCE_MS = 5000;

export function createPreviewService(deps: PreviewDeps): PreviewService {
  return {
    async ofPolicy(scope, policyId, proposal) {
      await assertVisible(deps.sql, { scope, policyId, proposal });
      const answer = withOneForest(deps, (forest) => previewPolicy(deps, forest, { scope, policyId, proposal }));
      return answer.catch((error: unknown) => {
        throw error instanceof SnapshotTooSlow ? tooBusy(error) : error;
      });
    },
    ofComputer: (scope, computerId, proposal) =>
      withOneForest(deps, (forest) =>
        previewOfComputer({ ...forest, sql: deps.sql, scope, present: () => presentOf(deps) }, computerId, proposal),
      ),
  };
}

interface Asked {
  readonly scope: Scope;
  readonly policyId: string;
  readonly proposal: PolicyProposal;
}

async function assertVisible(sql: Sql, { scope, policyId, proposal: { parentId } }: Asked): Promise<void> {
  if (!(await isPolicyVisible(sql, scope, policyId))) throw new Problem('policy-not-found');
  if (parentId === undefined || scope.beginsAt(policyId)) return;
  if (parentId === null) scope.assertAll(ROOTS_ARE_FOR_ALL);
  if (!(await isPolicyVisible(sql, scope, parentId)))
    throw new Problem('policy-not-found', { detail: 'The parent policy does not exist.' });
}

function tooBusy(cause: Error): Problem {
  const detail = 'The fleet could not be counted in time: the database is busy.';
  return new Problem('unavailable', { detail, retryAfterSeconds: 10 }, cause);
}

/** Works with one generation of the forest; `undefined` from the work asks for a newer one. */
async function withOneForest<T>(deps: PreviewDeps, work: (forest: PinnedForest) => Promise<T | undefined>): Promise<T> {
  const until = deps.clock.monotonic() + PATIENCE_MS;
  do {
    await deps.cache.refresh();
    const answer = await work(deps.cache.pinned());
    if (answer !== undefined) return answer;
  } while (deps.clock.monotonic() < until);
  const detail = 'Policies were edited all the while, faster than the fleet could be counted.';
  throw new Problem('unavailable', { detail, retryAfterSeconds: 5 });
}

function presentOf({ spans, clock }: PreviewDeps): Present {
  return { ledger: createLedger(spans()), at: Math.floor(clock.fleet()) };
}

/**
 * (1) Which policies the edit changes, (2) which computers, by groups that resolve alike, (3) who of them is silent.
 * Undefined when the forest is not the pinned one any more. Nothing is computed at length while a snapshot is held.
 */
async function previewPolicy(deps: PreviewDeps, forest: PinnedForest, asked: Asked): Promise<Preview | undefined> {
  const breather = createBreather(deps.clock);
  const stored = forest.policies.get(asked.policyId);
  if (!stored) throw new Problem('policy-not-found');
  const changes = await changedPolicies(forest, proposedPolicy(forest, stored, asked), breather);
  const subjects = await inSnapshot(deps, forest.generation, (sql) => listSubjects(sql, [...changes.keys()]));
  const impact = subjects && (await impactOf(subjects, changes, breather));
  if (!impact) return undefined;
  if (impact.computersChanged === 0) return toPreview(deps.sql, impact, NOBODY);
  const affected = await inSnapshot(deps, forest.generation, (sql) => readAffected(sql, impact));
  const tally =
    affected &&
    (await tallyFleet({ deps, forest, impact, breather }, Math.max(affected.parts, deps.partsAtLeast ?? 1)));
  return tally && toPreview(deps.sql, impact, { ...affected, tally });
}

type Outcome = Omit<Affected, 'parts'> & { readonly tally: Tally };
const NOBODY: Outcome = { tally: emptyTally(), changed: [], losers: { count: 0, sample: [] } };

interface Work {
  readonly deps: PreviewDeps;
  readonly forest: PinnedForest;
  readonly impact: SettingsImpact;
  readonly breather: Breather;
}

/** A database that is too busy for one snapshot of everything is asked for smaller parts. */
const SMALLER = 8;

/**
 * Counts who is silent. A computer belongs to one part, and each part is read by one snapshot: it counts once, however
 * many parts there are. Undefined when the forest is not the pinned one any more.
 */
async function tallyFleet(work: Work, parts: number): Promise<Tally | undefined> {
  const present = presentOf(work.deps);
  try {
    let sum = emptyTally();
    for (const part of partsOfFleet(parts)) {
      const tally = await tallyPart(work, part, present);
      if (!tally) return undefined;
      sum = addTallies(sum, tally);
    }
    return sum;
  } catch (error) {
    if (!(error instanceof SnapshotTooSlow) || parts >= PARTS_MAX) throw error;
    return tallyFleet(work, Math.min(parts * SMALLER, PARTS_MAX));
  }
}

async function tallyPart(work: Work, part: FleetPart, present: Present): Promise<Tally | undefined> {
  const { deps, forest, impact, breather } = work;
  const reading = await inSnapshot(deps, forest.generation, (sql) =>
    readPart(sql, { impact, part, present, breather, casesUnasked: deps.casesUnasked }),
  );
  return reading && addTallies(reading.silent, await judgeMarked(impact, reading.marked, { present, breather }));
}

async function toPreview(sql: Sql, impact: SettingsImpact, { tally, changed, losers }: Outcome): Promise<Preview> {
  const { counts, samples } = tally;
  const ids = [changed, losers.sample, ...Object.values(samples)].flat();
  const names = await nameComputers(sql, [...new Set(ids)]);
  const named = (listed: readonly string[]): PreviewedComputer[] => listed.flatMap((id) => names.get(id) ?? []);
  return {
    computersChanged: impact.computersChanged,
    bySetting: Object.fromEntries(impact.bySetting),
    present: { late: counts.presentLate, offline: counts.presentOffline },
    wouldBeLate: counts.late,
    wouldBeOffline: counts.offline,
    steadyState: { wouldBeLate: counts.steadyLate, wouldBeOffline: counts.steadyOffline },
    wouldLoseDirection: losers.count,
    sample: {
      computersChanged: named(changed),
      wouldBeLate: named(samples.late),
      wouldBeOffline: named(samples.offline),
      wouldLoseDirection: named(losers.sample),
      steadyState: { wouldBeLate: named(samples.steadyLate), wouldBeOffline: named(samples.steadyOffline) },
    },
  };
}
