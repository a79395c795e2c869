import { createBreather } from '../../lib/breather.js';
import { toRfc3339 } from '../../lib/clock.js';
import { invalidFields, Problem } from '../../lib/problem.js';
import { subtreeOf } from '../../policies/forest-rules.js';
import { createLedger, type Ledger, type Span } from '../../policies/listening-ledger.js';
import {
  alertOfPresent,
  alertOfSilence,
  caveatsOfSilence,
  CAVEATS,
  NO_EXCUSES,
  type Caveat,
  type Excuses,
  type ThresholdPair,
} from '../../policies/rehearsal-rules.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { listOffsetsAfter } from '../fleet-clock/fleet-clock-repository.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { fleetAtWall, wallBounds } from '../fleet-clock/past-instant.js';
import type { DeafSpan } from '../listening/listening.js';
import type { PinnedForest, PolicySettingsCache } from '../policies/index.js';
import { changedPolicies, listSubjects, nameComputers, proposedPolicy } from '../previews/index.js';
import { RETENTION_DAYS } from '../scheduler/maintenance.js';
import { verdictFactsOf, type LivenessRow } from '../statuses/liveness-row.js';
import type { RehearsalReply, RehearsePolicyBody } from './rehearsal-dto.js';
import { createRehearsalGroups, type RehearsalGroups, type ResolvedPair } from './rehearsal-groups.js';
import { listGaps, listRaised, listSilent, readExcuses, type GapRow } from './rehearsal-query.js';
import { createAlertTally, type AlertTally } from './rehearsal-tally.js';
import { createBudget, type Budget, type Turnstile } from './report-budget.js';
import { DAY_MS, keptFrom, rehearsalFaults } from './report-rules.js';

export interface RehearsalDeps {
  /** Each statement is a transaction of its own. */
  readonly sql: Sql;
  readonly cache: PolicySettingsCache;
  readonly clock: FleetClock;
  readonly spans: () => readonly DeafSpan[];
  readonly turnstile: Turnstile;
  /** Throws `policy-not-found` for a policy outside the scope. */
  readonly assertPolicyVisible: (scope: Scope, policyId: string) => Promise<unknown>;
}

/** How many offline alerts thresholds would have raised; nothing is stored. */
export interface RehearsalService {
  rehearse(scope: Scope, policyId: string, body: RehearsePolicyBody): Promise<RehearsalReply>;
}

const SAMPLE_MAX = 10;
const REMEDY = 'ask for fewer days or for a policy further down';
const SIDES = ['present', 'rehearsed'] as const;

export function createRehearsalService(deps: RehearsalDeps): RehearsalService {
  return {
    async rehearse(scope, policyId, body) {
      await deps.assertPolicyVisible(scope, policyId);
      assertRehearsable(body.settings ?? {});
      const leave = deps.turnstile.enter();
      try {
        return await rehearse(deps, { scope, policyId }, body);
      } finally {
        leave();
      }
    },
  };
}

/** Throws `request-invalid` with every setting that PATCH would refuse and every one that no alert rests on. */
function assertRehearsable(settings: Record<string, unknown>): void {
  const errors = rehearsalFaults(settings, '#/settings');
  if (errors.length > 0) throw invalidFields(errors);
}

interface Rehearsal {
  readonly sql: Sql;
  readonly groups: RehearsalGroups;
  readonly policyIds: readonly string[];
  readonly range: Span;
  readonly wallsOf: (span: Span) => Span;
  readonly ledger: Ledger;
  readonly budget: Budget;
  readonly caveats: Set<Caveat>;
  readonly tallies: Readonly<Record<(typeof SIDES)[number] | 'raised', AlertTally>>;
}

async function rehearse(deps: RehearsalDeps, subtree: Subtree, body: RehearsePolicyBody): Promise<RehearsalReply> {
  const { sql, cache, clock, spans } = deps;
  await cache.refresh();
  const resolved = await resolve(deps, cache.pinned(), { ...subtree, settings: body.settings ?? {} });
  const policyIds = [...resolved.keys()];
  const subjects = await listSubjects(sql, policyIds);
  const until = Math.floor(clock.fleet());
  const kept = keptFrom(Math.min(clock.trustedTime(), clock.toWall(until)), RETENTION_DAYS.heartbeat_gaps);
  const asked = until - body.days * DAY_MS;
  const range = { from: Math.max(asked, fleetAtWall(clock, kept, until)), until };
  const steps = (await listOffsetsAfter(sql, Number.MIN_SAFE_INTEGER)).map(({ fleetMs }) => fleetMs);
  const rehearsal: Rehearsal = {
    sql,
    groups: createRehearsalGroups(resolved, subjects),
    policyIds,
    range,
    wallsOf: (span) => wallBounds(clock, span, steps),
    ledger: createLedger(spans()),
    budget: createBudget(clock, REMEDY),
    caveats: new Set(range.from > asked ? ['range-shortened'] : []),
    tallies: { present: createAlertTally(), rehearsed: createAlertTally(), raised: createAlertTally() },
  };
  await tallyGaps(rehearsal);
  await tallySilent(rehearsal);
  await tallyRaised(rehearsal);
  const shown = (instant: number) => toRfc3339(clock.toWall(instant));
  return {
    coveredFrom: shown(range.from),
    to: shown(until),
    computers: subjects.reduce((sum, { computers }) => sum + computers, 0),
    ...(await toReply(rehearsal)),
  };
}

interface Subtree {
  readonly scope: Scope;
  readonly policyId: string;
}

/** Every policy of the subtree as it is and as it is rehearsed. Throws what saving the settings would throw. */
async function resolve(
  { clock }: RehearsalDeps,
  forest: PinnedForest,
  { scope, policyId, settings }: Subtree & { readonly settings: unknown },
): Promise<ReadonlyMap<string, ResolvedPair>> {
  const stored = forest.policies.get(policyId);
  if (!stored) throw new Problem('policy-not-found');
  const proposed = proposedPolicy(forest, stored, { scope, proposal: { settings } });
  const changes = await changedPolicies(forest, proposed, createBreather(clock));
  const pairs = new Map<string, ResolvedPair>();
  const parents = new Map([...forest.policies.values()].map(({ id, parentId }) => [id, parentId]));
  for (const id of subtreeOf(parents, policyId)) {
    const before = forest.resolvedOf(id);
    if (before) pairs.set(id, changes.get(id) ?? { before, after: before });
  }
  return pairs;
}

async function tallyGaps(rehearsal: Rehearsal): Promise<void> {
  const { sql, policyIds, range, wallsOf, groups } = rehearsal;
  const asked = { policyIds, range, walls: wallsOf(range), longerThanMs: groups.shortestMs };
  for await (const gaps of listGaps(sql, asked)) {
    const longest = gaps.filter((gap) => {
      const pair = groups.of(gap);
      return pair !== undefined && SIDES.some((side) => isAlerted(rehearsal, gap, { pair, side, excuses: NO_EXCUSES }));
    });
    const excuses = await readExcuses(sql, longest, wallsOf);
    for (const [place, gap] of longest.entries()) tallyGap(rehearsal, gap, excuses[place] ?? NO_EXCUSES);
    rehearsal.budget.check();
  }
}

interface Side {
  readonly pair: ThresholdPair;
  readonly side: (typeof SIDES)[number];
  readonly excuses: Excuses;
}

function isAlerted(rehearsal: Rehearsal, gap: GapRow, side: Side): boolean {
  return alertOfGap(rehearsal, gap, side) !== null;
}

function alertOfGap({ ledger }: Rehearsal, gap: GapRow, { pair, side, excuses }: Side) {
  const { from_fleet_ms: from, until_fleet_ms: until, interval_ms: intervalMs } = gap;
  return alertOfSilence({ from, until, intervalMs, excuses }, pair[side], ledger);
}

function tallyGap(rehearsal: Rehearsal, gap: GapRow, excuses: Excuses): void {
  const pair = rehearsal.groups.of(gap);
  if (!pair) return;
  for (const caveat of caveatsOfSilence({ intervalMs: gap.interval_ms }, pair.rehearsed)) rehearsal.caveats.add(caveat);
  for (const side of SIDES) {
    const alert = alertOfGap(rehearsal, gap, { pair, side, excuses });
    if (alert && alert.raisedAt >= rehearsal.range.from) rehearsal.tallies[side].add(gap.computer_id, alert);
  }
}

/** Those that are silent still have no gap yet. */
async function tallySilent(rehearsal: Rehearsal): Promise<void> {
  const { sql, policyIds, range, groups } = rehearsal;
  for await (const rows of listSilent(sql, { policyIds, heardBy: range.until - groups.shortestMs })) {
    for (const row of rows) tallySilence(rehearsal, row);
    rehearsal.budget.check();
  }
}

function tallySilence({ groups, ledger, range, tallies }: Rehearsal, row: LivenessRow): void {
  const pair = groups.of(row);
  if (!pair) return;
  const facts = verdictFactsOf(row, { intervalMs: pair.present.intervalMs, rulesSince: 0 });
  for (const side of SIDES) {
    const raisedAt = alertOfPresent(facts, pair[side], { ledger, at: range.until });
    if (raisedAt !== null && raisedAt >= range.from) tallies[side].add(row.computer_id, { isFlash: false });
  }
}

async function tallyRaised(rehearsal: Rehearsal): Promise<void> {
  for await (const rows of listRaised(rehearsal.sql, rehearsal)) {
    for (const row of rows) {
      const intervalMs = rehearsal.groups.of(row)?.present.intervalMs ?? 0;
      const isFlash = row.closed_fleet_ms !== null && row.closed_fleet_ms - row.raised_fleet_ms <= intervalMs;
      rehearsal.tallies.raised.add(row.computer_id, { isFlash });
    }
    rehearsal.budget.check();
  }
}

type Counted = Omit<RehearsalReply, 'coveredFrom' | 'to' | 'computers'>;

async function toReply({ sql, groups, caveats, tallies }: Rehearsal): Promise<Counted> {
  const most = tallies.rehearsed.most(SAMPLE_MAX);
  const names = await nameComputers(sql, most);
  const codes = new Set<Caveat>([...groups.caveats, ...caveats]);
  return {
    rehearsed: tallies.rehearsed.sums(),
    present: tallies.present.sums(),
    raised: tallies.raised.sums(),
    sample: most.flatMap((id) => {
      const named = names.get(id);
      if (!named) return [];
      const counts = {
        rehearsed: tallies.rehearsed.of(id),
        present: tallies.present.of(id),
        raised: tallies.raised.of(id),
      };
      return [{ id, name: named.name, ...counts }];
    }),
    caveats: [...codes].toSorted().map((code) => ({ code, detail: CAVEATS[code] })),
  };
}
