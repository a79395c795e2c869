import type { Log } from '../../lib/log.js';
import type { RefusalCode } from '../../policies/diagnosis-rules.js';
import type { ComputerRefusal } from '../agent-channel/agent-routes.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { refusalCodeOf } from './refusal-rules.js';

export interface RefusalRecorder {
  /**
   * Remembers that a computer was refused whose certificate proves which one it is; what somebody merely claims must not
   * come here. Returns at once; at most once a minute per computer and code, and lost where the database is away.
   */
  note(refusal: ComputerRefusal): void;
  settled(): Promise<void>;
}

export interface RefusalRecorderDeps {
  readonly inTransaction: HotTransaction;
  readonly isDatabaseAway: () => boolean;
  readonly log: Log;
}

/** So many instants are kept per computer and code. */
const KEPT = 5;
const QUIET_MS = 60_000;
const REMEMBERED = 20_000;
const MOST_WAITING = 1000;
const LONGEST_DETAIL = 300;

const RECORD = `
INSERT INTO computer_refusals AS known (computer_id, code, refused_fleet_ms, source_address, detail)
SELECT input.computer_id, input.code, ARRAY[input.at], input.address, input.detail
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[]) AS input (computer_id, code, at, address, detail)
JOIN computers ON computers.id = input.computer_id
ORDER BY input.computer_id, input.code
ON CONFLICT (computer_id, code) DO UPDATE SET
  refused_fleet_ms = (known.refused_fleet_ms || EXCLUDED.refused_fleet_ms)
    [GREATEST(1, cardinality(known.refused_fleet_ms) + 2 - ${KEPT}):],
  source_address = EXCLUDED.source_address, detail = EXCLUDED.detail
WHERE known.refused_fleet_ms[cardinality(known.refused_fleet_ms)] <= EXCLUDED.refused_fleet_ms[1] - ${QUIET_MS}`;

interface Waiting {
  readonly computerId: string;
  readonly code: RefusalCode;
  readonly at: FleetInstant;
  readonly address: string | null;
  readonly detail: string | null;
}

export function createRefusalRecorder(deps: RefusalRecorderDeps): RefusalRecorder {
  const notedAt = new Map<string, FleetInstant>();
  const waiting = new Map<string, Waiting>();
  let flushing: Promise<void> | undefined;
  const flush = async (): Promise<void> => {
    while (waiting.size > 0) {
      const refusals = [...waiting.values()];
      waiting.clear();
      try {
        await deps.inTransaction((sql) => sql.query(RECORD, columnsOf(refusals)), { idempotent: true });
      } catch (error) {
        deps.log.debug({ err: error, refusals: refusals.length }, 'Refusals of computers could not be remembered');
      }
    }
    flushing = undefined;
  };
  return {
    note({ computerId, problem, address, at }) {
      const code = refusalCodeOf(problem);
      if (!code || deps.isDatabaseAway()) return;
      const key = `${computerId} ${code}`;
      if (!isDue(notedAt, key, at) || waiting.size >= MOST_WAITING) return;
      remember(notedAt, key, at);
      const detail = problem.facts.detail?.slice(0, LONGEST_DETAIL) ?? null;
      waiting.set(key, { computerId, code, at, address, detail });
      flushing ??= flush();
    },
    async settled() {
      await flushing;
    },
  };
}

function isDue(notedAt: ReadonlyMap<string, FleetInstant>, key: string, at: FleetInstant): boolean {
  const last = notedAt.get(key);
  return last === undefined || at - last >= QUIET_MS;
}

function remember(notedAt: Map<string, FleetInstant>, key: string, at: FleetInstant): void {
  notedAt.delete(key);
  notedAt.set(key, at);
  const [oldest] = notedAt.size > REMEMBERED ? notedAt.keys() : [];
  if (oldest !== undefined) notedAt.delete(oldest);
}

function columnsOf(refusals: readonly Waiting[]): unknown[] {
  return [
    refusals.map(({ computerId }) => computerId),
    refusals.map(({ code }) => code),
    refusals.map(({ at }) => Math.floor(at)),
    refusals.map(({ address }) => address),
    refusals.map(({ detail }) => detail),
  ];
}
