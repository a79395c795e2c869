import { BlockList, isIP } from 'node:net';

/** Where agents may be dialled. */
export interface DialGuard {
  /**
   * The canonical address to connect to, or why none: judged is the very address that is connected to afterwards.
   * `isLoopbackObserved`: the computer's last authenticated connection came over loopback.
   */
  check(address: string, circumstances: { readonly isLoopbackObserved: boolean }): GuardVerdict;
}

export type GuardVerdict =
  { readonly ok: true; readonly address: string } | { readonly ok: false; readonly detail: string };

/** RFC 1918 and RFC 4193; link-local addresses, and with them metadata services, are not among them. */
export const PRIVATE_RANGES = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'];

/**
 * Never reached through a wider range: only a listed range that lies within one of these opens a part of it. Among them
 * are the IPv6 forms that carry an IPv4 address of their own (RFC 4291, 6052, 3056, 4380), for a translator or a tunnel
 * would connect to that one.
 */
const SPECIAL_RANGES = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '192.0.0.0/24',
  '192.88.99.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/8',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/32',
  '2002::/16',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
  // Metadata and host services of clouds that lie within private, shared or public ranges.
  '100.100.100.200/32',
  '168.63.129.16/32',
  'fd00:ec2::/64',
  'fd20:ce::/64',
];

interface Range {
  readonly network: string;
  readonly prefix: number;
  readonly type: 'ipv4' | 'ipv6';
}

/** `allowed`: CIDRs as configured; undefined: private ranges. */
export function createDialGuard(allowed: readonly string[] | undefined): DialGuard {
  const ranges = (allowed ?? PRIVATE_RANGES).map(toRange);
  const listed = toBlockList(ranges);
  const special = SPECIAL_RANGES.map((text) => ({ text, range: toRange(text) })).map(({ text, range }) => ({
    text,
    list: toBlockList([range]),
    opened: toBlockList(ranges.filter((one) => isWithin(one, range))),
  }));
  const loopback = toBlockList(['127.0.0.0/8', '::1/128'].map(toRange));
  return {
    check(text, { isLoopbackObserved }) {
      const address = canonicalAddress(text);
      if (address === undefined) return refuse(`${text.slice(0, 64)} is no address that is dialled`);
      const type = typeOf(address);
      if (isLoopbackObserved && loopback.check(address, type)) return { ok: true, address };
      const closed = special.find(({ list, opened }) => list.check(address, type) && !opened.check(address, type));
      if (closed) return refuse(`${address} is within ${closed.text}`);
      if (listed.check(address, type)) return { ok: true, address };
      return refuse(`${address} is outside the ranges of WARDBEAT_DIAL_ALLOWED_CIDRS`);
    },
  };
}

/** IPv4 instead of its IPv6 mapping, IPv6 in its shortest form; undefined for what is no plain address (zones too). */
export function canonicalAddress(text: string): string | undefined {
  const family = isIP(text);
  if (family === 0 || text.includes('%')) return undefined;
  if (family === 4) return text;
  const short = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short) ?? [];
  if (high === undefined || low === undefined) return isIsatap(short) ? undefined : short;
  const [first, second] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [first >> 8, first & 255, second >> 8, second & 255].join('.');
}

/** An address of an intra-site tunnel (RFC 5214): its last half carries an IPv4 address. */
function isIsatap(address: string): boolean {
  return /(?:^|:)(?:0|200)?:?5efe:[0-9a-f]{1,4}:[0-9a-f]{1,4}$/.test(address);
}

export function isLoopback(text: string | null): boolean {
  const address = text === null ? undefined : canonicalAddress(text);
  return address !== undefined && (address === '::1' || address.startsWith('127.'));
}

/** A name that some resolvers read as a number (octal, hexadecimal, short forms), or that is not plain ASCII. */
export function isDisguisedAddress(host: string): boolean {
  if (!/^[A-Za-z0-9._-]+$/.test(host)) return true;
  const last = host.replace(/\.$/, '').split('.').at(-1) ?? '';
  return /^(?:\d+|0x[0-9a-f]*)$/i.test(last);
}

function refuse(detail: string): GuardVerdict {
  return { ok: false, detail };
}

function toRange(text: string): Range {
  const [network = '', prefix = ''] = text.split('/');
  return { network, prefix: Number(prefix), type: typeOf(network) };
}

function typeOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6';
}

interface AddressList {
  check(address: string, type: Range['type']): boolean;
}

/** One list per family: in a common one, `::/8` would match IPv4 by its mapping. */
function toBlockList(ranges: readonly Range[]): AddressList {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const { network, prefix, type } of ranges) lists[type].addSubnet(network, prefix, type);
  return { check: (address, type) => lists[type].check(address, type) };
}

function isWithin(inner: Range, outer: Range): boolean {
  return (
    inner.type === outer.type && inner.prefix >= outer.prefix && toBlockList([outer]).check(inner.network, inner.type)
  );
}
