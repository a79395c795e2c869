import { Scope } from '../access/scope.js';
import { containing, keysetOf, mapPage, pageOf, parsePage, type ListOrder, type Page } from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import type { Alert } from './alert.js';
import type { AlertQuery } from './alert-dto.js';
import { alertsSeenBy } from './alert-scope.js';
import { ALERT_COLUMNS, ALERT_TABLES, COMPUTER_NAME, toAlert, type AlertRow } from './alert-repository.js';

export const ALERT_ORDER: ListOrder = {
  list: 'alerts',
  keys: { raisedAt: { column: 'alerts.raised_fleet_ms', type: 'integer' } },
  default: '-raisedAt',
  id: 'alerts.id',
};

/** One page of alerts, newest first unless sorted otherwise. `q` finds part of the computer's name. */
export async function listAlerts(sql: Sql, scope: Scope, query: AlertQuery): Promise<Page<Alert>> {
  const page = parsePage(query, ALERT_ORDER);
  const { conditions, parameters, columns } = filtersOf(scope, query);
  const keyset = keysetOf(page, parameters.length + 2);
  const rows = await sql.query<AlertRow>(
    `SELECT ${ALERT_COLUMNS}, ${columns} FROM ${ALERT_TABLES}
     WHERE ${[...conditions, keyset.condition].join(' AND ')}
     ORDER BY ${keyset.orderBy} LIMIT $${parameters.length + 1}`,
    [...parameters, page.limit + 1, ...keyset.parameters],
  );
  return mapPage(
    pageOf(rows, page, (row) => [row.raised_fleet_ms, row.id]),
    toAlert,
  );
}

interface Filters {
  readonly conditions: readonly string[];
  readonly parameters: readonly unknown[];
  readonly columns: string;
}

function filtersOf(scope: Scope, query: AlertQuery): Filters {
  const seen = alertsSeenBy(scope, 1);
  const conditions = [seen.visible];
  const parameters: unknown[] = [...seen.parameters];
  const equal = (column: string, value: unknown) => {
    if (value !== undefined) conditions.push(`${column} = $${parameters.push(value)}`);
  };
  const inside = (part: Scope, column: string) => {
    const { sql, parameters: more } = part.predicate(column, parameters.length + 1);
    conditions.push(sql);
    parameters.push(...more);
  };
  if (query.policyId !== undefined) {
    inside(Scope.of(query.policyId), 'computers.policy_id');
    // One that the caller may not see may stand above what he sees.
    if (!scope.isAll) inside(scope, `$${parameters.push(query.policyId)}::uuid`);
  }
  equal('alerts.state', query.state);
  equal('alerts.type', query.type);
  equal('alerts.severity', query.severity);
  equal('alerts.computer_id', query.computerId);
  // Who looks after an incident that is seen in part is not told.
  equal(
    scope.isAll ? 'alerts.assignee' : 'CASE WHEN alerts.computer_id IS NOT NULL THEN alerts.assignee END',
    query.assignee,
  );
  equal('alerts.incident_id', query.incidentId);
  equal('alert_notices.held_by', query.heldBy);
  if (query.q !== undefined)
    conditions.push(String.raw`${COMPUTER_NAME} ILIKE $${parameters.push(containing(query.q))} ESCAPE '\'`);
  return { conditions, parameters, columns: seen.columns };
}
