import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** `queued`, `delivered` and `running` are open; the others end it. */
export const COMMAND_STATES = [
  'queued',
  'delivered',
  'running',
  'succeeded',
  'failed',
  'expired',
  'cancelled',
] as const;
export type CommandState = (typeof COMMAND_STATES)[number];

export function isOpen(state: CommandState): boolean {
  return state === 'queued' || state === 'delivered' || state === 'running';
}

/** An operation for one agent. Whoever changes one holds the lock of its computer's live row. */
export interface Command {
  readonly id: string;
  readonly computerId: string;
  /** Counts the computer's commands. */
  readonly number: number;
  readonly type: string;
  readonly args: unknown;
  /** 0 to 9; higher goes first. */
  readonly priority: number;
  readonly state: CommandState;
  /** Whether its `notBefore` has come. */
  readonly isDue: boolean;
  readonly idempotencyKey: string | null;
  readonly requestDigest: Buffer;
  readonly operationId: string | null;
  readonly createdBy: string;
  readonly queuedAt: FleetInstant;
  readonly notBefore: FleetInstant | null;
  readonly expiresAt: FleetInstant;
  /** First put into orders. */
  readonly deliveredAt: FleetInstant | null;
  /** The agent told that it has it. */
  readonly acknowledgedAt: FleetInstant | null;
  readonly startedAt: FleetInstant | null;
  readonly endedAt: FleetInstant | null;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly result: unknown;
}

/** The part of a command that exchanges change. */
export type CommandProgress = Pick<
  Command,
  'state' | 'deliveredAt' | 'acknowledgedAt' | 'startedAt' | 'endedAt' | 'reason' | 'detail' | 'result'
>;
