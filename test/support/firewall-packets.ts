import fc from 'fast-check';

import type { Chain, FirewallPlan, Line, Match } from '../../agent/firewall/firewall-plan.js';
import {
  FIREWALL_ACTIONS,
  FIREWALL_DIRECTIONS,
  FIREWALL_PROTOCOLS,
  firewallRule,
  FRAME_TYPES,
  type FirewallDirection,
  type FirewallRule,
} from '../../policies/firewall-rules.js';
import { parseAddress } from '../../policies/ip-ranges.js';
import type { FieldError } from '../../lib/problem.js';

export interface PacketEnd {
  readonly ip: string;
  readonly mac: string;
  readonly port: number;
}

/** A frame as the packet filter sees it. */
export interface Packet {
  readonly direction: FirewallDirection;
  readonly isArp: boolean;
  readonly protocol: number;
  readonly source: PacketEnd;
  readonly destination: PacketEnd;
  readonly state: 'new' | 'established' | 'related' | 'invalid' | 'untracked';
  readonly isReply: boolean;
  readonly icmpType?: number;
  readonly isLoopback?: boolean;
}

const V4 = ['10.0.0.1', '10.0.0.2', '10.0.1.1'];
const V6 = ['fd00::1', 'fd00::2', 'fd01::1'];
const MACS = ['00:11:22:33:44:55', '00:11:22:33:44:66'];
const PORTS = [22, 85, 4118];

const member = <T>(values: readonly T[], maxLength = 2) => fc.uniqueArray(fc.constantFrom(...values), { maxLength });
const endpoint = fc.record(
  {
    ip: member([...V4, '10.0.0.0/24', '10.0.0.2-10.0.1.1', 'fd00::/64', 'fd00::2-fd01::1', '0.0.0.0/0', '::/0']),
    mac: member(MACS),
    ports: member<number | string>([22, '80-90', '4000-5000', 4118]),
  },
  { requiredKeys: [] },
);

/** Rules that the catalogue takes, crowded so that they meet. */
export const someRule: fc.Arbitrary<FirewallRule> = fc
  .record(
    {
      action: fc.constantFrom(...FIREWALL_ACTIONS),
      priority: fc.integer({ min: 0, max: 4 }),
      direction: fc.constantFrom(...FIREWALL_DIRECTIONS),
      frameType: fc.constantFrom(...FRAME_TYPES),
      protocol: fc.constantFrom(...FIREWALL_PROTOCOLS, 6, 47),
      source: endpoint,
      destination: endpoint,
    },
    { requiredKeys: ['action', 'direction'] },
  )
  .map((rule) => rule as FirewallRule)
  .filter((rule) => {
    const errors: FieldError[] = [];
    firewallRule(rule, '#', errors);
    return errors.length === 0;
  });

export const somePacket: fc.Arbitrary<Packet> = fc
  .record({
    direction: fc.constantFrom(...FIREWALL_DIRECTIONS),
    isArp: fc.boolean(),
    protocol: fc.constantFrom(6, 17, 1, 58, 47),
    version: fc.constantFrom(4, 6),
    ends: fc.array(fc.nat({ max: 2 }), { minLength: 6, maxLength: 6 }),
    state: fc.constantFrom('new', 'established', 'related', 'invalid', 'untracked'),
    isReply: fc.boolean(),
  })
  .map(({ version, ends, ...packet }) => {
    const hosts = version === 4 || packet.isArp ? V4 : V6;
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = ends;
    const end = (ip: number, mac: number, port: number): PacketEnd => ({
      ip: hosts[ip] ?? '',
      mac: MACS[mac % 2] ?? '',
      port: PORTS[port] ?? 0,
    });
    return { ...packet, source: end(a, b, c), destination: end(d, e, f), icmpType: 128 } as Packet;
  });

/** Whether a packet passes the chains, line by line. */
export function passesPlan(plan: FirewallPlan, packet: Packet): boolean {
  const chains: readonly Chain[] = packet.isArp ? plan.arp : plan.inet;
  const chain = chains.find(({ name }) => name === packet.direction);
  const line = chain?.lines.find((one: Line) => one.matches.every((match) => matches(match, packet)));
  return line === undefined || line.verdict === 'accept';
}

type Judges = { readonly [K in Match['of']]: (match: Extract<Match, { readonly of: K }>, packet: Packet) => boolean };

const JUDGES: Judges = {
  loopback: (_match, packet) => packet.isLoopback ?? false,
  version: ({ version }, packet) => parseAddress(packet.source.ip)?.version === version,
  address({ end, version, spans }, packet) {
    const address = parseAddress(packet[end].ip);
    const value = address?.value ?? -1n;
    return address?.version === version && spans.some(({ first, last }) => first <= value && value <= last);
  },
  mac: ({ end, macs }, packet) => macs.includes(packet[end].mac),
  protocol: ({ numbers }, packet) => numbers.includes(packet.protocol),
  port: ({ end, spans }, packet) =>
    spans.some(({ first, last }) => first <= packet[end].port && packet[end].port <= last),
  icmpv6: ({ types }, packet) => packet.protocol === 58 && types.includes(packet.icmpType ?? 0),
  state: ({ states }, packet) => states.includes(packet.state),
  reply: (_match, packet) => packet.isReply,
};

function matches(match: Match, packet: Packet): boolean {
  return JUDGES[match.of](match as never, packet);
}
