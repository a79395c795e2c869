import type { Random } from '../../lib/random.js';
import type { AlertWriter } from '../alerts/alert.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { findOpenIncident, MASS_OUTAGE, releaseChildren, saveIncident } from './incident-repository.js';

const REASON = 'silent-together';
/** Children per transaction. */
export const CHILDREN = 2000;

export interface IncidentToOpen {
  readonly factor: string;
  readonly raisedAt: FleetInstant;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Stores incidents: each call is part of one short transaction. */
export interface IncidentWriter {
  /** Answers the incident's id; one of the same factor that is open already is taken up. */
  open(sql: Sql, incident: IncidentToOpen): Promise<string>;
  /** Ends an incident; `detail` is what is told of it from then on. */
  end(sql: Sql, incident: IncidentToEnd): Promise<void>;
  /** Releases some of the children; answers whether there may be more. */
  release(sql: Sql, incidentId: string, at: FleetInstant): Promise<boolean>;
}

export interface IncidentToEnd {
  readonly id: string;
  readonly factor: string;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly sample: readonly string[];
  readonly at: FleetInstant;
}

export function createIncidentWriter({
  alerts,
  random,
}: {
  readonly alerts: AlertWriter;
  readonly random: Random;
}): IncidentWriter {
  const uuid = () => random.uuid();
  return {
    async open(sql, { factor, raisedAt, detail }) {
      const known = await findOpenIncident(sql, factor);
      if (known !== undefined) return known;
      await alerts.raise(sql, [
        { type: MASS_OUTAGE, subject: factor, computerId: null, raisedAt, reason: REASON, detail },
      ]);
      const id = await findOpenIncident(sql, factor);
      if (id === undefined) throw new Error('An incident that was raised is not there');
      return id;
    },
    async end(sql, { id, factor, detail, sample, at }) {
      if (await saveIncident(sql, { id, subject: factor, detail, sample }))
        await alerts.resolve(sql, MASS_OUTAGE, [{ subject: factor, at }]);
    },
    async release(sql, incidentId, at) {
      return (await releaseChildren(sql, incidentId, { at, limit: CHILDREN, uuid })) === CHILDREN;
    },
  };
}
