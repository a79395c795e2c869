export { composeIncidents, type IncidentsDeps } from './compose-incidents.js';
export type { IncidentJob } from './incident-job.js';
export { createStatusNudge, nudging, type StatusNudge } from './status-nudge.js';
