import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Sql } from '../database/sql.js';
import type { HeldBy, Told } from '../../policies/notice-rules.js';

export const ALERT_STATES = ['raised', 'acknowledged', 'resolved', 'dismissed'] as const;
export type AlertState = (typeof ALERT_STATES)[number];

export interface Alert {
  readonly id: string;
  readonly type: string;
  readonly severity: string;
  readonly state: AlertState;
  readonly computerId: string | null;
  readonly computerName: string | null;
  readonly raisedAt: FleetInstant;
  /** How often the condition began while it was open. */
  readonly occurrences: number;
  readonly closedAt: FleetInstant | null;
  readonly closedBy: string | null;
  readonly acknowledgedAt: FleetInstant | null;
  readonly acknowledgedBy: string | null;
  readonly comment: string | null;
  /** The open incident that gathers it. */
  readonly incidentId: string | null;
  /** The name of the user who looks after it. */
  readonly assignee: string | null;
  readonly snoozedUntil: FleetInstant | null;
  readonly isFlapping: boolean;
  /** What keeps its recipients from being told more. */
  readonly heldBy: HeldBy | null;
  /** What it was decided to tell its recipients; deliveries say whether it arrived. */
  readonly told: Told;
  readonly reason: string;
  readonly detail: Readonly<Record<string, unknown>>;
  /** An incident that reaches beyond the reader's scope: what is told of others is left out. */
  readonly isSeenInPart?: boolean;
}

/** A condition that begins: one open alert per type and subject; a repeat keeps the first time and is counted. */
export interface AlertCondition {
  readonly type: string;
  /** What it is about: a computer id, or `<computer id>/<kind>/<name>` for a component. */
  readonly subject: string;
  readonly computerId: string | null;
  readonly raisedAt: FleetInstant;
  readonly reason: string;
  /** Of the first time; but `latest` in it is what the last repeat that has one says. */
  readonly detail: Readonly<Record<string, unknown>>;
  /** Left out while an alert of this type is open for the subject, or begins in the same call. */
  readonly unlessOpen?: string;
}

/** A condition that ended. */
export interface AlertEnd {
  readonly subject: string;
  readonly at: FleetInstant;
  /** An alert whose detail holds all of this stays open. */
  readonly unless?: Readonly<Record<string, unknown>>;
}

export interface AlertWriter {
  /** Opens what is not open yet; type, severity and on/off come from the table of alert types. */
  raise(sql: Sql, conditions: readonly AlertCondition[]): Promise<void>;
  /**
   * Makes the open alerts of a type these conditions, as which they turned out; the first time stays. Leaves out where another
   * of the new type is open. Answers the subjects whose alert was turned.
   */
  turn(sql: Sql, type: string, conditions: readonly AlertCondition[]): Promise<ReadonlySet<string>>;
  /** Resolves the open alerts of a type for these subjects; none open is no error. */
  resolve(sql: Sql, type: string, ended: readonly AlertEnd[]): Promise<void>;
  /** Keeps a computer's name with all of its alerts: its record is about to be removed. Before `resolveOfComputers`. */
  keepName(sql: Sql, computer: { readonly id: string; readonly name: string }): Promise<void>;
  /** Resolves every open alert about these computers, whatever its type: they were revoked or removed. */
  resolveOfComputers(
    sql: Sql,
    ended: readonly { readonly computerId: string; readonly at: FleetInstant }[],
  ): Promise<void>;
}
