import { hash } from 'node:crypto';
import { canonicalJson, type JsonValue } from '../lib/canonical-json.js';
import {
  HIGHEST_PRIORITY,
  plainMac,
  portSpan,
  type FirewallAction,
  type FirewallDirection,
  type FirewallEndpoint,
  type FirewallProtocol,
  type FirewallRule,
  type FrameType,
} from './firewall-rules.js';

/** A rule of the effective set; every list is there, an empty one matches everything. */
export interface EffectiveRule {
  readonly name: string | null;
  readonly action: FirewallAction;
  readonly priority: number;
  readonly direction: FirewallDirection;
  readonly frameType: FrameType;
  readonly protocol: FirewallProtocol;
  readonly source: Required<FirewallEndpoint>;
  readonly destination: Required<FirewallEndpoint>;
  /** Not of the setting, but made for the listener. */
  readonly hidden: boolean;
}

/** A port on which the agent waits for its manager. */
export interface FirewallListener {
  readonly port: number;
  /** CIDR blocks and MAC addresses; empty means any. */
  readonly sources: readonly string[];
}

/** Frames that no rule matches pass, unless their direction is closed for them. */
export interface ClosedDirection {
  readonly ip: boolean;
  readonly arp: boolean;
}

/** What judges a computer's frames: the first rule that matches decides. */
export interface FirewallSet {
  readonly rules: readonly EffectiveRule[];
  readonly closed: Readonly<Record<FirewallDirection, ClosedDirection>>;
}

/** The turn of the actions within one priority. */
const TURN: Readonly<Record<FirewallAction, number>> = { bypass: 0, forceAllow: 1, deny: 2, allow: 3 };

/**
 * The rules in the order in which they decide: by priority, the highest first, and within it bypass, forceAllow, deny,
 * allow. An allow rule closes its direction: what no rule lets pass there is dropped. Each listener comes with a hidden
 * rule, unless one of the setting stands in for it.
 */
export function effectiveSet(rules: readonly FirewallRule[], listeners: readonly FirewallListener[]): FirewallSet {
  const given = rules.map(toEffective);
  const hidden = listeners.flatMap((listener) => hiddenRules(listener, given));
  const ordered = [...hidden, ...given].toSorted((a, b) => b.priority - a.priority || TURN[a.action] - TURN[b.action]);
  return { rules: ordered, closed: { incoming: closedBy(given, 'incoming'), outgoing: closedBy(given, 'outgoing') } };
}

function toEffective(rule: FirewallRule): EffectiveRule {
  const { name = null, action, priority = 0, direction, frameType = 'IP', protocol = 'any' } = rule;
  const ends = { source: whole(rule.source), destination: whole(rule.destination) };
  return { name, action, priority, direction, frameType, protocol, ...ends, hidden: false };
}

function whole({ ip = [], mac = [], ports = [] }: FirewallEndpoint = {}): Required<FirewallEndpoint> {
  return { ip, mac: mac.map(plainMac), ports };
}

function closedBy(rules: readonly EffectiveRule[], direction: FirewallDirection): ClosedDirection {
  const allowing = rules.filter((rule) => rule.action === 'allow' && rule.direction === direction);
  return { ip: allowing.some(speaksOfIp), arp: allowing.some(speaksOfArp) };
}

export function speaksOfIp({ frameType }: EffectiveRule): boolean {
  return frameType !== 'ARP';
}

/** ARP has addresses, of version 4, and nothing above them. */
export function speaksOfArp({ frameType, protocol, source, destination }: EffectiveRule): boolean {
  if (frameType === 'ARP') return true;
  const hasPlain = (ip: readonly string[]): boolean => ip.length === 0 || ip.some((text) => !text.includes(':'));
  return frameType === 'any' && protocol === 'any' && hasPlain(source.ip) && hasPlain(destination.ip);
}

/** Whether a rule of the setting takes the place of the hidden one of this port: by the very fields of that one. */
function standsIn(rule: EffectiveRule, listenerPort: number): boolean {
  const { action, priority, direction, frameType, protocol, destination } = rule;
  const isOfKind = action === 'bypass' || action === 'forceAllow';
  const isThere = priority === HIGHEST_PRIORITY && direction === 'incoming' && frameType === 'IP' && protocol === 'TCP';
  return isOfKind && isThere && destination.ports.some((member) => includesPort(member, listenerPort));
}

function includesPort(member: number | string, wanted: number): boolean {
  const span = portSpan(member);
  return span !== undefined && span.first <= wanted && wanted <= span.last;
}

const EVERYTHING: Required<FirewallEndpoint> = { ip: [], mac: [], ports: [] };

/** Where not everybody may reach the port, what is left of the world is denied it. */
function hiddenRules({ port, sources }: FirewallListener, given: readonly EffectiveRule[]): EffectiveRule[] {
  const hidden = (action: FirewallAction, name: string, source: Partial<FirewallEndpoint>): EffectiveRule => ({
    name,
    action,
    priority: HIGHEST_PRIORITY,
    direction: 'incoming',
    frameType: 'IP',
    protocol: 'TCP',
    source: { ...EVERYTHING, ...source },
    destination: { ...EVERYTHING, ports: [port] },
    hidden: true,
  });
  const rest = hidden('deny', 'Agent listener, everybody else', {});
  if (given.some((rule) => standsIn(rule, port))) return [rest];
  if (sources.length === 0) return [hidden('bypass', 'Agent listener', {})];
  const ip = sources.filter((source) => source.includes('/'));
  const mac = sources.filter((source) => !source.includes('/')).map(plainMac);
  return [
    ...(ip.length > 0 ? [hidden('bypass', 'Agent listener, by address', { ip })] : []),
    ...(mac.length > 0 ? [hidden('bypass', 'Agent listener, by hardware address', { mac })] : []),
    rest,
  ];
}

/** Whether frames would be judged as without any rule: then none need be loaded. */
export function isWithoutEffect({ rules }: FirewallSet): boolean {
  return rules.every(({ action, hidden }) => hidden && action !== 'deny');
}

/** SHA-256, hex, over the set: equal where two sides mean the same. */
export function digestOfSet(set: FirewallSet): string {
  return hash('sha256', canonicalJson(set as unknown as JsonValue), 'hex');
}

/** The same for rules alone, as they stand in the setting; empty for none. */
export function markOfRules(rules: readonly FirewallRule[]): string {
  return rules.length === 0 ? '' : hash('sha256', canonicalJson(rules as unknown as JsonValue), 'hex');
}
