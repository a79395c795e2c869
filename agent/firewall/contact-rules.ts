import { isIP } from 'node:net';

import type { Routes } from '../transport/manager-transport.js';
import { pathsOf } from '../transport/route-rules.js';
import type { Contact } from './firewall-plan.js';

/** Where the agent's own connections may lead: managers and proxies, by name or address. */
export interface ContactTarget {
  readonly host: string;
  readonly port: number;
}

const MOST_ADDRESSES = 8;

/** Every manager and proxy of the routes, each once. */
export function targetsOf({ inForce, candidate }: Routes, enrolledUrls: readonly string[]): ContactTarget[] {
  const routes = candidate ? [inForce, candidate] : [inForce];
  const ends = routes
    .flatMap((route) => pathsOf({ ...route, fallbackDirect: true }, enrolledUrls))
    .flatMap(({ proxy, manager }) => (proxy ? [proxy, manager] : [manager]));
  return withoutRepeats(ends.map(({ host, port }) => ({ host, port })));
}

export function withoutRepeats(targets: readonly ContactTarget[]): ContactTarget[] {
  return [...new Map(targets.map((target) => [`${target.host} ${target.port}`, target])).values()];
}

export interface ContactFacts {
  readonly targets: readonly ContactTarget[];
  /** What names led to, the newest first. */
  readonly addresses: Readonly<Record<string, readonly string[]>>;
  readonly resolvers: readonly string[] | null;
  readonly gateways: readonly string[];
}

/** Resolvers are needed only where something has a name. */
export function contactOf({ targets, addresses, resolvers, gateways }: ContactFacts): Contact {
  const hasNames = targets.some(({ host }) => isIP(host) === 0);
  return {
    targets: targets.flatMap(({ host, port }) =>
      (isIP(host) === 0 ? (addresses[host] ?? []) : [host]).map((address) => ({ address, port })),
    ),
    resolvers: hasNames ? resolvers : [],
    gateways,
  };
}

/** The newest first; names that share their addresses out in turn are remembered with several. */
export function newestFirst(fresh: readonly string[], known: readonly string[] = []): readonly string[] {
  const added = fresh.filter((address) => !known.includes(address));
  return added.length === 0 ? known : [...added, ...known].slice(0, MOST_ADDRESSES);
}

/** resolv.conf(5): the resolvers that are not on this machine. */
export function parseResolvers(text: string): readonly string[] {
  return text.split('\n').flatMap((line) => {
    const [, address = ''] = /^\s*nameserver\s+([^\s%]+)/.exec(line) ?? [];
    return isIP(address) === 0 || /^127\.|^::1$/.test(address) ? [] : [address];
  });
}

const GATEWAY_FLAG = 0x2;

/** /proc/net/route: the next hops, each once. */
export function parseGateways(text: string): readonly string[] {
  const rows = text.split('\n').slice(1);
  const hops = rows.flatMap((row) => {
    const [, , gateway = '', flags = '0'] = row.split(/\s+/);
    const isHop = (Number.parseInt(flags, 16) & GATEWAY_FLAG) !== 0 && /^[0-9A-F]{8}$/i.test(gateway);
    return isHop ? [[...Buffer.from(gateway, 'hex')].toReversed().join('.')] : [];
  });
  return [...new Set(hops)];
}
