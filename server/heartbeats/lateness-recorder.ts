import { toRfc3339, type Clock } from '../../lib/clock.js';
import { shareRun, type Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import { createPeriodic } from '../../lib/periodic.js';
import { isCertainlyNotStored, isDataError } from '../database/database-errors.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { LATENESS_BUCKETS, latenessBucket } from './lateness-rules.js';

export interface NotedLateness {
  readonly policyId: string;
  readonly receivedAt: FleetInstant;
  readonly latenessMs: number;
}

/** Counts lateness by (UTC day, policy) in memory and stores the counts apart from the heartbeats. */
export interface LatenessRecorder extends Lifecycle {
  note(noted: NotedLateness): void;
  /** Adds what was counted to what is stored. What may have been stored already is let go, never counted twice. */
  flush(): Promise<void>;
}

export interface LatenessRecorderDeps {
  /** The pool's, outside of any transaction. */
  readonly sql: Sql;
  readonly clock: Pick<Clock, 'sleep'> & Pick<FleetClock, 'toWall'>;
  readonly log: Log;
  readonly everyMs?: number;
}

interface Counts {
  readonly day: string;
  readonly policyId: string;
  readonly buckets: number[];
}

const EVERY_MS = 5000;

const ADD = `
INSERT INTO lateness_histograms (day, policy_id, buckets)
SELECT input.day, input.policy_id, string_to_array(input.buckets, ',')::bigint[]
FROM unnest($1::date[], $2::uuid[], $3::text[]) AS input (day, policy_id, buckets)
ORDER BY input.day, input.policy_id
ON CONFLICT (day, policy_id) DO UPDATE SET buckets = ARRAY(
  SELECT COALESCE(sums.stored, 0) + COALESCE(sums.added, 0)
  FROM unnest(lateness_histograms.buckets, EXCLUDED.buckets) WITH ORDINALITY AS sums (stored, added, place)
  ORDER BY sums.place)`;

export function createLatenessRecorder({
  sql,
  clock,
  log,
  everyMs = EVERY_MS,
}: LatenessRecorderDeps): LatenessRecorder {
  let counted = new Map<string, Counts>();

  const countsOf = (day: string, policyId: string): Counts => {
    const key = `${day} ${policyId}`;
    const known = counted.get(key);
    if (known) return known;
    const fresh = { day, policyId, buckets: Array.from({ length: LATENESS_BUCKETS }, () => 0) };
    counted.set(key, fresh);
    return fresh;
  };

  const giveBack = (batch: readonly Counts[]): void => {
    for (const { day, policyId, buckets } of batch) {
      const now = countsOf(day, policyId).buckets;
      for (const [place, count] of buckets.entries()) now[place] = (now[place] ?? 0) + count;
    }
  };

  const flush = shareRun(async () => {
    const batch = [...counted.values()];
    counted = new Map();
    if (batch.length === 0) return;
    try {
      await sql.query(ADD, columnsOf(batch));
    } catch (error) {
      const isKept = isCertainlyNotStored(error) && !isDataError(error);
      if (isKept) giveBack(batch);
      log.warn({ err: error, isKept }, 'lateness could not be stored');
      throw error;
    }
  });

  return {
    note({ policyId, receivedAt, latenessMs }) {
      const { buckets } = countsOf(toRfc3339(clock.toWall(receivedAt)).slice(0, 10), policyId);
      const place = latenessBucket(latenessMs);
      buckets[place] = (buckets[place] ?? 0) + 1;
    },
    flush,
    ...createPeriodic({ clock, everyMs, action: flush }),
  };
}

function columnsOf(batch: readonly Counts[]): unknown[] {
  return [
    batch.map(({ day }) => day),
    batch.map(({ policyId }) => policyId),
    batch.map(({ buckets }) => buckets.join(',')),
  ];
}
