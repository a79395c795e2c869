import { setMaxListeners } from 'node:events';
import { Problem } from '../../lib/problem.js';
import type { PlanReader } from './dial-plan-query.js';
import { chooseTarget } from './dial-target.js';
import type { ProbeOutcome, ProbeTransport } from './dial-transport.js';

export interface Prober {
  /**
   * Connects once to where the computer's listener is dialled, beside the schedule and in any process: who asks while a
   * connection is under way gets the outcome of that one. Throws `computer-not-found`, or `too-many-requests` while too many
   * others are being probed.
   */
  probe(computerId: string): Promise<ProbeOutcome>;
  /** Cuts those under way. */
  stop(): Promise<void>;
}

export interface ProberDeps {
  readonly plans: Pick<PlanReader, 'read'>;
  readonly transport: ProbeTransport;
}

const MOST_AT_ONCE = 10;
const RETRY_AFTER_SECONDS = 2;

export function createProber({ plans, transport }: ProberDeps): Prober {
  const running = new Map<string, Promise<ProbeOutcome>>();
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal);
  const probe = async (computerId: string): Promise<ProbeOutcome> => {
    const [plan] = await plans.read([computerId]);
    if (!plan) throw new Problem('computer-not-found');
    // A candidate's port is dialled for its proof alone.
    const target = { ...plan.target, candidatePort: null };
    return transport.probe(computerId, () => chooseTarget(target), stopping.signal);
  };
  return {
    probe(computerId) {
      const known = running.get(computerId);
      if (known) return known;
      if (running.size >= MOST_AT_ONCE) {
        const detail = 'Too many computers are being probed at this moment.';
        return Promise.reject(new Problem('too-many-requests', { detail, retryAfterSeconds: RETRY_AFTER_SECONDS }));
      }
      const probing = probe(computerId).finally(() => running.delete(computerId));
      running.set(computerId, probing);
      return probing;
    },
    async stop() {
      stopping.abort(new Error('the manager stops'));
      await Promise.allSettled(running.values());
    },
  };
}
