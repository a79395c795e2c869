import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** What a stored report moves in the verdict owner's memory. A hint may only be too early, never too late. */
export interface LivenessHint {
  readonly computerId: string;
  readonly lastSeenAt: FleetInstant;
  readonly contactDueAt: FleetInstant;
  readonly intervalMs: number;
}

export interface LivenessHints {
  /** After the commit of a batch: these computers were heard and are online. */
  heard(hints: readonly LivenessHint[]): void;
  /** After the commit of a change that may bring a deadline nearer or make a computer known: look again soon. */
  reconsider(computerIds: readonly string[]): void;
}
