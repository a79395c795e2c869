import type { FieldError } from '../lib/problem.js';
import {
  array,
  escapePointer,
  integer,
  isPlainObject,
  object,
  oneOf,
  optional,
  string,
  type Schema,
} from '../lib/schema.js';
import { parseIpRange } from './ip-ranges.js';

export const FIREWALL_ACTIONS = ['allow', 'deny', 'forceAllow', 'bypass'] as const;
export type FirewallAction = (typeof FIREWALL_ACTIONS)[number];
export const FIREWALL_DIRECTIONS = ['incoming', 'outgoing'] as const;
export type FirewallDirection = (typeof FIREWALL_DIRECTIONS)[number];
export const FRAME_TYPES = ['any', 'IP', 'IPv4', 'IPv6', 'ARP'] as const;
export type FrameType = (typeof FRAME_TYPES)[number];
export const FIREWALL_PROTOCOLS = ['any', 'TCP', 'UDP', 'ICMP', 'ICMPv6'] as const;
/** A name, or a number of the registry of protocol numbers (0 to 255). */
export type FirewallProtocol = (typeof FIREWALL_PROTOCOLS)[number] | number;
export const HIGHEST_PRIORITY = 4;

/** Absent and empty lists match everything. */
export interface FirewallEndpoint {
  /** Addresses, CIDR blocks and ranges `a-b`. */
  readonly ip?: readonly string[];
  readonly mac?: readonly string[];
  /** Numbers and ranges `"a-b"`. */
  readonly ports?: readonly (number | string)[];
}

/** One rule of the setting `firewallRules`. */
export interface FirewallRule {
  readonly name?: string;
  readonly action: FirewallAction;
  /** 0 unless given. */
  readonly priority?: number;
  readonly direction: FirewallDirection;
  /** `IP` unless given. */
  readonly frameType?: FrameType;
  /** `any` unless given. */
  readonly protocol?: FirewallProtocol;
  readonly source?: FirewallEndpoint;
  readonly destination?: FirewallEndpoint;
}

/** What an isolated computer may go on talking with, to and from these ports. */
export interface IsolationPeer {
  readonly ip: string;
  readonly ports?: readonly (number | string)[];
  readonly protocol?: FirewallProtocol;
}

const MEMBERS_MAX = 100;
const TEXT_MAX = 100;
/** Of a whole list of rules, serialised: it travels in one document with the other settings. */
export const FIREWALL_RULES_LENGTH = 200_000;
const MAC = /^[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}$/i;

const ipText: Schema<string> = checked(
  (text) => parseIpRange(text) !== undefined,
  'must be an address, a CIDR block or a range such as 10.0.0.1, fd00::/8 or 10.0.0.1-10.0.0.9',
);
const macText: Schema<string> = checked((text) => MAC.test(text), 'must be a MAC address such as 00:11:22:aa:bb:cc');

function checked(accepts: (text: string) => boolean, says: string): Schema<string> {
  return (value, pointer, errors) => {
    if (typeof value === 'string' && value.length <= TEXT_MAX && accepts(value)) return value;
    errors.push({ pointer, detail: says });
    return undefined;
  };
}

/** The ports from `first` to `last`; undefined where the member says none. */
export function portSpan(member: unknown): { readonly first: number; readonly last: number } | undefined {
  if (typeof member === 'number') return isPort(member) ? { first: member, last: member } : undefined;
  const [, from, to] = (typeof member === 'string' ? /^(\d{1,5})-(\d{1,5})$/.exec(member) : undefined) ?? [];
  const [first, last] = [Number(from), Number(to)];
  return from !== undefined && isPort(first) && isPort(last) && first <= last ? { first, last } : undefined;
}

function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 65_535;
}

const port: Schema<number | string> = (value, pointer, errors) => {
  if (portSpan(value)) return value as number | string;
  errors.push({ pointer, detail: 'must be a port from 0 to 65535 or a range such as "8000-8080"' });
  return undefined;
};

const protocol: Schema<FirewallProtocol> = (value, pointer, errors) => {
  const isNumber = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 255;
  if (isNumber || FIREWALL_PROTOCOLS.some((name) => name === value)) return value as FirewallProtocol;
  errors.push({ pointer, detail: `must be one of ${FIREWALL_PROTOCOLS.join(', ')} or a number from 0 to 255` });
  return undefined;
};

/** Names each member that the inner schema would silently ignore: a mistyped member of a rule must not be lost. */
function strict<T>(known: readonly string[], inner: Schema<T>): Schema<T> {
  return (value, pointer, errors) => {
    for (const key of isPlainObject(value) ? Object.keys(value) : [])
      if (!known.includes(key))
        errors.push({
          pointer: `${pointer}/${escapePointer(key)}`,
          detail: `is not known here; known are ${known.join(', ')}`,
        });
    return inner(value, pointer, errors);
  };
}

const endpoint: Schema<FirewallEndpoint> = strict(
  ['ip', 'mac', 'ports'],
  object({
    ip: optional(array(ipText, MEMBERS_MAX)),
    mac: optional(array(macText, MEMBERS_MAX)),
    ports: optional(array(port, MEMBERS_MAX)),
  }),
) as Schema<FirewallEndpoint>;

const plainRule = strict(
  ['name', 'action', 'priority', 'direction', 'frameType', 'protocol', 'source', 'destination'],
  object({
    name: optional(string({ min: 1, max: 128 })),
    action: oneOf(...FIREWALL_ACTIONS),
    priority: optional(integer(0, HIGHEST_PRIORITY)),
    direction: oneOf(...FIREWALL_DIRECTIONS),
    frameType: optional(oneOf(...FRAME_TYPES)),
    protocol: optional(protocol),
    source: optional(endpoint),
    destination: optional(endpoint),
  }),
) as Schema<FirewallRule>;

/** A rule of which every field is right and which its fields together allow to match something. */
export const firewallRule: Schema<FirewallRule> = (value, pointer, errors) => {
  const before = errors.length;
  const rule = plainRule(value, pointer, errors);
  if (rule && errors.length === before) errors.push(...contradictions(rule, pointer));
  return rule;
};

const SIDES = ['source', 'destination'] as const;

function contradictions(rule: FirewallRule, pointer: string): FieldError[] {
  const { frameType = 'IP', protocol: of = 'any' } = rule;
  const said: FieldError[] = [];
  const versions = new Set(versionsOf(frameType, of));
  if (frameType === 'ARP' && of !== 'any')
    said.push({ pointer: `${pointer}/protocol`, detail: 'must be any where the frame type is ARP' });
  else if (versions.size === 0)
    said.push({ pointer: `${pointer}/protocol`, detail: `is no protocol of frames of type ${frameType}` });
  for (const side of SIDES) said.push(...endpointFaults(rule, { side, versions, pointer: `${pointer}/${side}` }));
  if (said.length === 0 && [4, 6].every((version) => !mayMatch(rule, version as 4 | 6)))
    said.push({ pointer: `${pointer}/destination/ip`, detail: 'has no address of the version of the source' });
  return said;
}

interface FaultsOf {
  readonly side: (typeof SIDES)[number];
  readonly versions: ReadonlySet<4 | 6>;
  readonly pointer: string;
}

function endpointFaults(rule: FirewallRule, of: FaultsOf): FieldError[] {
  const { side, pointer } = of;
  const end = rule[side] ?? {};
  const { mac = [], ports = [] } = end;
  const said = addressFaults(end, of);
  if (ports.length > 0 && !hasPorts(rule.protocol))
    said.push({ pointer: `${pointer}/ports`, detail: 'needs the protocol TCP or UDP' });
  const isTooEarly = rule.direction === 'outgoing' && rule.frameType !== 'ARP';
  if (mac.length > 0 && isTooEarly) said.push({ pointer: `${pointer}/mac`, detail: TOO_EARLY });
  return said;
}

const hasPorts = (of: FirewallProtocol | undefined): boolean => of === 'TCP' || of === 'UDP';

const TOO_EARLY =
  'must be empty for outgoing frames other than ARP: they have no hardware address yet where they are judged';

function addressFaults({ ip = [] }: FirewallEndpoint, { versions, pointer }: FaultsOf): FieldError[] {
  if (versions.size === 0) return [];
  return ip.flatMap((text, index) => {
    const version = parseIpRange(text)?.version;
    const detail = 'is no address of the frame type and protocol of the rule';
    return version && !versions.has(version) ? [{ pointer: `${pointer}/ip/${index}`, detail }] : [];
  });
}

/** The versions of IP whose frames, or whose addresses in ARP, a rule of this type speaks of. */
export function versionsOf(frameType: FrameType, of: FirewallProtocol): readonly (4 | 6)[] {
  const byFrame: readonly (4 | 6)[] =
    frameType === 'IPv6' ? [6] : frameType === 'IPv4' || frameType === 'ARP' ? [4] : [4, 6];
  const onlyIn = of === 'ICMP' ? 4 : of === 'ICMPv6' ? 6 : undefined;
  return byFrame.filter((version) => onlyIn === undefined || version === onlyIn);
}

function mayMatch(
  { frameType = 'IP', protocol: of = 'any', source, destination }: FirewallRule,
  version: 4 | 6,
): boolean {
  const fits = ({ ip = [] }: FirewallEndpoint = {}): boolean =>
    ip.length === 0 || ip.some((text) => parseIpRange(text)?.version === version);
  return versionsOf(frameType, of).includes(version) && fits(source) && fits(destination);
}

/** Refuses a list whose text would not fit into a document of settings. */
export function boundedRules<T>(inner: Schema<readonly T[]>): Schema<readonly T[]> {
  return (value, pointer, errors) => {
    const read = inner(value, pointer, errors);
    if (read && JSON.stringify(read).length > FIREWALL_RULES_LENGTH)
      errors.push({ pointer, detail: `must serialise to at most ${FIREWALL_RULES_LENGTH} characters` });
    return read;
  };
}

const plainPeer = strict(
  ['ip', 'ports', 'protocol'],
  object({ ip: ipText, ports: optional(array(port, MEMBERS_MAX)), protocol: optional(protocol) }),
) as Schema<IsolationPeer>;

/** Of the command `isolate`. */
export const isolationPeer: Schema<IsolationPeer> = (value, pointer, errors) => {
  const before = errors.length;
  const peer = plainPeer(value, pointer, errors);
  const isRight = peer !== undefined && errors.length === before;
  if (
    isRight &&
    (peer.ports?.length ?? 0) > 0 &&
    peer.protocol !== undefined &&
    !['any', 'TCP', 'UDP'].includes(String(peer.protocol))
  )
    errors.push({ pointer: `${pointer}/ports`, detail: 'needs the protocol TCP or UDP' });
  return peer;
};

/** Lower case, with colons. */
export function plainMac(text: string): string {
  return text.toLowerCase().replaceAll('-', ':');
}
