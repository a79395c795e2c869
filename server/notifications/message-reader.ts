import { toRfc3339 } from '../../lib/clock.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ClaimedDelivery } from './delivery-repository.js';
import type { Message, ShownAlert } from './message.js';
import type { ToldAlert } from './told-alert-query.js';

export interface MessageReaderDeps {
  readonly fleetClock: Pick<FleetClock, 'toWall'>;
  /** Where people find the console; undefined: messages carry no links. */
  readonly adminOrigin: string | undefined;
}

export type MessageReader = (
  sql: Sql,
  delivery: Pick<ClaimedDelivery, 'id' | 'kind' | 'alertCount' | 'createdAt'>,
) => Promise<Message>;

/** Reads a delivery as the message that is sent: the same at every attempt. */
export function createMessageReader({ fleetClock, adminOrigin }: MessageReaderDeps): MessageReader {
  const shown = (instant: number): string => toRfc3339(fleetClock.toWall(instant));
  const toShown = (alert: ToldAlert): ShownAlert => ({
    id: alert.id,
    type: alert.type,
    severity: alert.severity,
    state: alert.state,
    computer:
      alert.computerId === null || alert.computerName === null
        ? null
        : { id: alert.computerId, name: alert.computerName },
    policy:
      alert.policyId === null || alert.policyName === null ? null : { id: alert.policyId, name: alert.policyName },
    subject: alert.subject,
    raisedAt: shown(alert.raisedAt),
    closedAt: alert.closedAt === null ? null : shown(alert.closedAt),
    reason: alert.reason,
    occurrences: alert.occurrences,
    comment: alert.comment,
    assignee: alert.assignee,
    detail: alert.detail,
    url: adminOrigin === undefined ? null : `${adminOrigin}/alerts/${alert.id}`,
  });
  return async (sql, { id, kind, alertCount, createdAt }) => {
    const rows = await sql.query<{ shown: ToldAlert }>(
      `SELECT listed.shown FROM notification_delivery_alerts listed
       WHERE listed.delivery_id = $1 ORDER BY listed.position, listed.alert_id`,
      [id],
    );
    const alerts = rows.map((row) => toShown(row.shown));
    return { id, kind, timestamp: shown(createdAt), alerts, more: Math.max(0, alertCount - alerts.length) };
  };
}
