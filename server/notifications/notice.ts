import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/**
 * What is told of an alert. `reopened` does not exist: a condition that begins again is a new alert. After `flapping`
 * nothing more is told of its computer's outages until they have become rare; then `resolved`, if it is.
 */
export const NOTICE_KINDS = ['raised', 'resolved', 'dismissed', 'acknowledged', 'flapping'] as const;
export type NoticeKind = (typeof NOTICE_KINDS)[number];

/** Something about an alert that its recipients are to know, after everything that keeps alerts calm was weighed. */
export interface Notice {
  readonly alertId: string;
  readonly kind: NoticeKind;
  /** When it was decided to tell it, not when the condition began. */
  readonly at: FleetInstant;
}

/** Routes notices to channels. */
export interface Notifier {
  /** Takes notices into the outbox of deliveries, in the caller's transaction: told if and only if it commits. */
  enqueue(sql: Sql, notices: readonly Notice[]): Promise<void>;
}
