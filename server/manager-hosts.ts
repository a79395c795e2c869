import { hostname, networkInterfaces } from 'node:os';
import type { Config } from './config.js';

/** Names and addresses that the manager's certificates carry: the configured ones and those of this machine. */
export function certificateHosts({ publicHosts, adminHost, agentHost }: Config): readonly string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const usable = addresses.filter(({ scopeid }) => !scopeid).map(({ address }) => address);
  const bound = [adminHost, agentHost].filter((host) => host !== undefined && !isWildcard(host));
  return [...new Set([...publicHosts, ...bound, 'localhost', hostname(), ...usable])].filter(
    (host) => host !== undefined,
  );
}

/** The host by which this manager is shown to agents. */
export function shownAgentHost({ publicHosts, agentHost }: Config): string {
  const [first] = publicHosts;
  if (first !== undefined) return first;
  return agentHost === undefined || isWildcard(agentHost) ? 'localhost' : agentHost;
}

/** Where this process reaches its own agent port. */
export function ownAgentHost({ agentHost }: Pick<Config, 'agentHost'>): string {
  if (agentHost === undefined || agentHost === '0.0.0.0') return '127.0.0.1';
  return agentHost === '::' ? '::1' : agentHost;
}

/** `https://host:port`, with brackets around an IPv6 address. */
export function agentUrlOf(host: string, port: number): string {
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
