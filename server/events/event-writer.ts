import { toRfc3339 } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import type { Severity } from '../../protocol/heartbeat-messages.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { orderedId } from './ordered-id.js';

/** One row of the event log. What an agent wrote stays data: it is never part of a statement or of a log message. */
export interface NewEvent {
  readonly computerId: string | null;
  /** A lane of the agent's spool, or `manager`. */
  readonly lane: string;
  readonly epoch: string;
  readonly sequence: number;
  /** As claimed, Unix milliseconds, whole. */
  readonly occurredMs: number;
  readonly receivedAt: FleetInstant;
  readonly kind: string;
  readonly code: number | null;
  readonly severity: Severity;
  readonly message: string;
  readonly data: unknown;
}

/** What the manager itself has to say about a computer. */
export interface ManagerEvent {
  readonly computerId: string | null;
  readonly at: FleetInstant;
  readonly kind: string;
  readonly severity: Severity;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface EventWriter {
  /** One statement for any number; none for none. Events of one receipt are listed in the order given. */
  append(sql: Sql, events: readonly NewEvent[]): Promise<void>;
  appendManagerEvents(sql: Sql, events: readonly ManagerEvent[]): Promise<void>;
}

/** Lane and epoch of the manager's own events. */
export const MANAGER_LANE = 'manager';

const INSERT = `
INSERT INTO events (id, partition_at, computer_id, lane, epoch, sequence, occurred_ms, received_fleet_ms,
  kind, code, severity, message, data)
SELECT input.id, input.partition_at, input.computer_id, input.lane, input.epoch, input.sequence, input.occurred_ms,
  input.received_fleet_ms, input.kind, input.code, input.severity, input.message, input.data::jsonb
FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
  $9::text[], $10::integer[], $11::text[], $12::text[], $13::text[])
  AS input (id, partition_at, computer_id, lane, epoch, sequence, occurred_ms, received_fleet_ms,
    kind, code, severity, message, data)`;

export function createEventWriter(deps: {
  readonly random: Random;
  readonly fleetClock: Pick<FleetClock, 'toWall'>;
}): EventWriter {
  const append = async (sql: Sql, events: readonly NewEvent[]): Promise<void> => {
    if (events.length === 0) return;
    await sql.query(INSERT, [
      events.map(({ receivedAt }, index) => orderedId(receivedAt, index, deps.random)),
      events.map(({ receivedAt }) => toRfc3339(deps.fleetClock.toWall(receivedAt))),
      events.map(({ computerId }) => computerId),
      events.map(({ lane }) => lane),
      events.map(({ epoch }) => epoch),
      events.map(({ sequence }) => sequence),
      events.map(({ occurredMs }) => occurredMs),
      events.map(({ receivedAt }) => Math.floor(receivedAt)),
      events.map(({ kind }) => kind),
      events.map(({ code }) => code),
      events.map(({ severity }) => severity),
      events.map(({ message }) => message),
      events.map(({ data }) => (data === undefined || data === null ? null : JSON.stringify(data))),
    ]);
  };
  return {
    append,
    appendManagerEvents: (sql, events) =>
      append(
        sql,
        events.map((event) => toNewEvent(event, deps.fleetClock.toWall(event.at))),
      ),
  };
}

function toNewEvent({ computerId, at, kind, severity, message, data }: ManagerEvent, wallMs: number): NewEvent {
  return {
    computerId,
    lane: MANAGER_LANE,
    epoch: MANAGER_LANE,
    sequence: 0,
    occurredMs: Math.round(wallMs),
    receivedAt: at,
    kind,
    code: null,
    severity,
    message,
    data,
  };
}
