import { MAX_ITEM_TEXT } from '../../protocol/inventory-messages.js';

/** A package that a computer must have, in whatever version unless one is named. */
export interface PackageFilter {
  readonly name: string;
  readonly version: string | undefined;
}

/** A name, the sign, a version. */
export const PACKAGE_FILTER_MAX = 2 * MAX_ITEM_TEXT + 1;

/** `name` or `name@version`; no name of a package contains the sign. */
export function parsePackageFilter(text: string): PackageFilter {
  const at = text.indexOf('@');
  if (at < 0) return { name: text, version: undefined };
  return { name: text.slice(0, at), version: text.slice(at + 1) };
}

/** Undefined where it is one. */
export function packageFilterFault(value: unknown): string | undefined {
  if (typeof value !== 'string' || !value.isWellFormed() || value.includes('\0')) return 'must be name or name@version';
  const { name, version } = parsePackageFilter(value);
  const isGood = (text: string): boolean => text.length > 0 && text.length <= MAX_ITEM_TEXT;
  return isGood(name) && (version === undefined || isGood(version)) ? undefined : 'must be name or name@version';
}
