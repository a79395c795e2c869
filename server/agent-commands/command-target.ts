import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { DIAL_ANSWERED } from '../dials/index.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { STANDING_TABLES } from '../statuses/liveness-row.js';
import type { Status } from '../statuses/status.js';
import type { Command } from './command.js';
import { deliveryOf, type Delivery } from './delivery-rules.js';

/** A computer as commands are aimed at it. */
export interface CommandTarget {
  readonly computerId: string;
  readonly status: Status;
  readonly enrolledAt: number | null;
  readonly lastSeenAt: number | null;
  readonly contactDueAt: number | null;
  readonly direction: string | null;
  readonly isListening: boolean;
  /** The agent holds a channel to some process of the manager. */
  readonly isHeld: boolean;
  readonly lastDial: string | null;
}

interface TargetRow {
  readonly computer_id: string;
  readonly status: Status;
  readonly enrolled_fleet_ms: string | number | null;
  readonly last_seen_fleet_ms: string | number | null;
  readonly contact_due_fleet_ms: string | number | null;
  readonly direction: string | null;
  readonly listener_state: string | null;
  readonly last_result: string | null;
  readonly is_held: boolean;
}

/** A computer of the scope. */
export async function findTarget(sql: Sql, scope: Scope, computerId: string): Promise<CommandTarget | undefined> {
  const visible = scope.predicate('computers.policy_id', 2);
  const [row] = await sql.query<TargetRow>(
    `SELECT computers.id AS computer_id, computer_status.status, computers.enrolled_fleet_ms,
       computer_live.last_seen_fleet_ms, computer_live.contact_due_fleet_ms, computer_contacts.direction,
       computer_contacts.listener_state, computer_dials.last_result,
       (channels.state = 'open' AND listeners.generation = channels.generation) IS TRUE AS is_held
     FROM ${STANDING_TABLES}
     LEFT JOIN computer_contacts ON computer_contacts.computer_id = computers.id
     LEFT JOIN computer_dials ON computer_dials.computer_id = computers.id
     LEFT JOIN channels ON channels.computer_id = computers.id
     LEFT JOIN listeners ON listeners.node = channels.listener
     WHERE computers.id = $1 AND ${visible.sql}`,
    [computerId, ...visible.parameters],
  );
  if (!row) return undefined;
  const instant = (value: string | number | null): number | null => (value === null ? null : Number(value));
  return {
    computerId: row.computer_id,
    status: row.status,
    enrolledAt: instant(row.enrolled_fleet_ms),
    lastSeenAt: instant(row.last_seen_fleet_ms),
    contactDueAt: instant(row.contact_due_fleet_ms),
    direction: row.direction,
    isListening: row.listener_state === 'listening',
    isHeld: row.is_held,
    lastDial: row.last_result,
  };
}

const IN_CONTACT: ReadonlySet<Status> = new Set(['online', 'late']);

export interface DeliveryDeps {
  readonly clock: Pick<FleetClock, 'fleet' | 'toWall'>;
}

/** When a command that is still queued reaches its agent; null for one that did, or never will. */
export function deliveryTo(
  target: CommandTarget,
  { state, notBefore }: Pick<Command, 'state' | 'notBefore'>,
  { clock }: DeliveryDeps,
): Delivery | null {
  if (state !== 'queued') return null;
  const wall = (instant: number | null): number | null => (instant === null ? null : clock.toWall(instant));
  return deliveryOf({
    now: clock.toWall(clock.fleet()),
    notBefore: wall(notBefore),
    isEnrolled: target.enrolledAt !== null || target.lastSeenAt !== null,
    isInContact: IN_CONTACT.has(target.status),
    isHeld: target.isHeld,
    isDialled: isDialled(target),
    nextContactAt: wall(target.contactDueAt),
  });
}

/** By `managerInitiated` it is; beside the agent's own connections only where the last dial did not fail. */
function isDialled({ direction, isListening, lastDial }: CommandTarget): boolean {
  if (direction === 'managerInitiated') return true;
  return direction === 'bidirectional' && isListening && (lastDial === null || lastDial === DIAL_ANSWERED);
}
