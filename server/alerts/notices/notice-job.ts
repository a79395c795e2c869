import { Scope } from '../../access/scope.js';
import type { Log } from '../../../lib/log.js';
import { createLedger } from '../../../policies/listening-ledger.js';
import { decideNotice, type NoticeDecision } from '../../../policies/notice-rules.js';
import type { Sql } from '../../database/sql.js';
import type { FleetClock, FleetInstant } from '../../fleet-clock/fleet-clock.js';
import type { DeafSpan } from '../../listening/listening.js';
import type { MaintenanceView } from '../../maintenance/index.js';
import type { Notice, Notifier } from '../../notifications/notice.js';
import type { PolicySettingsCache } from '../../policies/cached-settings.js';
import { readGeneration } from '../../policies/index.js';
import type { ClaimedJob } from '../../scheduler/claimed-job.js';
import type { AlertChange } from '../alert-outbox.js';
import { factsOf, flapsOf, type Circumstances } from './notice-facts.js';
import {
  forgetDecisions,
  isAnythingDue,
  listDue,
  lookAgainForWindows,
  readNoticeComputers,
  readNoticeRows,
  saveDecisions,
  saveFlapping,
  saveFlaps,
  takeChanges,
  type NoticeRow,
  type StoredDecision,
  type StoredFlaps,
} from './notice-repository.js';
import { createWindowWatch } from './window-watch.js';

export interface NoticeJobDeps {
  /** One of all managers decides at a time. */
  readonly job: ClaimedJob;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'toWall'>;
  readonly cache: PolicySettingsCache;
  readonly maintenance: MaintenanceView;
  /** The deaf spans that are known now. */
  readonly spans: () => readonly DeafSpan[];
  readonly notifier: Notifier;
  readonly log: Log;
  /** Changes, and alerts that are due, per transaction. */
  readonly batchSize?: number;
}

/** Decides which notifications alerts are worth: of each change, and again when what held one back ends. */
export interface NoticeJob {
  /** Decides all that is due; claims nothing when nothing is. Must not run twice at a time. */
  run(signal: AbortSignal): Promise<void>;
  /** Gives the job back. */
  close(): Promise<void>;
}

const BATCH = 500;
/** An alert that could not be decided about is set aside. */
const SET_ASIDE_MS = 60_000;

export function createNoticeJob(deps: NoticeJobDeps): NoticeJob {
  const { job, sql, fleetClock, batchSize = BATCH } = deps;
  const windows = createWindowWatch(deps);
  return {
    async run(signal) {
      await windows.follow(async () => {
        const done = await job.run((inside) => lookAgainForWindows(inside, fleetClock.fleet()));
        return done !== undefined;
      });
      while (!signal.aborted && (await isAnythingDue(sql, fleetClock.fleet()))) {
        const done = await job.run((inside) => decideBatch(deps, inside, batchSize));
        if (!done || done.value < batchSize) return;
      }
    },
    close: () => job.release(),
  };
}

/** Decides about one batch; answers how many alerts it had at most of either sort. */
async function decideBatch(deps: NoticeJobDeps, sql: Sql, limit: number): Promise<number> {
  const changes = await takeChanges(sql, limit);
  const at = deps.fleetClock.fleet();
  const due = await listDue(sql, at, limit);
  const alertIds = [...new Set([...changes.map(({ alertId }) => alertId), ...due])].sort();
  if (alertIds.length > 0) await decide(deps, sql, { at, alertIds, changes });
  return Math.max(changes.length, due.length);
}

interface Batch {
  readonly at: FleetInstant;
  readonly alertIds: readonly string[];
  readonly changes: readonly AlertChange[];
}

async function decide(deps: NoticeJobDeps, sql: Sql, { at, alertIds, changes }: Batch): Promise<void> {
  const { cache, fleetClock } = deps;
  const rows = await readNoticeRows(sql, alertIds);
  const computerIds = [...new Set(rows.flatMap(({ computer_id: id }) => id ?? []))].sort();
  const computers = await readNoticeComputers(sql, computerIds);
  await cache.ensure(await readGeneration(sql));
  const circumstances: Circumstances = {
    at,
    wallMs: fleetClock.toWall(at) - at,
    ledger: createLedger(deps.spans()),
    settings: cache,
    maintenance: await deps.maintenance.at(sql, Scope.all),
    computers,
  };
  const { flaps, changed } = flapsOf(changes, rows, circumstances);
  const acknowledged = new Set(changes.flatMap(({ alertId, change }) => (change === 'acknowledged' ? alertId : [])));
  const decided = rows.map((row) => {
    const own = row.computer_id === null ? undefined : flaps.get(row.computer_id);
    const isJustAcknowledged = acknowledged.has(row.id);
    const decision = decideOrSetAside(deps, row, {
      at,
      decide: () => decideNotice(factsOf(row, { flaps: own, isJustAcknowledged }, circumstances), at),
    });
    // The rest of the batch is about the same computer's earlier outages at most: it is told once.
    if (own && decision.tell === 'flapping') flaps.set(own.computerId, { ...own, isTold: true });
    return { row, decision };
  });
  await store(sql, { alertIds, decided });
  await saveFlaps(sql, changedFlaps(flaps, changed, computers));
  await deps.notifier.enqueue(sql, noticesOf(decided, at));
}

/** One alert that cannot be decided about must not stop the others. */
function decideOrSetAside(
  { log }: Pick<NoticeJobDeps, 'log'>,
  row: NoticeRow,
  work: { readonly at: FleetInstant; readonly decide: () => NoticeDecision },
): NoticeDecision {
  try {
    return work.decide();
  } catch (error) {
    log.error({ err: error, alertId: row.id }, 'a notice could not be decided about and is set aside');
    return { tell: null, told: row.told ?? 'nothing', heldBy: row.held_by, lookAt: work.at + SET_ASIDE_MS };
  }
}

interface Decided {
  readonly row: NoticeRow;
  readonly decision: NoticeDecision;
}

interface Storing {
  readonly alertIds: readonly string[];
  readonly decided: readonly Decided[];
}

async function store(sql: Sql, { alertIds, decided }: Storing): Promise<void> {
  const isForgotten = ({ row, decision }: Decided) => !isOpen(row) && decision.told === 'nothing';
  const known = new Set(decided.map(({ row }) => row.id));
  const kept = decided.filter((one) => !isForgotten(one));
  const flapping = decided.map(({ row, decision }) => ({ row, isFlapping: decision.heldBy === 'flapping' }));
  await saveFlapping(
    sql,
    flapping
      .filter(({ row, isFlapping }) => row.is_flapping !== isFlapping)
      .map(({ row, isFlapping }) => ({ id: row.id, isFlapping })),
  );
  await saveDecisions(
    sql,
    kept.map(({ row, decision }): StoredDecision => {
      const { told, heldBy, lookAt } = decision;
      return { alertId: row.id, told, heldBy, lookAt };
    }),
  );
  const forgotten = decided.filter((one) => isForgotten(one) && one.row.told !== null).map(({ row }) => row.id);
  await forgetDecisions(sql, [...alertIds.filter((id) => !known.has(id)), ...forgotten]);
}

function isOpen({ state }: Pick<NoticeRow, 'state'>): boolean {
  return state === 'raised' || state === 'acknowledged';
}

function changedFlaps(
  flaps: ReadonlyMap<string, StoredFlaps>,
  changed: ReadonlySet<string>,
  computers: Circumstances['computers'],
): StoredFlaps[] {
  return [...flaps.values()].filter(
    ({ computerId, isTold }) => changed.has(computerId) || isTold !== (computers.get(computerId)?.is_told ?? false),
  );
}

function noticesOf(decided: readonly Decided[], at: FleetInstant): Notice[] {
  return decided.flatMap(({ row, decision }) =>
    decision.tell === null ? [] : [{ alertId: row.id, kind: decision.tell, at }],
  );
}
