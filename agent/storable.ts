import { isPlainObject } from '../lib/schema.js';
import type { JsonValue } from '../lib/canonical-json.js';

/** The text as the manager can store it: U+0000 and lone surrogates become U+FFFD. */
export function toStorable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\uFFFD');
}

/** The first `max` UTF-16 units of the storable text; a surrogate pair is never cut in two. */
export function toStorableCut(text: string, max: number): string {
  const storable = toStorable(text);
  if (storable.length <= max) return storable;
  const cut = storable.slice(0, max);
  return cut.isWellFormed() ? cut : cut.slice(0, -1);
}

/** The same value with every string and key storable; what JSON cannot carry becomes null or is left out. */
export function toStorableJson(value: unknown): JsonValue {
  if (typeof value === 'string') return toStorable(value);
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(toStorableJson);
  if (!isPlainObject(value)) return null;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.map(([key, member]) => [toStorableCut(key, 256), toStorableJson(member)]));
}
