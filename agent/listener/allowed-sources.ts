import { BlockList, isIP } from 'node:net';

import { plainAddress, withoutZone } from '../../lib/plain-address.js';

/** IPv4 address → MAC address in lower case with colons: the neighbours that the kernel knows. */
export type Neighbours = ReadonlyMap<string, string>;

/**
 * Whether `listenerAllowedSources` lets a peer in: its address is in a CIDR block, or it is an IPv4 neighbour with one
 * of the MAC addresses. An empty list means any. `neighbours` is asked only where the list has a MAC address.
 */
export function isAllowedSource(
  sources: readonly string[],
  address: string | undefined,
  neighbours: () => Neighbours,
): boolean {
  if (sources.length === 0) return true;
  const plain = withoutZone(plainAddress(address ?? ''));
  if (isIP(plain) === 0) return false;
  return isInBlocks(sources, plain) || isNeighbour(sources, plain, neighbours);
}

function isInBlocks(sources: readonly string[], address: string): boolean {
  const version = isIP(address);
  const family = version === 6 ? 'ipv6' : 'ipv4';
  const blocks = new BlockList();
  for (const source of sources) {
    const [net = '', prefix] = source.split('/');
    // A block of IPv6 would match IPv4 by its mapping.
    if (prefix !== undefined && isIP(net) === version) blocks.addSubnet(net, Number(prefix), family);
  }
  return blocks.check(address, family);
}

function isNeighbour(sources: readonly string[], address: string, neighbours: () => Neighbours): boolean {
  const macs = sources.filter((source) => !source.includes('/')).map((mac) => mac.toLowerCase().replaceAll('-', ':'));
  if (macs.length === 0) return false;
  const mac = neighbours().get(address);
  return mac !== undefined && macs.includes(mac);
}

const COMPLETE = 0x2;

/** Reads /proc/net/arp: proc_pid_net(5). Incomplete entries count as none. */
export function parseArpTable(text: string): Neighbours {
  const rows = text.split('\n').slice(1);
  const entries = rows.flatMap((row): [string, string][] => {
    const [address, , flags, mac] = row.split(/\s+/);
    const isComplete = (Number(flags) & COMPLETE) !== 0;
    return address && mac && isComplete ? [[address, mac.toLowerCase()]] : [];
  });
  return new Map(entries);
}
