import type { IsolationPeer } from '../../policies/firewall-rules.js';
import type { ExecutorTable } from '../commands/executor.js';
import type { Firewall } from './firewall.js';

/** The commands that cut the computer off and end it. */
export function firewallExecutors(firewall: Pick<Firewall, 'isolate' | 'release' | 'isStored'>): ExecutorTable {
  const stored = () => (firewall.isStored ? {} : { stored: false });
  return {
    isolate: {
      async execute({ allow = [] }, { commandId, releaseDigest }) {
        const peers = allow as readonly IsolationPeer[];
        await firewall.isolate({ commandId, allow: peers, ...(releaseDigest === undefined ? {} : { releaseDigest }) });
        return { isolated: true, ...stored() };
      },
    },
    release: {
      async execute(_args, { commandId }) {
        const changed = await firewall.release('command', commandId);
        return { isolated: false, changed, ...stored() };
      },
    },
  };
}
