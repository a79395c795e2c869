import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Sql } from '../database/sql.js';

export const STATUSES = ['pending', 'online', 'late', 'offline', 'stopped', 'revoked'] as const;
export type Status = (typeof STATUSES)[number];

/** What the stored status of a computer becomes; written by `StatusWriter` alone. */
export interface StatusTransition {
  readonly computerId: string;
  readonly from: Status;
  readonly to: Status;
  /** A reason code of policies/status-model.ts. */
  readonly reason: string;
  /** When the status began by the rule, not when it was noticed. */
  readonly since: FleetInstant;
  readonly offlineAt: FleetInstant | null;
  /** The `computer-offline` alert that is due, or null when none may be open (an open one resolves at `since`). */
  readonly offlineAlert: {
    readonly raisedAt: FleetInstant;
    readonly reason: string;
    /** What an operator wants to see beside the reason; instants in it are shown as RFC 3339. */
    readonly detail?: Readonly<Record<string, unknown>>;
  } | null;
}

/** A stored flag beside the status. */
export const FLAGS = ['isolated', 'degraded'] as const;
export type Flag = (typeof FLAGS)[number];

export interface FlagChange {
  readonly computerId: string;
  readonly flag: Flag;
  readonly on: boolean;
  readonly at: FleetInstant;
}

/** The goodbye of a computer's last report; null when a later report told of none. */
export interface GoodbyeChange {
  readonly computerId: string;
  readonly goodbye: {
    readonly reason: string;
    readonly receivedAt: FleetInstant;
    /** How long it said it would be away, counted from the receipt. */
    readonly expectedBackMs: number | null;
  } | null;
}

/** The one place that stores statuses, their history and the alerts that hang on them. Callers hold the live rows' locks. */
export interface StatusWriter {
  apply(sql: Sql, transitions: readonly StatusTransition[], noticedAt: FleetInstant): Promise<void>;
  /** Sets and clears flags; one that is as it should be already is left alone. */
  setFlags(sql: Sql, changes: readonly FlagChange[]): Promise<void>;
  /** Stores or forgets goodbyes. Write only what differs: it is an update of the status row. */
  setGoodbyes(sql: Sql, changes: readonly GoodbyeChange[]): Promise<void>;
}
