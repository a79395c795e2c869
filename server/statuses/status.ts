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
  readonly offlineAlert: { readonly raisedAt: FleetInstant; readonly reason: string } | null;
}

/** The one place that stores statuses, their history and the alerts that hang on them. Callers hold the live rows' locks. */
export interface StatusWriter {
  apply(sql: Sql, transitions: readonly StatusTransition[], noticedAt: FleetInstant): Promise<void>;
}
