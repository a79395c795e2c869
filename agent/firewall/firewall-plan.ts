import {
  portSpan,
  versionsOf,
  type FirewallDirection,
  type FirewallProtocol,
  type IsolationPeer,
} from '../../policies/firewall-rules.js';
import { speaksOfArp, speaksOfIp, type EffectiveRule, type FirewallSet } from '../../policies/firewall-set.js';
import { mergeSpans, parseAddress, parseIpRange, type Span } from '../../policies/ip-ranges.js';

export type ConnectionState = 'new' | 'established' | 'related' | 'untracked' | 'invalid';

/** One thing that a frame must be for a line to decide it. */
export type Match =
  | { readonly of: 'loopback' }
  | { readonly of: 'version'; readonly version: 4 | 6 }
  | { readonly of: 'address'; readonly end: End; readonly version: 4 | 6; readonly spans: readonly Span<bigint>[] }
  | { readonly of: 'mac'; readonly end: End; readonly macs: readonly string[] }
  | { readonly of: 'protocol'; readonly numbers: readonly number[] }
  | { readonly of: 'port'; readonly end: End; readonly spans: readonly Span<number>[] }
  | { readonly of: 'icmpv6'; readonly types: readonly number[] }
  | { readonly of: 'state'; readonly states: readonly ConnectionState[] }
  /** An answer within its connection. */
  | { readonly of: 'reply' };
export type End = 'source' | 'destination';

/** Decides a frame that matches all of it. */
export interface Line {
  readonly matches: readonly Match[];
  readonly verdict: 'accept' | 'drop';
}

/** What no line decides passes. */
export interface Chain {
  readonly name: 'incoming' | 'outgoing' | 'forwarded';
  readonly lines: readonly Line[];
}

/** The agent's tables: `arp` is empty where no rule speaks of ARP. */
export interface FirewallPlan {
  readonly inet: readonly Chain[];
  readonly arp: readonly Chain[];
}

/** What stays possible whatever the rules: the agent's way to its manager. Addresses are literals. */
export interface Contact {
  /** Managers and proxies. */
  readonly targets: readonly { readonly address: string; readonly port: number }[];
  /** Resolvers; null where they are not known, and any may be asked. */
  readonly resolvers: readonly string[] | null;
  /** The next hops of IPv4. */
  readonly gateways: readonly string[];
}

const TCP = 6;
const UDP = 17;
const NUMBERS: Readonly<Record<string, number>> = { TCP, UDP, ICMP: 1, ICMPv6: 58 };
const DNS_PORT = 53;

const accept = (...matches: readonly Match[]): Line => ({ matches, verdict: 'accept' });
const drop = (...matches: readonly Match[]): Line => ({ matches, verdict: 'drop' });
const loopback: Match = { of: 'loopback' };
const reply: Match = { of: 'reply' };
const state = (...states: readonly ConnectionState[]): Match => ({ of: 'state', states });
const protocol = (...numbers: readonly number[]): Match => ({ of: 'protocol', numbers });
const ports = (end: End, first: number, last = first): Match => ({ of: 'port', end, spans: [{ first, last }] });
const address = (end: End, literal: string): Match[] => {
  const parsed = parseAddress(literal);
  if (!parsed) return [];
  const { version, value } = parsed;
  return [{ of: 'address', end, version, spans: [{ first: value, last: value }] }];
};
const CONNECTED = state('established', 'related');

/** The chains of a set of rules, what keeps the agent in contact before them. */
export function planRules(set: FirewallSet, contact: Contact): FirewallPlan {
  return {
    inet: DIRECTIONS.map((direction) => ({
      name: direction,
      lines: [
        ...alwaysPassing(direction, contact),
        accept(state('related')),
        accept(state('established'), reply),
        ...set.rules.filter((rule) => rule.direction === direction && speaksOfIp(rule)).flatMap(linesOf),
        ...(set.closed[direction].ip ? [accept(protocol(NUMBERS['ICMPv6'] ?? 0)), drop()] : []),
      ],
    })),
    arp: planArp(set, contact),
  };
}

const DIRECTIONS: readonly FirewallDirection[] = ['incoming', 'outgoing'];

function planArp({ rules, closed }: FirewallSet, contact: Contact): Chain[] {
  if (!rules.some(speaksOfArp)) return [];
  const peers = [...contact.targets.map((target) => target.address), ...(contact.resolvers ?? []), ...contact.gateways];
  return DIRECTIONS.map((direction) => {
    const end: End = direction === 'incoming' ? 'source' : 'destination';
    return {
      name: direction,
      lines: [
        ...arpSpans(peers).map((spans) => accept({ of: 'address', end, version: 4, spans })),
        ...rules.filter((rule) => rule.direction === direction && speaksOfArp(rule)).map(arpLine),
        ...(closed[direction].arp ? [drop()] : []),
      ],
    };
  });
}

function arpSpans(peers: readonly string[]): (readonly Span<bigint>[])[] {
  const values = peers.map(parseAddress).filter((parsed) => parsed?.version === 4);
  const spans = mergeSpans(values.map((parsed) => ({ first: parsed?.value ?? 0n, last: parsed?.value ?? 0n })));
  return spans.length > 0 ? [spans] : [];
}

/** Whom an isolated computer goes on talking with. */
export interface IsolationFacts {
  readonly contact: Contact;
  /** Addresses that managers dial from, and the ports where the agent waits for them. */
  readonly dialledFrom: readonly string[];
  readonly listenerPorts: readonly number[];
  readonly allow: readonly IsolationPeer[];
}

/** In the tables of an isolated computer alone. */
export const ISOLATING_CHAIN = 'forwarded';

/**
 * The chains of an isolated computer: loopback, manager, proxies, their names and the allow-list; nothing else, not even
 * within connections that are open already, and nothing that it would forward.
 */
export function planIsolation(facts: IsolationFacts): FirewallPlan {
  return {
    inet: [
      ...DIRECTIONS.map((direction) => ({
        name: direction,
        lines: [
          ...alwaysPassing(direction, facts.contact),
          ...(direction === 'incoming' ? [accept(state('related'), protocol(1, 58))] : []),
          ...facts.dialledFrom.flatMap((peer) => dialLines(peer, facts.listenerPorts, direction)),
          ...facts.allow.flatMap((peer) => peerLines(peer, direction)),
          drop(),
        ],
      })),
      { name: ISOLATING_CHAIN, lines: [drop()] },
    ],
    arp: [],
  };
}

function dialLines(peer: string, listenerPorts: readonly number[], direction: FirewallDirection): Line[] {
  const where = address(direction === 'incoming' ? 'source' : 'destination', peer);
  if (!isSome(where)) return [];
  return listenerPorts.map((port) =>
    direction === 'incoming'
      ? accept(...where, protocol(TCP), ports('destination', port))
      : accept(...where, protocol(TCP), ports('source', port), CONNECTED),
  );
}

/** Both ways: this computer may ask the peer on these ports, and the peer this computer. */
function peerLines(peer: IsolationPeer, direction: FirewallDirection): Line[] {
  const range = parseIpRange(peer.ip);
  if (!range) return [];
  const end: End = direction === 'incoming' ? 'source' : 'destination';
  const who: Match[] = [{ of: 'address', end, version: range.version, spans: [range] }, ...kindOf(peer)];
  const spans = portSpans(peer.ports ?? []);
  if (spans.length === 0) return [accept(...who)];
  return [
    accept(...who, { of: 'port', end: 'destination', spans }),
    accept(...who, { of: 'port', end: 'source', spans }, CONNECTED),
  ];
}

function kindOf({ ports: members = [], protocol: of = 'any' }: IsolationPeer): Match[] {
  if (of !== 'any') return [protocol(numberOf(of))];
  return members.length > 0 ? [protocol(TCP, UDP)] : [];
}

/** Neighbours, routers, the lease of the own address, resolvers, and the managers and proxies themselves. */
function alwaysPassing(direction: FirewallDirection, { targets, resolvers }: Contact): Line[] {
  const isIncoming = direction === 'incoming';
  const peer: End = isIncoming ? 'source' : 'destination';
  const own: End = isIncoming ? 'destination' : 'source';
  const known = isIncoming ? [CONNECTED] : [];
  const asked = resolvers === null ? [[]] : resolvers.map((resolver) => address(peer, resolver)).filter(isSome);
  return [
    accept(loopback),
    accept({ of: 'icmpv6', types: isIncoming ? NEIGHBOUR_IN : NEIGHBOUR_OUT }),
    ...LEASES.map(({ version, server, client }) =>
      accept({ of: 'version', version }, protocol(UDP), ports(peer, server), ports(own, client)),
    ),
    ...targets.flatMap((target) => {
      const where = address(peer, target.address);
      return isSome(where) ? [accept(...where, protocol(TCP), ports(peer, target.port), ...known)] : [];
    }),
    ...asked.map((where) => accept(...where, protocol(TCP, UDP), ports(peer, DNS_PORT), ...known)),
  ];
}

function isSome(matches: readonly Match[]): boolean {
  return matches.length > 0;
}

/** Packet too big, neighbour and router discovery (RFC 4443, 4861), and the groups that they are heard in (RFC 3810). */
const NEIGHBOUR_IN = [2, 130, 134, 135, 136, 137];
const NEIGHBOUR_OUT = [2, 131, 132, 133, 135, 136, 143];
/** DHCP (RFC 2131, 8415). */
const LEASES = [
  { version: 4, server: 67, client: 68 },
  { version: 6, server: 547, client: 546 },
] as const;

/** The lines of a rule about IP, one for each version that it names addresses of. */
export function linesOf(rule: EffectiveRule): Line[] {
  const { source, destination, frameType } = rule;
  const versions = versionsOf(frameType, rule.protocol);
  const isAnyVersion = versions.length === 2 && source.ip.length === 0 && destination.ip.length === 0;
  if (isAnyVersion) return [lineOf(rule, [])];
  return versions.flatMap((version) => {
    const ends = ENDS.map((end) => ({
      end,
      spans: addressSpans(rule[end].ip, version),
      isAny: rule[end].ip.length === 0,
    }));
    if (ends.some(({ spans, isAny }) => !isAny && spans.length === 0)) return [];
    const where = ends.flatMap(({ end, spans, isAny }): Match[] =>
      isAny ? [] : [{ of: 'address', end, version, spans }],
    );
    return [lineOf(rule, where.length > 0 ? where : [{ of: 'version', version }])];
  });
}

const ENDS: readonly End[] = ['source', 'destination'];
/** What tracking cannot make sense of is passed by bypass rules alone. */
const SENSIBLE = state('new', 'established', 'related', 'untracked');

function lineOf(rule: EffectiveRule, where: readonly Match[]): Line {
  const { action, protocol: of } = rule;
  const matches: Match[] = [...where, ...macMatches(rule)];
  if (of !== 'any') matches.push(protocol(numberOf(of)));
  for (const end of ENDS) {
    const spans = portSpans(rule[end].ports);
    if (spans.length > 0) matches.push({ of: 'port', end, spans });
  }
  if (action === 'allow' || action === 'forceAllow') matches.push(SENSIBLE);
  return { matches, verdict: action === 'deny' ? 'drop' : 'accept' };
}

function arpLine(rule: EffectiveRule): Line {
  const where = ENDS.flatMap((end): Match[] => {
    const spans = addressSpans(rule[end].ip, 4);
    return spans.length > 0 ? [{ of: 'address', end, version: 4, spans }] : [];
  });
  return { matches: [...where, ...macMatches(rule)], verdict: rule.action === 'deny' ? 'drop' : 'accept' };
}

function macMatches(rule: EffectiveRule): Match[] {
  return ENDS.flatMap((end): Match[] => (rule[end].mac.length > 0 ? [{ of: 'mac', end, macs: rule[end].mac }] : []));
}

function addressSpans(members: readonly string[], version: 4 | 6): Span<bigint>[] {
  const ranges = members.map(parseIpRange).filter((range) => range !== undefined);
  return mergeSpans(ranges.filter((range) => range.version === version));
}

function portSpans(members: readonly (number | string)[]): Span<number>[] {
  return mergeSpans(members.map(portSpan).filter((span) => span !== undefined));
}

function numberOf(of: FirewallProtocol): number {
  return typeof of === 'number' ? of : (NUMBERS[of] ?? 0);
}
