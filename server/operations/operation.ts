import type { Actor } from '../access/actor.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { CommandRequest, CheckedRequest } from '../agent-commands/index.js';
import type { AskedFilters } from '../computers/index.js';

/** Which computers an operation is for: all conditions hold; without any, every computer. */
export interface OperationFilter extends AskedFilters {
  readonly computerIds?: readonly string[];
}

/** What is stored of the request: the command as it was checked, so that every target gets the same. */
export interface OperationAction {
  readonly command: CommandRequest & Pick<CheckedRequest, 'priority'>;
  readonly notBefore: FleetInstant | null;
  readonly expiresAt: FleetInstant;
}

export type StoredOperationState = 'queueing' | 'queued' | 'cancelled';
/** `running`: all commands are queued and some have not ended. */
export const OPERATION_STATES = ['queueing', 'running', 'finished', 'cancelled'] as const;
export type OperationState = (typeof OPERATION_STATES)[number];

/** One request for many computers: its commands are queued at a pace. */
export interface Operation {
  readonly id: string;
  readonly state: StoredOperationState;
  readonly filter: OperationFilter;
  readonly action: OperationAction;
  readonly perSecond: number;
  readonly matched: number;
  readonly createdAt: FleetInstant;
  readonly createdBy: Actor;
  /** What whoever began it is bound to: its commands go to computers of that policy and below; null: to any. */
  readonly policyId: string | null;
  /** The last target was queued or passed over. */
  readonly queuedAt: FleetInstant | null;
}

/** `waiting`: not queued yet; `skipped`: never will be. The others are states of its command. */
export const TARGET_STATES = [
  'waiting',
  'skipped',
  'queued',
  'delivered',
  'running',
  'succeeded',
  'failed',
  'expired',
  'cancelled',
] as const;
export type TargetState = (typeof TARGET_STATES)[number];
export type OperationProgress = Readonly<Record<TargetState, number>>;

const OPEN: readonly TargetState[] = ['queued', 'delivered', 'running'];

export function operationStateOf({ state }: Pick<Operation, 'state'>, progress: OperationProgress): OperationState {
  if (state === 'cancelled' || state === 'queueing') return state;
  return OPEN.some((open) => progress[open] > 0) ? 'running' : 'finished';
}
