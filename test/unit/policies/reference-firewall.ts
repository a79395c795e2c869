import { BlockList, isIP } from 'node:net';
import type { FirewallAction, FirewallEndpoint, FirewallRule } from '../../../policies/firewall-rules.js';
import type { Packet, PacketEnd } from '../../support/firewall-packets.js';

const NUMBERS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, ICMP: 1, ICMPv6: 58 };
const TURNS: readonly FirewallAction[] = ['bypass', 'forceAllow', 'deny', 'allow'];

/** What docs/operations.md says of rules, told as plainly as can be: the reference that the compiled chains are held to. */
export function passesByTheBook(rules: readonly FirewallRule[], packet: Packet): boolean {
  if (!packet.isArp && isAnswer(packet)) return true;
  const own = rules.filter(({ direction }) => direction === packet.direction);
  const decisive = own.filter((rule) => speaksOf(rule, packet) && makesSense(rule, packet)).toSorted(byTurn)[0];
  if (decisive) return decisive.action !== 'deny';
  if (!packet.isArp && packet.protocol === 58) return true;
  return !own.some((rule) => rule.action === 'allow' && isForFrames(rule, packet.isArp));
}

const isAnswer = ({ state, isReply }: Packet): boolean => state === 'related' || (state === 'established' && isReply);

const byTurn = (a: FirewallRule, b: FirewallRule): number =>
  (b.priority ?? 0) - (a.priority ?? 0) || TURNS.indexOf(a.action) - TURNS.indexOf(b.action);

function makesSense({ action }: FirewallRule, { isArp, state }: Packet): boolean {
  return isArp || state !== 'invalid' || action === 'bypass' || action === 'deny';
}

function isForFrames(
  { frameType = 'IP', protocol = 'any', source, destination }: FirewallRule,
  isArp: boolean,
): boolean {
  if (!isArp) return frameType !== 'ARP';
  if (frameType === 'ARP') return true;
  const namesOnlyV6 = (end?: FirewallEndpoint): boolean =>
    (end?.ip ?? []).length > 0 && (end?.ip ?? []).every((text) => text.includes(':'));
  return frameType === 'any' && protocol === 'any' && !namesOnlyV6(source) && !namesOnlyV6(destination);
}

function speaksOf(rule: FirewallRule, packet: Packet): boolean {
  const ends = [
    [rule.source, packet.source],
    [rule.destination, packet.destination],
  ] as const;
  return (
    isForFrames(rule, packet.isArp) &&
    isOfVersion(rule, isIP(packet.source.ip)) &&
    (packet.isArp || isOfProtocol(rule, packet)) &&
    ends.every(([said, end]) => fits(said, end, packet.isArp))
  );
}

function isOfVersion({ frameType = 'IP' }: FirewallRule, version: number): boolean {
  return (frameType !== 'IPv4' || version === 4) && (frameType !== 'IPv6' || version === 6);
}

function isOfProtocol({ protocol = 'any' }: FirewallRule, packet: Packet): boolean {
  if (protocol === 'any') return true;
  if (typeof protocol === 'number') return protocol === packet.protocol;
  const version = isIP(packet.source.ip);
  const isElsewhere = (protocol === 'ICMP' && version === 6) || (protocol === 'ICMPv6' && version === 4);
  return NUMBERS[protocol] === packet.protocol && !isElsewhere;
}

const isNothing = (list: readonly unknown[]): boolean => list.length === 0;

function fits({ ip = [], mac = [], ports = [] }: FirewallEndpoint = {}, end: PacketEnd, isArp: boolean): boolean {
  const isThere = isNothing(ip) || ip.some((text) => holds(text, end.ip));
  const isIt = isNothing(mac) || mac.includes(end.mac);
  const isAt = isArp || isNothing(ports) || ports.some((one) => spans(one, end.port));
  return [isThere, isIt, isAt].every(Boolean);
}

function holds(text: string, address: string): boolean {
  const [first = '', second] = text.split(/[-/]/);
  if (isIP(first) !== isIP(address)) return false;
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  if (text.includes('/')) list.addSubnet(first, Number(second), family);
  else list.addRange(first, second ?? first, family);
  return list.check(address, family);
}

function spans(one: number | string, port: number): boolean {
  const [first, last] = String(one).split('-').map(Number);
  return first !== undefined && port >= first && port <= (last ?? first);
}
