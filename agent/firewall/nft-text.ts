import { hash } from 'node:crypto';

import { formatAddress, type Span } from '../../policies/ip-ranges.js';
import type { Chain, End, FirewallPlan, Line, Match } from './firewall-plan.js';

/** The agent's own tables, one of each family; nothing else of the machine is ever touched. */
export const TABLE = 'wardbeat';
export const FAMILIES = ['inet', 'arp'] as const;
const HOOKS: Readonly<Record<Chain['name'], string>> = { incoming: 'input', outgoing: 'output', forwarded: 'forward' };

/** A plan as one transaction of nft(8). */
export interface NftScript {
  readonly text: string;
  /** The name of an empty chain by which the loaded tables are known again. */
  readonly generation: string;
}

/**
 * The tables are taken away and made anew in the same transaction: every packet is judged by the former ones or by these.
 * Nothing of a user's text is in it: addresses and ports are written from numbers.
 */
export function scriptOf({ inet, arp }: FirewallPlan): NftScript {
  const body = [inet.map((chain) => chainText(chain, 'inet')), arp.map((chain) => chainText(chain, 'arp'))] as const;
  const generation = `g_${hash('sha256', JSON.stringify(body), 'hex').slice(0, 16)}`;
  const [ofInet, ofArp] = body;
  const mark = `  chain ${generation} {\n  }`;
  const tables = [tableText('inet', [...ofInet, mark]), ...(arp.length > 0 ? [tableText('arp', ofArp)] : [])];
  return { text: `${REMOVAL}${tables.join('')}`, generation };
}

/** Takes the agent's tables away, whether they are there or not. */
export const REMOVAL = FAMILIES.map((family) => `add table ${family} ${TABLE}\ndelete table ${family} ${TABLE}\n`).join(
  '',
);

function tableText(family: (typeof FAMILIES)[number], chains: readonly string[]): string {
  return `table ${family} ${TABLE} {\n${chains.join('\n')}\n}\n`;
}

function chainText({ name, lines }: Chain, family: (typeof FAMILIES)[number]): string {
  const head = `    type filter hook ${HOOKS[name]} priority 0; policy accept;`;
  const told = lines.map((line) => `    ${family === 'arp' ? arpText(line) : lineText(line, name)}`);
  return `  chain ${name} {\n${[head, ...told].join('\n')}\n  }`;
}

function lineText({ matches, verdict }: Line, chain: Chain['name']): string {
  return [...matches.map((match) => matchText(match, chain)), verdict].join(' ');
}

const SHORT: Readonly<Record<End, string>> = { source: 's', destination: 'd' };

function matchText(match: Match, chain: Chain['name']): string {
  switch (match.of) {
    case 'loopback':
      return `${chain === 'incoming' ? 'iif' : 'oif'} "lo"`;
    case 'address':
      return `${match.version === 4 ? 'ip' : 'ip6'} ${SHORT[match.end]}addr ${addressesText(match.spans, match.version)}`;
    case 'mac':
      return `ether ${SHORT[match.end]}addr { ${match.macs.join(', ')} }`;
    case 'port':
      return `th ${SHORT[match.end]}port { ${match.spans.map(({ first, last }) => spanText(first, last)).join(', ')} }`;
    default:
      return plainText(match);
  }
}

type Plain = Extract<Match, { readonly of: 'version' | 'protocol' | 'icmpv6' | 'state' | 'reply' }>;

/** What is the same whichever end is looked at. */
function plainText(match: Plain): string {
  switch (match.of) {
    case 'version':
      return `meta nfproto ipv${match.version}`;
    case 'protocol':
      return `meta l4proto { ${[...new Set(match.numbers)].join(', ')} }`;
    case 'icmpv6':
      return `icmpv6 type { ${match.types.join(', ')} }`;
    case 'state':
      return `ct state ${match.states.join(',')}`;
    case 'reply':
      return 'ct direction reply';
  }
}

/** Of what an ARP frame says of its sender and its target (RFC 826), not of the frame around it. */
function arpText({ matches, verdict }: Line): string {
  const told = matches.map((match) => {
    if (match.of === 'address') return `arp ${SHORT[match.end]}addr ip ${addressesText(match.spans, 4)}`;
    if (match.of === 'mac') return `arp ${SHORT[match.end]}addr ether { ${match.macs.join(', ')} }`;
    throw new Error(`ARP knows no ${match.of}`);
  });
  return [...told, verdict].join(' ');
}

function addressesText(spans: readonly Span<bigint>[], version: 4 | 6): string {
  const members = spans.map(({ first, last }) => spanText(formatAddress(version, first), formatAddress(version, last)));
  return `{ ${members.join(', ')} }`;
}

function spanText(first: string | number, last: string | number): string {
  return first === last ? String(first) : `${first}-${last}`;
}
