import { createClaimedJob } from '../scheduler/claimed-job.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import { createIncidentJob, type IncidentJob, type IncidentJobDeps } from './incident-job.js';

export interface IncidentsDeps extends Omit<IncidentJobDeps, 'job'> {
  /** Who claims: the same after a restart. */
  readonly node: string;
  readonly inTransaction: HotTransaction;
}

/** The job that gathers what falls silent together. */
export function composeIncidents({ node, inTransaction, ...deps }: IncidentsDeps): IncidentJob {
  const job = createClaimedJob({ name: 'incidents', owner: node, inTransaction, fleetClock: deps.fleetClock });
  return createIncidentJob({ ...deps, job });
}
