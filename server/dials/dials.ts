import type { ManagerIdentity } from '../../certs/manager-identity.js';
import type { LivenessHints } from '../heartbeats/liveness-hints.js';
import type { DialMetrics } from './dial-metrics.js';
import type { DialRequests } from './dial-requests.js';
import type { Prober } from './prober.js';

/** The manager's dials: everyone tells it, nobody waits for it. */
export interface Dials extends LivenessHints, DialRequests, Pick<Prober, 'probe'> {
  readonly metrics: DialMetrics;
  /** Shows another key and leaf of the manager's from the next connection on. */
  renew(identity: ManagerIdentity): void;
  start(): Promise<void>;
  /** No new dials; those in flight get a short grace and are then cut; the shards are given back. */
  stop(): Promise<void>;
}
