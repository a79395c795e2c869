import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

export const MASS_OUTAGE = 'mass-outage';
const OPEN = `('raised', 'acknowledged')`;

export interface StoredIncident {
  readonly id: string;
  /** The key of its factor. */
  readonly subject: string;
  readonly raised_fleet_ms: number;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** The open incidents, oldest first. */
export async function listOpenIncidents(sql: Sql): Promise<StoredIncident[]> {
  return sql.query<StoredIncident>(
    `SELECT id, subject, raised_fleet_ms, detail FROM alerts
     WHERE type = '${MASS_OUTAGE}' AND state IN ${OPEN} ORDER BY raised_fleet_ms, id`,
  );
}

export async function findOpenIncident(sql: Sql, subject: string): Promise<string | undefined> {
  const [row] = await sql.query<{ id: string }>(
    `SELECT id FROM alerts WHERE type = '${MASS_OUTAGE}' AND subject = $1 AND state IN ${OPEN}`,
    [subject],
  );
  return row?.id;
}

/** What ended after an instant, of whatever subject. */
export async function listClosedIncidents(
  sql: Sql,
  since: FleetInstant,
): Promise<{ readonly subject: string; readonly closed_fleet_ms: number }[]> {
  return sql.query(
    `SELECT subject, closed_fleet_ms FROM alerts
     WHERE type = '${MASS_OUTAGE}' AND closed_fleet_ms > $1 ORDER BY closed_fleet_ms, id`,
    [since],
  );
}

/** The computers whose open alerts an incident holds. */
export async function listChildComputers(sql: Sql, incidentId: string): Promise<string[]> {
  const rows = await sql.query<{ computer_id: string }>(
    `SELECT computer_id FROM alerts WHERE incident_id = $1 AND state IN ${OPEN} ORDER BY id`,
    [incidentId],
  );
  return rows.map((row) => row.computer_id);
}

/** Incidents that ended before all of their children were released. */
export async function listUnreleasedIncidents(sql: Sql): Promise<string[]> {
  const rows = await sql.query<{ id: string }>(
    `SELECT DISTINCT incidents.id FROM alerts AS children JOIN alerts AS incidents ON incidents.id = children.incident_id
     WHERE children.incident_id IS NOT NULL AND children.state IN ${OPEN} AND incidents.state NOT IN ${OPEN}
     ORDER BY incidents.id`,
  );
  return rows.map(({ id }) => id);
}

const HOLD_CHILDREN = `
WITH held AS (
  SELECT alerts.id FROM alerts
  WHERE alerts.type = 'computer-offline' AND alerts.state IN ${OPEN} AND alerts.subject = ANY($2::text[])
    AND alerts.incident_id IS DISTINCT FROM $1::uuid
  ORDER BY alerts.id FOR NO KEY UPDATE)
UPDATE alerts SET incident_id = $1::uuid FROM held WHERE held.id = alerts.id`;

/** Puts the open offline alerts of these computers into the incident, out of another one too. */
export async function holdChildren(sql: Sql, incidentId: string, computerIds: readonly string[]): Promise<void> {
  await sql.query(HOLD_CHILDREN, [incidentId, computerIds]);
}

const RELEASE_CHILDREN = `
WITH held AS (
  SELECT alerts.id FROM alerts WHERE alerts.incident_id = $1 AND alerts.state IN ${OPEN}
  ORDER BY alerts.id LIMIT $2 FOR NO KEY UPDATE)
UPDATE alerts SET incident_id = NULL FROM held WHERE held.id = alerts.id RETURNING alerts.id`;

/** Makes at most `limit` open children alerts of their own, and says so in the outbox; answers how many. */
export async function releaseChildren(
  sql: Sql,
  incidentId: string,
  { at, limit, uuid }: { readonly at: FleetInstant; readonly limit: number; readonly uuid: () => string },
): Promise<number> {
  const released = await sql.query<{ id: string }>(RELEASE_CHILDREN, [incidentId, limit]);
  if (released.length === 0) return 0;
  await sql.query(
    `INSERT INTO alert_outbox (id, alert_id, change, at_fleet_ms)
     SELECT told.id, told.alert_id, 'incident', $3::bigint FROM unnest($1::uuid[], $2::uuid[]) AS told (id, alert_id)`,
    [released.map(uuid), released.map(({ id }) => id), at],
  );
  return released.length;
}

/** What an open incident is about now. */
export interface IncidentState {
  readonly id: string;
  readonly subject: string;
  readonly detail: Readonly<Record<string, unknown>>;
  /** A few of the silent computers; their names are told. */
  readonly sample: readonly string[];
}

/** Stores what has changed of an open incident; false when it is open no more. */
export async function saveIncident(sql: Sql, { id, subject, detail, sample }: IncidentState): Promise<boolean> {
  const rows = await sql.query(
    `UPDATE alerts SET subject = $2, detail = $3::jsonb || jsonb_build_object('sample',
       (SELECT coalesce(jsonb_agg(computers.name ORDER BY computers.name, computers.id), '[]'::jsonb)
        FROM computers WHERE computers.id = ANY($4::uuid[])))
     WHERE id = $1 AND state IN ${OPEN} RETURNING id`,
    [id, subject, JSON.stringify(detail), sample],
  );
  return rows.length > 0;
}
