import { toRfc3339 } from '../../lib/clock.js';
import {
  DEGRADED_WINDOW_MS,
  degradationOf,
  type Degradation,
  type ManagerHealth,
} from '../../policies/degradation-rules.js';
import type { AlertCondition, AlertWriter } from '../alerts/alert.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { LagWatch } from '../scheduler/lag-watch.js';

export interface ManagerWatchDeps {
  readonly node: string;
  readonly ledger: Pick<RunningListeningLedger, 'recentSpans' | 'deafness'>;
  /** Of the verdict job; undefined where another process has it. */
  readonly lag: Pick<LagWatch, 'worstMs'> | undefined;
  /** Where most computers' clocks stand beside this one; nothing is known unless given. */
  readonly clocksBesideMs?: () => number | null;
  readonly alerts: Pick<AlertWriter, 'raise' | 'turn' | 'resolve'>;
  readonly inTransaction: HotTransaction;
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'toWall'>;
}

/**
 * Raises `manager-degraded` for this node, completes its evidence and resolves it, whatever becomes of the verdict job.
 */
export interface ManagerWatch {
  /** One look, to be called every second. What cannot be stored yet is stored by a later one. */
  look(): Promise<void>;
}

const TYPE = 'manager-degraded';
/** The newest ones tell enough. */
const MOST_SPANS = 20;

interface Trouble {
  readonly since: FleetInstant;
  readonly evidence: Degradation;
}

export function createManagerWatch(deps: ManagerWatchDeps): ManagerWatch {
  const { node, ledger, alerts, inTransaction, fleetClock } = deps;
  /** Undefined until the first look: a life before may have left an alert open. */
  let stored: 'open' | 'closed' | undefined;
  let trouble: Trouble | undefined;
  /** What is not stored yet, though it may be over. */
  let untold: Trouble | undefined;
  /** The evidence that was stored last. */
  let shown: Degradation | undefined;

  const note = (at: FleetInstant): void => {
    const evidence = degradationOf(healthOf(deps), at);
    const before = trouble?.evidence;
    trouble = evidence ? { since: trouble?.since ?? at, evidence } : undefined;
    if (stored !== 'open' || isComplete(evidence, { before, shown })) untold = trouble ?? untold;
  };

  const put = async (sql: Sql, told: Trouble): Promise<void> => {
    if (stored === 'open') await alerts.turn(sql, TYPE, [toCondition(told)]);
    else await alerts.raise(sql, [toCondition(told)]);
  };

  const toCondition = ({ since, evidence }: Trouble): AlertCondition => ({
    type: TYPE,
    subject: node,
    computerId: null,
    raisedAt: since,
    reason: evidence.reason,
    detail: detailOf(node, evidence, (instant) => toRfc3339(fleetClock.toWall(instant))),
  });

  return {
    async look() {
      const at = fleetClock.fleet();
      note(at);
      const [told, present] = [untold, trouble];
      const wanted = present ? 'open' : 'closed';
      if ((stored === wanted && !told) || ledger.deafness()?.cause === 'database-away') return;
      await inTransaction(
        async (sql) => {
          if (told) await put(sql, told);
          if (!present) await alerts.resolve(sql, TYPE, [{ subject: node, at }]);
        },
        { attempts: 1 },
      );
      stored = wanted;
      shown = told?.evidence ?? shown;
      untold = undefined;
    },
  };
}

function healthOf({ ledger, lag, clocksBesideMs }: ManagerWatchDeps): ManagerHealth {
  const worstLagMs = lag?.worstMs(DEGRADED_WINDOW_MS) ?? 0;
  return { spans: ledger.recentSpans(), worstLagMs, clocksBesideMs: clocksBesideMs?.() ?? null };
}

interface Earlier {
  /** By the look before. */
  readonly before: Degradation | undefined;
  readonly shown: Degradation | undefined;
}

/** Whether there is more than the alert shows, and it has come to its end. */
function isComplete(evidence: Degradation | null, { before, shown }: Earlier): boolean {
  return evidence !== null && isMore(evidence, shown) && !isMore(evidence, before);
}

/** A lag and the computers' clocks count by whole seconds. */
function isMore(evidence: Degradation, than: Degradation | undefined): boolean {
  if (!than) return true;
  const besideMs = ({ clocksBesideMs = 0 }: Degradation): number => Math.abs(clocksBesideMs);
  return (
    evidence.deafMs > than.deafMs ||
    inSeconds(evidence.worstLagMs) > inSeconds(than.worstLagMs) ||
    inSeconds(besideMs(evidence)) > inSeconds(besideMs(than))
  );
}

function inSeconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function detailOf(
  node: string,
  { deafMs, deafMsByCause, spans, worstLagMs, clocksBesideMs }: Degradation,
  show: (instant: FleetInstant) => string,
): Readonly<Record<string, unknown>> {
  const byCause = Object.entries(deafMsByCause).map(([cause, ms]) => [cause, ms / 1000]);
  return {
    node,
    deafSeconds: deafMs / 1000,
    deafSecondsByCause: Object.fromEntries(byCause) as Record<string, number>,
    spans: spans.slice(-MOST_SPANS).map(({ from, until, cause }) => ({ from: show(from), until: show(until), cause })),
    schedulerLagSeconds: Math.round(worstLagMs) / 1000,
    ...(clocksBesideMs === undefined ? {} : { clocksBesideSeconds: Math.round(clocksBesideMs / 1000) }),
  };
}
