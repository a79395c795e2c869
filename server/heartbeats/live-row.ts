import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { SettingsSubject } from '../policies/settings-cache.js';

/** A computer's row of the hot table. Fingerprints are lower-case hex. */
export interface LiveRow {
  readonly computerId: string;
  readonly lastSeenAt: FleetInstant | null;
  /** The last report over a connection that the agent opened. */
  readonly seenByAgentAt: FleetInstant | null;
  /** The last one over a dial of the manager's; null once the agent reported that it does not listen. */
  readonly seenByDialAt: FleetInstant | null;
  readonly contactDueAt: FleetInstant | null;
  /** What the agent runs on by its own word. */
  readonly confirmedIntervalMs: number | null;
  /** The longest interval delivered and not confirmed yet. */
  readonly deliveredIntervalMs: number | null;
  /** The settings that the last answer carried; null where it carried none. */
  readonly deliveredFingerprint: string | null;
  readonly sequence: number;
  readonly reportId: string | null;
  readonly reportDigest: Buffer | null;
  readonly bootId: string | null;
  readonly instanceId: string | null;
  readonly tokenN: number;
  readonly appliedFingerprint: string | null;
  readonly pendingContacts: number;
  /** Null until facts and components of this state are stored. */
  readonly stateDigest: Buffer | null;
  /** When the last report was answered; null when a repeat was answered since. */
  readonly answeredAt: FleetInstant | null;
  /** Agent's wall clock less the fleet clock: no step of the manager's clock moves it. */
  readonly clockOffsetMs: number | null;
  /** Null where only one way is known. */
  readonly clockErrorMs: number | null;
  /** When the exchange was that the offset is of. */
  readonly clockSampledAt: FleetInstant | null;
  /** It stands beside the manager's: `clock-drift` is open, or an open `clock-changed` covers it. */
  readonly isClockDrifting: boolean;
  /** Commands are due that the agent has not told it has. */
  readonly hasCommands: boolean;
  /** The agent has commands whose results are not told yet. */
  readonly awaitsResults: boolean;
}

/** What a batch reads of a computer when it locks its row. */
export interface LockedComputer {
  readonly live: LiveRow;
  readonly subject: SettingsSubject;
  /** By its status or by its certificate's serial. */
  readonly isRevoked: boolean;
  /** The certificate was issued to take the place of another, and no report came by it yet. */
  readonly isFirstUse: boolean;
}

/** The longest interval that the agent may be running on. */
export function intervalInForce(row: Pick<LiveRow, 'confirmedIntervalMs' | 'deliveredIntervalMs'>): number {
  return Math.max(row.confirmedIntervalMs ?? 0, row.deliveredIntervalMs ?? 0);
}
