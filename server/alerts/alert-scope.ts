import type { Scope } from '../access/scope.js';
import type { Alert } from './alert.js';

const INCIDENT = 'mass-outage';
/** What stands for a factor that names a policy which the reader may not see. */
export const HIDDEN_FACTOR = 'policies above those that you may see';

/** What a reader sees of alerts, to be put into a statement over `ALERT_TABLES`. */
export interface AlertsSeen {
  readonly visible: string;
  readonly columns: string;
  readonly parameters: readonly unknown[];
}

/** Columns of `AlertsSeen`. */
export interface SeenColumns {
  /** An incident, of which the reader sees only what concerns the scope. */
  readonly is_seen_in_part: boolean;
  /** The computers of the scope whose alerts it holds. */
  readonly children_seen: number | null;
  readonly factor_seen: string | null;
}

/** Alerts about computers of the scope, and the incidents that hold one of them. Parameters are numbered from `first`. */
export function alertsSeenBy(scope: Scope, first: number): AlertsSeen {
  if (scope.isAll) {
    const columns = 'FALSE AS is_seen_in_part, NULL::integer AS children_seen, NULL::text AS factor_seen';
    return { visible: 'TRUE', columns, parameters: [] };
  }
  const own = scope.predicate('computers.policy_id', first);
  // The same parameters: they are numbered alike.
  const held = `FROM alerts AS child JOIN computers AS held ON held.id = child.computer_id
    WHERE child.incident_id = alerts.id AND ${scope.predicate('held.policy_id', first).sql}`;
  const isIncident = `alerts.type = '${INCIDENT}'`;
  return {
    visible: `(${own.sql} OR (${isIncident} AND EXISTS (SELECT ${held})))`,
    columns: `alerts.computer_id IS NULL AS is_seen_in_part,
      CASE WHEN ${isIncident} THEN (SELECT count(*)::integer ${held}) END AS children_seen,
      CASE WHEN ${isIncident} THEN ${shownFactor(scope, 'alerts.subject', first).sql} END AS factor_seen`,
    parameters: own.parameters,
  };
}

/** An incident's subject as SQL; a policy that the scope does not hold is not named. */
export function shownFactor(
  scope: Scope,
  subject: string,
  first: number,
): { readonly sql: string; readonly parameters: readonly unknown[] } {
  if (scope.isAll) return { sql: subject, parameters: [] };
  const { sql, parameters } = scope.predicate(`split_part(${subject}, '/', 2)::uuid`, first);
  const isOfPolicy = `split_part(${subject}, '/', 1) IN ('policy', 'policySubtree')`;
  return {
    sql: `CASE WHEN ${isOfPolicy} THEN CASE WHEN ${sql} THEN ${subject} ELSE '${HIDDEN_FACTOR}' END ELSE ${subject} END`,
    parameters,
  };
}

/** The alert without what tells of others: whom else it concerns, and what was said and done about it. */
export function seenInPart(alert: Alert, { children_seen: children, factor_seen: subject }: SeenColumns): Alert {
  const end = (subject ?? '').indexOf('/');
  const factor = end < 0 ? { factor: subject } : { factor: subject?.slice(0, end), value: subject?.slice(end + 1) };
  const hidden = { acknowledgedAt: null, acknowledgedBy: null, comment: null, assignee: null, snoozedUntil: null };
  return { ...alert, ...hidden, isSeenInPart: true, occurrences: 1, detail: { ...factor, children: children ?? 0 } };
}
