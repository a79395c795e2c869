import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { HeldIncident } from './held-incident.js';
import {
  listChildComputers,
  listClosedIncidents,
  listOpenIncidents,
  type StoredIncident,
} from './incident-repository.js';
import type { Remembered } from './silence-memory.js';

/** The longest window of silence: two days of heartbeats. */
const ENDED_MS = 2 * 86_400_000;

/** What another process, or an earlier life of this one, has stored of incidents. */
export async function recallIncidents(
  sql: Sql,
  fleetClock: Pick<FleetClock, 'fleet' | 'toFleet'>,
): Promise<Remembered> {
  const stored = await listOpenIncidents(sql);
  const childOf = new Map<string, string>();
  for (const { id } of stored) for (const computerId of await listChildComputers(sql, id)) childOf.set(computerId, id);
  const ended = await listClosedIncidents(sql, fleetClock.fleet() - ENDED_MS);
  return {
    incidents: stored.map((incident) => toIncident(incident, fleetClock)),
    childOf,
    ended: ended.map(({ subject, closed_fleet_ms }) => ({ factor: subject, closedAt: closed_fleet_ms })),
  };
}

function toIncident(stored: StoredIncident, clock: Pick<FleetClock, 'toFleet'>): HeldIncident {
  const { id, subject, raised_fleet_ms: raisedAt, detail } = stored;
  const since = typeof detail['since'] === 'string' ? clock.toFleet(Date.parse(detail['since'])) : raisedAt;
  const peak = typeof detail['peak'] === 'number' ? detail['peak'] : 0;
  return new HeldIncident({ id, factor: subject, raisedAt, since, peak });
}
