import type { ToldChange } from '../../policies/clock-assessment.js';
import { isPlainObject } from '../../lib/schema.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { toldBy } from '../heartbeats/clock-step-repository.js';
import type { LivenessRow } from '../statuses/liveness-row.js';

type Instant = FleetInstant | null;

/** What is stored of one computer's clock. */
export interface ClockRow extends Pick<
  LivenessRow,
  'computer_id' | 'kind' | 'policy_id' | 'overrides' | 'last_seen_fleet_ms' | 'confirmed_interval_ms'
> {
  readonly name: string;
  readonly clock_offset_ms: number | null;
  readonly clock_error_ms: number | null;
  readonly clock_sampled_fleet_ms: Instant;
  readonly ring: Buffer | null;
  readonly capabilities: readonly string[] | null;
}

const READ = `
SELECT computers.id AS computer_id, computers.name, computers.kind, computers.policy_id,
  computers.overrides::text AS overrides, computer_live.last_seen_fleet_ms, computer_live.confirmed_interval_ms,
  computer_live.clock_offset_ms, computer_live.clock_error_ms, computer_live.clock_sampled_fleet_ms,
  heartbeat_rings.ring, computer_facts.capabilities
FROM computers
  JOIN computer_live ON computer_live.computer_id = computers.id
  LEFT JOIN heartbeat_rings ON heartbeat_rings.computer_id = computers.id
  LEFT JOIN computer_facts ON computer_facts.computer_id = computers.id
WHERE computers.id = $1`;

export async function readClockRow(sql: Sql, scope: Scope, computerId: string): Promise<ClockRow | undefined> {
  const visible = scope.predicate('computers.policy_id', 2);
  const [row] = await sql.query<ClockRow>(`${READ} AND ${visible.sql}`, [computerId, ...visible.parameters]);
  return row;
}

/** So many of the latest events are looked through, and so many of what was looked for are answered. */
const MOST_EVENTS = 10_000;
const MOST_CHANGES = 100;

const READ_TOLD = `
SELECT told.lane, told.kind, told.code, told.data, told.occurred_ms, told.received_fleet_ms
FROM (
  SELECT events.lane, events.kind, events.code, events.data, events.occurred_ms, events.received_fleet_ms, events.id
  FROM events WHERE events.computer_id = $1 AND events.received_fleet_ms >= $2
  ORDER BY events.received_fleet_ms DESC, events.id DESC LIMIT ${MOST_EVENTS}) AS told
WHERE told.lane = 'control' AND told.kind IN ('clock-changed', 'computer-resumed')
ORDER BY told.received_fleet_ms DESC, told.id DESC LIMIT ${MOST_CHANGES}`;

interface ToldRow {
  readonly lane: 'control';
  readonly kind: string;
  readonly code: number | null;
  readonly data: unknown;
  readonly occurred_ms: number | string;
  readonly received_fleet_ms: FleetInstant;
}

/** What the agent told of its clock since then; newest first. */
export async function readTold(sql: Sql, computerId: string, since: FleetInstant): Promise<ToldChange[]> {
  const rows = await sql.query<ToldRow>(READ_TOLD, [computerId, Math.floor(since)]);
  return rows.flatMap((row): ToldChange[] => {
    const receivedAt = Number(row.received_fleet_ms);
    if (row.kind === 'computer-resumed') return [{ kind: 'suspend', receivedAt, byMs: 0 }];
    const step = toldBy({ ...row, occurredMs: Number(row.occurred_ms) });
    return step ? [{ kind: 'step', receivedAt, byMs: step.stepMs }] : [];
  });
}

export interface ManagerDoubt {
  readonly at: FleetInstant;
  /** The word of most computers: the manager's clock was moved by that, or stands beside theirs by that. */
  readonly found: 'stepped' | 'beside';
  readonly ms: number;
  readonly computers: number;
}

const READ_DOUBTS = `
SELECT events.received_fleet_ms, events.data FROM events
WHERE events.lane = 'manager' AND events.kind = 'manager-clock-doubted' AND events.received_fleet_ms >= $1
ORDER BY events.received_fleet_ms DESC, events.id DESC LIMIT ${MOST_CHANGES}`;

export async function readDoubts(sql: Sql, since: FleetInstant): Promise<ManagerDoubt[]> {
  const rows = await sql.query<{ received_fleet_ms: number; data: unknown }>(READ_DOUBTS, [Math.floor(since)]);
  return rows.flatMap(({ received_fleet_ms: at, data }): ManagerDoubt[] => {
    if (!isPlainObject(data)) return [];
    const found = data['found'] === 'stepped' ? 'stepped' : 'beside';
    const ms = Number(found === 'stepped' ? data['byMs'] : data['offsetMs']);
    return [{ at: Number(at), found, ms, computers: Number(data['computers']) }];
  });
}

const MOST_OFFSETS = 50;

/** The last steps of the manager's wall clock since then; ascending. */
export async function readWallSteps(sql: Sql, since: FleetInstant): Promise<FleetInstant[]> {
  const rows = await sql.query<{ fleet_ms: number }>(
    `SELECT clock_offsets.fleet_ms FROM clock_offsets WHERE clock_offsets.fleet_ms > $1
     ORDER BY clock_offsets.fleet_ms DESC LIMIT ${MOST_OFFSETS}`,
    [Math.floor(since)],
  );
  return rows.map(({ fleet_ms: at }) => Number(at)).toReversed();
}
