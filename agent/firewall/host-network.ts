import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';

import { parseGateways, parseResolvers } from './contact-rules.js';

/** What the machine says of its own network. */
export interface HostNetwork {
  /** The addresses of a name; throws what the system reports. */
  lookup(host: string): Promise<readonly string[]>;
  /** Null where they are not known. */
  resolvers(): readonly string[] | null;
  gateways(): readonly string[];
}

/** The second is written by systemd-resolved, which stands in the first with an address of this machine. */
const RESOLV_CONF = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];
const ROUTES = '/proc/net/route';

export const systemNetwork: HostNetwork = {
  async lookup(host) {
    const found = await lookup(host, { all: true });
    return found.map(({ address }) => address);
  },
  resolvers() {
    const known = RESOLV_CONF.map((path) => parseResolvers(readOrNothing(path))).find(({ length }) => length > 0);
    return known ?? null;
  },
  gateways: () => parseGateways(readOrNothing(ROUTES)),
};

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
