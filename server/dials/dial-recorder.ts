import type { Clock } from '../../lib/clock.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DialFailureCode } from './dial-failure.js';

/** A dial that ended; `answered` only where the row tells of failures before it. */
export interface EndedDial {
  readonly computerId: string;
  readonly begunAt: FleetInstant;
  readonly endedAt: FleetInstant;
  readonly result: DialFailureCode | 'answered';
  readonly detail: string | null;
  /** Whether the machine answered, if not its agent. */
  readonly hostUp: boolean | null;
}

export interface DialRecorder {
  /** Resolves after the commit; dials that end at the same time share one. At most one dial of a computer at a time. */
  record(dial: EndedDial): Promise<void>;
  settled(): Promise<void>;
}

const GATHER_MS = 10;
const LONGEST_DETAIL = 1024;
/** Begin and end of so many failed dials are kept, the first ones since the last report, and of the last one. */
const KEPT_FIRST = 32;

/** What was kept is void when a report came after it. */
const isVoid = `
  (SELECT computer_live.last_seen_fleet_ms FROM computer_live WHERE computer_live.computer_id = stored.computer_id)
    >= stored.failed_begun_fleet_ms[cardinality(stored.failed_begun_fleet_ms)]`;

const kept = (column: string): string => `
  CASE WHEN ${isVoid} THEN EXCLUDED.${column} ELSE stored.${column}[1:${KEPT_FIRST}] || EXCLUDED.${column} END`;

const RECORD_FAILED = `
INSERT INTO computer_dials AS stored (computer_id, last_begun_fleet_ms, last_ended_fleet_ms, last_result, last_detail,
  last_host_up, failures, failed_begun_fleet_ms, failed_ended_fleet_ms)
SELECT input.computer_id, input.begun, input.ended, input.result, input.detail,
  input.host_up, 1, ARRAY[input.begun], ARRAY[input.ended]
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::boolean[])
  AS input (computer_id, begun, ended, result, detail, host_up)
JOIN computers ON computers.id = input.computer_id
ORDER BY input.computer_id
ON CONFLICT (computer_id) DO UPDATE SET
  last_begun_fleet_ms = EXCLUDED.last_begun_fleet_ms, last_ended_fleet_ms = EXCLUDED.last_ended_fleet_ms,
  last_result = EXCLUDED.last_result, last_detail = EXCLUDED.last_detail,
  last_host_up = EXCLUDED.last_host_up,
  failures = CASE WHEN stored.last_result = 'answered' THEN 1 ELSE stored.failures + 1 END,
  failed_begun_fleet_ms = ${kept('failed_begun_fleet_ms')},
  failed_ended_fleet_ms = ${kept('failed_ended_fleet_ms')}`;

const RECORD_ANSWERED = `
WITH ended AS (
  SELECT computer_dials.computer_id, input.begun, input.ended
  FROM computer_dials JOIN unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS input (computer_id, begun, ended)
    ON input.computer_id = computer_dials.computer_id
  ORDER BY computer_dials.computer_id FOR NO KEY UPDATE OF computer_dials)
UPDATE computer_dials SET last_begun_fleet_ms = ended.begun, last_ended_fleet_ms = ended.ended,
  last_result = 'answered', last_detail = NULL, last_host_up = true, failures = 0,
  failed_begun_fleet_ms = '{}', failed_ended_fleet_ms = '{}'
FROM ended WHERE ended.computer_id = computer_dials.computer_id`;

export function createDialRecorder(deps: {
  readonly inTransaction: HotTransaction;
  readonly clock: Pick<Clock, 'sleep'>;
}): DialRecorder {
  let gathering: { readonly dials: EndedDial[]; readonly stored: Promise<void> } | undefined;
  const running = new Set<Promise<void>>();
  const flush = async (dials: readonly EndedDial[]): Promise<void> => {
    await deps.clock.sleep(GATHER_MS);
    gathering = undefined;
    await deps.inTransaction((sql) => store(sql, dials), { idempotent: false });
  };
  return {
    record(dial) {
      if (gathering) gathering.dials.push(dial);
      else {
        const dials = [dial];
        const stored = flush(dials);
        gathering = { dials, stored };
        running.add(stored);
        const done = (): void => void running.delete(stored);
        stored.then(done, done);
      }
      return gathering.stored;
    },
    async settled() {
      await Promise.allSettled(running);
    },
  };
}

/** A shard that was lost and taken again can make two dials of one computer end together: a statement takes one of them. */
async function store(sql: Sql, ended: readonly EndedDial[]): Promise<void> {
  const dials = [...new Map(ended.map((dial) => [dial.computerId, dial])).values()];
  const failed = dials.filter(({ result }) => result !== 'answered');
  const answered = dials.filter(({ result }) => result === 'answered');
  if (failed.length > 0)
    await sql.query(RECORD_FAILED, [
      ...instantsOf(failed),
      failed.map(({ result }) => result),
      failed.map(({ detail }) => detail?.replaceAll('\0', '').toWellFormed().slice(0, LONGEST_DETAIL) ?? null),
      failed.map(({ hostUp }) => hostUp),
    ]);
  if (answered.length > 0) await sql.query(RECORD_ANSWERED, instantsOf(answered));
}

function instantsOf(dials: readonly EndedDial[]): unknown[] {
  return [
    dials.map(({ computerId }) => computerId),
    dials.map(({ begunAt }) => Math.floor(begunAt)),
    dials.map(({ endedAt }) => Math.ceil(endedAt)),
  ];
}
