import type { Random } from '../../lib/random.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** What can happen to an alert that somebody may have to be told of, or that changes whether they are. */
export const ALERT_CHANGES = [
  'raised',
  'resolved',
  'acknowledged',
  'dismissed',
  'snoozed',
  'unsnoozed',
  /** An incident let it go. */
  'incident',
] as const;
export type AlertChangeKind = (typeof ALERT_CHANGES)[number];

export interface AlertChange {
  readonly alertId: string;
  readonly change: AlertChangeKind;
  /** When it was so: of a condition its deadline, not when that was noticed. */
  readonly at: FleetInstant;
}

/** Tells the notice job of alerts that changed, in the transaction that changes them. */
export interface AlertOutbox {
  /** One statement for any number of changes; nothing for none. */
  append(sql: Sql, changes: readonly AlertChange[]): Promise<void>;
}

const APPEND = `
INSERT INTO alert_outbox (id, alert_id, change, at_fleet_ms)
SELECT made.id, made.alert_id, made.change, made.at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS made (id, alert_id, change, at)`;

export function createAlertOutbox({ random }: { readonly random: Pick<Random, 'uuid'> }): AlertOutbox {
  return {
    async append(sql, changes) {
      if (changes.length === 0) return;
      await sql.query(APPEND, [
        changes.map(() => random.uuid()),
        changes.map(({ alertId }) => alertId),
        changes.map(({ change }) => change),
        changes.map(({ at }) => at),
      ]);
    },
  };
}
