import { addressGroup } from '../lib/address-group.js';

/** What computers can have in common, the most specific first. */
export const FACTOR_KINDS = [
  'subnet',
  'proxy',
  'policy',
  'label',
  'policySubtree',
  'managerNode',
  'agentVersion',
  'platform',
  'fleet',
] as const;
export type FactorKind = (typeof FACTOR_KINDS)[number];

export interface Factor {
  readonly kind: FactorKind;
  /** Empty for the fleet; `key=value` of a label; an id of a policy. */
  readonly value: string;
}

/** What a computer shares with others; null where it is not known. */
export interface ComputerProfile {
  /** Where its connections come from. */
  readonly address: string | null;
  readonly proxy: string | null;
  readonly policyId: string;
  /** The policies above its own. */
  readonly ancestorIds: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** The manager process that dials it or holds its channel. */
  readonly managerNode: string | null;
  readonly agentVersion: string | null;
  readonly platform: string | null;
}

export const FLEET = 'fleet';

/** `<kind>/<value>`, or `fleet`: the subject of an incident. */
export function factorKey({ kind, value }: Factor): string {
  return kind === FLEET ? FLEET : `${kind}/${value}`;
}

/** The factor of a key; undefined for a text that is none. */
export function parseFactorKey(key: string): Factor | undefined {
  if (key === FLEET) return { kind: FLEET, value: '' };
  const end = key.indexOf('/');
  const kind = FACTOR_KINDS.find((known) => known !== FLEET && known === key.slice(0, end));
  return kind && { kind, value: key.slice(end + 1) };
}

/** Less is more specific. */
export function specificityOf(key: string): number {
  const end = key.indexOf('/');
  return (FACTOR_KINDS as readonly string[]).indexOf(end < 0 ? key : key.slice(0, end));
}

/** The keys of everything that a computer shares with others, the fleet included. */
export function factorKeysOf(profile: ComputerProfile): string[] {
  const { address, proxy, policyId, ancestorIds, labels, managerNode, agentVersion, platform } = profile;
  const subnet = address === null ? null : subnetOf(address);
  const factors: { readonly kind: FactorKind; readonly value: string | null }[] = [
    { kind: 'subnet', value: subnet },
    { kind: 'proxy', value: proxy },
    { kind: 'policy', value: policyId },
    ...Object.entries(labels).map(([key, value]) => ({ kind: 'label' as const, value: `${key}=${value}` })),
    // A policy's own computers are part of its subtree.
    ...[policyId, ...ancestorIds].map((value) => ({ kind: 'policySubtree' as const, value })),
    { kind: 'managerNode', value: managerNode },
    { kind: 'agentVersion', value: agentVersion },
    { kind: 'platform', value: platform },
    { kind: 'fleet', value: '' },
  ];
  return factors.flatMap(({ kind, value }) => (value === null ? [] : [factorKey({ kind, value })]));
}

const MAPPED = '::ffff:';

/** The /24 of an IPv4 address, also of one mapped into IPv6, or the /64 of an IPv6 address; null for anything else. */
export function subnetOf(address: string): string | null {
  const plain = address.toLowerCase().startsWith(MAPPED) ? address.slice(MAPPED.length) : address;
  const parts = plain.split('.');
  if (parts.length === 4) return `${parts.slice(0, 3).join('.')}.0/24`;
  return plain.includes(':') ? `${addressGroup(plain).toLowerCase()}::/64` : null;
}
