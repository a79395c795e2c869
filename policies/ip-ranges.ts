import { isIP } from 'node:net';

/** Addresses from `first` to `last`, both included, as numbers of their version. */
export interface IpRange {
  readonly version: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

export interface Span<T extends number | bigint> {
  readonly first: T;
  readonly last: T;
}

/** An address without a zone; undefined for anything else. */
export function parseAddress(text: string): { readonly version: 4 | 6; readonly value: bigint } | undefined {
  const version = isIP(text);
  if (version === 4) return { version, value: valueOf(text.split('.').map(Number), 8n) };
  if (version !== 6 || text.includes('%')) return undefined;
  return { version, value: valueOf(groupsOf(text), 16n) };
}

function valueOf(parts: readonly number[], bits: bigint): bigint {
  return parts.reduce((value, part) => (value << bits) | BigInt(part), 0n);
}

const GROUPS = 8;

/** The eight groups of an IPv6 address, whatever its notation (RFC 4291 §2.2). */
function groupsOf(text: string): number[] {
  const [head = '', tail] = text.split('::');
  const left = groupsOfPart(head);
  if (tail === undefined) return left;
  const right = groupsOfPart(tail);
  return [...left, ...Array.from({ length: GROUPS - left.length - right.length }, () => 0), ...right];
}

function groupsOfPart(part: string): number[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

/** As a computer reads it; IPv6 without shortening. */
export function formatAddress(version: 4 | 6, value: bigint): string {
  const [count, bits] = version === 4 ? [4, 8n] : [GROUPS, 16n];
  const parts = Array.from(
    { length: count },
    (_, index) => (value >> (bits * BigInt(count - 1 - index))) & ((1n << bits) - 1n),
  );
  return version === 4 ? parts.join('.') : parts.map((part) => part.toString(16)).join(':');
}

/** IPv4 in IPv6's clothes: addresses are compared as IPv4, so it would match nothing. */
const MAPPED = { first: 0xffffn << 32n, last: (0xffffn << 32n) + 0xffff_ffffn };

/** `10.0.0.1`, `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, and the same of IPv6; undefined for anything else. */
export function parseIpRange(text: string): IpRange | undefined {
  const range = text.includes('-') ? rangeOf(text) : blockOf(text);
  const isMapped = range?.version === 6 && range.first >= MAPPED.first && range.last <= MAPPED.last;
  return isMapped ? undefined : range;
}

function rangeOf(text: string): IpRange | undefined {
  const [from = '', to = '', ...rest] = text.split('-');
  const [first, last] = [parseAddress(from), parseAddress(to)];
  if (!first || !last || rest.length > 0 || first.version !== last.version || first.value > last.value)
    return undefined;
  return { version: first.version, first: first.value, last: last.value };
}

function blockOf(text: string): IpRange | undefined {
  const [address = '', prefix, ...rest] = text.split('/');
  const parsed = parseAddress(address);
  if (!parsed || rest.length > 0) return undefined;
  const { version, value } = parsed;
  const width = version === 4 ? 32 : 128;
  if (prefix === undefined) return { version, first: value, last: value };
  if (!/^(?:0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > width) return undefined;
  const host = (1n << BigInt(width - Number(prefix))) - 1n;
  return { version, first: value & ~host, last: value | host };
}

/** The same members in order, none of which overlaps or touches another. */
export function mergeSpans<T extends number | bigint>(spans: readonly Span<T>[]): Span<T>[] {
  const merged: Span<T>[] = [];
  for (const span of spans.toSorted((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const before = merged.at(-1);
    if (!before || BigInt(span.first) > BigInt(before.last) + 1n) merged.push({ first: span.first, last: span.last });
    else if (span.last > before.last) merged[merged.length - 1] = { first: before.first, last: span.last };
  }
  return merged;
}
