import { toRfc3339 } from '../../lib/clock.js';
import { DEGRADED_WINDOW_MS, degradationOf, type Degradation } from '../../policies/degradation-rules.js';
import type { AlertCondition, AlertWriter } from '../alerts/alert.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { RunningListeningLedger } from '../listening/listening-ledger.js';
import type { LagWatch } from '../scheduler/lag-watch.js';

export interface ManagerWatchDeps {
  readonly node: string;
  readonly ledger: Pick<RunningListeningLedger, 'recentSpans' | 'deafness'>;
  /** Of the verdict job; undefined where another process has it. */
  readonly lag: Pick<LagWatch, 'worstMs'> | undefined;
  readonly alerts: Pick<AlertWriter, 'raise' | 'resolve'>;
  readonly inTransaction: HotTransaction;
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'toWall'>;
}

/** Raises `manager-degraded` for this node and resolves it, whatever becomes of the verdict job. */
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
  const { node, ledger, lag, alerts, inTransaction, fleetClock } = deps;
  /** Undefined until the first look: a life before may have left an alert open. */
  let stored: 'open' | 'closed' | undefined;
  let trouble: Trouble | undefined;
  /** What is not stored yet, though it may be over. */
  let untold: Trouble | undefined;

  const note = (at: FleetInstant): void => {
    const worstLagMs = lag?.worstMs(DEGRADED_WINDOW_MS) ?? 0;
    const evidence = degradationOf({ spans: ledger.recentSpans(), worstLagMs }, at);
    trouble = evidence ? { since: trouble?.since ?? at, evidence } : undefined;
    if (stored !== 'open') untold = trouble ?? untold;
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
          if (told) await alerts.raise(sql, [toCondition(told)]);
          if (!present) await alerts.resolve(sql, TYPE, [{ subject: node, at }]);
        },
        { attempts: 1 },
      );
      stored = wanted;
      untold = undefined;
    },
  };
}

function detailOf(
  node: string,
  { deafMs, deafMsByCause, spans, worstLagMs }: Degradation,
  show: (instant: FleetInstant) => string,
): Readonly<Record<string, unknown>> {
  const byCause = Object.entries(deafMsByCause).map(([cause, ms]) => [cause, ms / 1000]);
  return {
    node,
    deafSeconds: deafMs / 1000,
    deafSecondsByCause: Object.fromEntries(byCause) as Record<string, number>,
    spans: spans.slice(-MOST_SPANS).map(({ from, until, cause }) => ({ from: show(from), until: show(until), cause })),
    schedulerLagSeconds: Math.round(worstLagMs) / 1000,
  };
}
