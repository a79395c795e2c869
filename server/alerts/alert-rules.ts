import { Problem, type FieldError } from '../../lib/problem.js';
import { ALERT_TYPES, type AlertType } from '../../policies/status-model.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Alert } from './alert.js';

/** Who acts on an alert, when, and what he or she says. */
export interface AlertAction {
  readonly actorId: string;
  readonly at: FleetInstant;
  readonly comment: string | undefined;
}

/** Somebody has seen it; the condition goes on. Acknowledging again keeps the first time. Throws `alert-already-closed`. */
export function acknowledgeAlert(alert: Alert, { actorId, at, comment }: AlertAction): Alert {
  assertOpen(alert);
  const commented = { ...alert, comment: comment ?? alert.comment };
  if (alert.state === 'acknowledged') return commented;
  return { ...commented, state: 'acknowledged', acknowledgedAt: at, acknowledgedBy: actorId };
}

/** Closes an alert by hand. Throws `alert-already-closed`, and `alert-resolves-itself` for an automatic type. */
export function dismissAlert(alert: Alert, { actorId, at, comment }: AlertAction): Alert {
  assertOpen(alert);
  if (isAutomatic(alert.type))
    throw new Problem('alert-resolves-itself', {
      detail: `An alert of type ${alert.type} ends when its condition ends; acknowledge it instead.`,
    });
  const closedAt = Math.max(at, alert.raisedAt);
  return { ...alert, state: 'dismissed', closedAt, closedBy: actorId, comment: comment ?? alert.comment };
}

/** Nothing is told of it until then; snoozing again moves the instant. Throws `alert-already-closed`. */
export function snoozeAlert(alert: Alert, until: FleetInstant, comment: string | undefined): Alert {
  assertOpen(alert);
  return { ...alert, snoozedUntil: until, comment: comment ?? alert.comment };
}

/** Also of a closed alert: that it closed is told then. */
export function unsnoozeAlert(alert: Alert): Alert {
  return { ...alert, snoozedUntil: null };
}

/** Also of a closed alert, for those who look back. */
export function commentAlert(alert: Alert, comment: string): Alert {
  return { ...alert, comment };
}

/** Null: nobody. Throws `alert-already-closed`. */
export function assignAlert(alert: Alert, assignee: string | null, comment: string | undefined): Alert {
  assertOpen(alert);
  return { ...alert, assignee, comment: comment ?? alert.comment };
}

function assertOpen({ state }: Alert): void {
  if (state !== 'raised' && state !== 'acknowledged')
    throw new Problem('alert-already-closed', { detail: `The alert is ${state}.` });
}

function isAutomatic(type: string): boolean {
  return Object.hasOwn(ALERT_TYPES, type) && ALERT_TYPES[type as AlertType].dismissal === 'automatic';
}

const LONGEST_SNOOZE_MS = 366 * 86_400_000;

/** What is wrong with the wall instant until which an alert is snoozed. */
export function snoozeFaults(until: number, now: number): readonly FieldError[] {
  if (until > now && until <= now + LONGEST_SNOOZE_MS) return [];
  return [{ pointer: '#/until', detail: 'must be in the future, at most a year from now' }];
}
