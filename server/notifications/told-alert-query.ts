import { COMPUTER_NAME } from '../alerts/alert-repository.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { ConcernedComputer } from './routing-rules.js';

/** An alert with what a message tells of it. */
export interface ToldAlert {
  readonly id: string;
  readonly type: string;
  readonly severity: string;
  readonly state: string;
  readonly subject: string;
  readonly computerId: string | null;
  readonly computerName: string | null;
  readonly labels: Readonly<Record<string, string>> | null;
  readonly policyId: string | null;
  readonly policyName: string | null;
  readonly raisedAt: FleetInstant;
  readonly closedAt: FleetInstant | null;
  readonly reason: string;
  readonly occurrences: number;
  readonly comment: string | null;
  readonly assignee: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** The alerts of these ids, by id. */
export async function readToldAlerts(sql: Sql, ids: readonly string[]): Promise<ReadonlyMap<string, ToldAlert>> {
  const rows = await sql.query<ToldAlert>(
    `SELECT alerts.id, alerts.type, alerts.severity, alerts.state, alerts.subject, alerts.computer_id AS "computerId",
       ${COMPUTER_NAME} AS "computerName", computers.labels, computers.policy_id AS "policyId",
       policies.name AS "policyName", alerts.raised_fleet_ms AS "raisedAt", alerts.closed_fleet_ms AS "closedAt",
       alerts.reason, alerts.occurrences, alerts.comment, alerts.assignee, alerts.detail
     FROM alerts LEFT JOIN computers ON computers.id = alerts.computer_id
       LEFT JOIN policies ON policies.id = computers.policy_id
     WHERE alerts.id = ANY($1::uuid[]) ORDER BY alerts.id`,
    [ids],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

interface ConcernedRow {
  readonly alert_id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly lineage: readonly string[];
}

/** The computers that each alert is about; of an incident those of the alerts that it holds. */
export async function readConcerned(
  sql: Sql,
  ids: readonly string[],
): Promise<ReadonlyMap<string, readonly ConcernedComputer[]>> {
  const rows = await sql.query<ConcernedRow>(
    `WITH RECURSIVE concerned AS (
       SELECT alerts.id AS alert_id, computers.policy_id, computers.labels
       FROM alerts JOIN computers ON computers.id = alerts.computer_id WHERE alerts.id = ANY($1::uuid[])
       UNION
       SELECT alerts.incident_id, computers.policy_id, computers.labels
       FROM alerts JOIN computers ON computers.id = alerts.computer_id WHERE alerts.incident_id = ANY($1::uuid[])),
     ancestors AS (
       SELECT policies.id AS leaf, policies.id, policies.parent_id FROM policies
       WHERE policies.id IN (SELECT concerned.policy_id FROM concerned)
       UNION ALL
       SELECT ancestors.leaf, policies.id, policies.parent_id
       FROM ancestors JOIN policies ON policies.id = ancestors.parent_id),
     lineages AS (SELECT ancestors.leaf, array_agg(ancestors.id) AS lineage FROM ancestors GROUP BY ancestors.leaf)
     SELECT concerned.alert_id, concerned.labels, lineages.lineage::text[] AS lineage
     FROM concerned JOIN lineages ON lineages.leaf = concerned.policy_id
     ORDER BY concerned.alert_id`,
    [ids],
  );
  const byAlert = new Map<string, ConcernedComputer[]>();
  for (const { alert_id, labels, lineage } of rows) {
    const known = byAlert.get(alert_id) ?? [];
    byAlert.set(alert_id, known);
    known.push({ labels, lineage });
  }
  return byAlert;
}
