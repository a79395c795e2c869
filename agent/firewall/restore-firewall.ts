import type { DataDirectory } from '../data-directory.js';
import { isolationFile } from './isolation-file.js';
import { planIsolation } from './firewall-plan.js';
import type { PacketFilter } from './nft-program.js';
import { scriptOf } from './nft-text.js';
import { tablesFile } from './tables-file.js';

const NOBODY = { contact: { targets: [], resolvers: [], gateways: [] }, dialledFrom: [], listenerPorts: [] };

/**
 * Loads the agent's tables as they stood, from two small files: for the boot, before there is a network, a database or an
 * agent. Answers whether anything had to stand. Throws what the packet filter throws.
 */
export async function restoreFirewall(
  { directory, owner }: { readonly directory: DataDirectory; readonly owner: string },
  filter: Pick<PacketFilter, 'load'>,
): Promise<boolean> {
  const loaded = tablesFile(directory, owner).read()?.loaded;
  const isolation = isolationFile(directory, owner).read();
  // Stored before it is loaded: until the agent starts, who its manager is need not be known.
  const script = isolation && !loaded?.isIsolation ? scriptOf(planIsolation({ ...NOBODY, ...isolation })) : loaded;
  if (!script) return false;
  await filter.load(script);
  return true;
}
