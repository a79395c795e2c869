import { toRfc3339 } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { Ledger } from '../../policies/listening-ledger.js';
import { judge, type Verdict } from '../../policies/verdict-rules.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ListeningLedger } from '../listening/listening.js';
import { readForestGeneration } from '../policies/forest-repository.js';
import type { SettingsCache } from '../policies/settings-cache.js';
import { hostUpOfDial, settingsSubjectOf, verdictFactsOf } from '../statuses/liveness-row.js';
import type { StatusTransition, StatusWriter } from '../statuses/status.js';
import { isDialUnproven, transitionOf } from './verdict-transition-rules.js';
import { lockSuspects, type SuspectRow } from './verdict-repository.js';
import { lockShards, type ShardClaim } from './verdict-shard-repository.js';

export interface BatchDeps {
  readonly owner: string;
  readonly fleetClock: FleetClock;
  readonly ledger: ListeningLedger;
  /** The deadlines' arithmetic over the ledger's spans of this moment. */
  readonly listening: () => Ledger;
  readonly settings: SettingsCache;
  readonly statuses: StatusWriter;
  readonly log: Log;
}

export interface Judged {
  readonly row: SuspectRow;
  readonly verdict: Verdict;
}

export interface BatchOutcome {
  readonly at: FleetInstant;
  /** Through which listening is proven, and for which it was judged; null when nothing was looked at. */
  readonly provenAt: FleetInstant | null;
  readonly owned: ReadonlySet<number>;
  readonly judged: readonly Judged[];
  /** Computers whose evaluation threw. */
  readonly failed: readonly string[];
}

/**
 * One transaction of verdicts. In this order: the shards are held under their generations; everything received by `at`
 * is known to be stored; the live rows are locked and read; transitions are written, and nothing for the others. The
 * proof comes before the locks, since the batch it waits for may need the very same rows.
 */
export async function judgeBatch(
  sql: Sql,
  deps: BatchDeps,
  work: { readonly claims: readonly ShardClaim[]; readonly ids: (owned: ReadonlySet<number>) => readonly string[] },
): Promise<BatchOutcome> {
  const owned = await lockShards(sql, deps.owner, work.claims);
  const ids = work.ids(owned);
  const at = deps.fleetClock.fleet();
  const nothing = { at, owned, judged: [], failed: [] };
  if (ids.length === 0) return { ...nothing, provenAt: at };
  const generation = await readForestGeneration(sql);
  if (generation) await deps.settings.ensure(generation);
  const provenAt = await deps.ledger.proveThrough(sql, at);
  if (provenAt === null) return { ...nothing, provenAt };
  const rows = await lockSuspects(sql, ids);
  const { judged, failed } = judgeRows(rows, deps, provenAt);
  const settled = judged.filter(({ row, verdict }) => !isDialUnproven({ row, verdict }, at));
  const transitions = settled.flatMap((one) => transitionWithEvidence(one, deps.fleetClock) ?? []);
  await deps.statuses.apply(sql, transitions, at);
  return { at, owned, provenAt, judged, failed };
}

function judgeRows(
  rows: readonly SuspectRow[],
  { settings, listening, log }: BatchDeps,
  at: FleetInstant,
): { judged: Judged[]; failed: string[] } {
  const ledger = listening();
  const judged: Judged[] = [];
  const failed: string[] = [];
  for (const row of rows) {
    try {
      const effective = settings.settingsOf(settingsSubjectOf(row));
      const facts = verdictFactsOf(row, effective);
      judged.push({ row, verdict: judge({ facts, rules: effective.verdictRules, ledger }, at) });
    } catch (error) {
      failed.push(row.computer_id);
      log.error({ err: error, computerId: row.computer_id }, 'a computer could not be judged and is set aside');
    }
  }
  return { judged, failed };
}

function transitionWithEvidence({ row, verdict }: Judged, fleetClock: FleetClock): StatusTransition | undefined {
  const transition = transitionOf(row, verdict);
  if (!transition?.offlineAlert || row.last_seen_fleet_ms === null) return transition;
  const lastSeenAt = toRfc3339(fleetClock.toWall(row.last_seen_fleet_ms));
  const { reason } = transition.offlineAlert;
  const hostUp = hostUpOfDial(row);
  const detail = { lastSeenAt, missedHeartbeats: verdict.missed, reason, ...(hostUp === null ? {} : { hostUp }) };
  return { ...transition, offlineAlert: { ...transition.offlineAlert, detail } };
}
