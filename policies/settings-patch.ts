import { invalidFields, type FieldError } from '../lib/problem.js';
import { escapePointer, isPlainObject } from '../lib/schema.js';
import { isSettingKey, SETTING_KEYS, SETTINGS_CATALOGUE } from './settings-catalogue.js';
import type { SettingKey, SettingOverrides } from './setting-values.js';

export interface SettingsPatch {
  readonly set: SettingOverrides;
  readonly remove: readonly SettingKey[];
}

const MEMBERS_MAX = 200;
const NAME_SHOWN_MAX = 64;

/**
 * Reads a JSON Merge Patch (RFC 7396) of settings: a value overrides, null returns to inherited. Throws
 * `request-invalid` with every bad field; `pointer` is where the body stands in the request.
 */
export function parseSettingsPatch(body: unknown, pointer = '#'): SettingsPatch {
  const { patch, errors } = readSettingsPatch(body, pointer);
  if (errors.length > 0) throw invalidFields(errors);
  return patch;
}

/** Everything that is wrong with a JSON Merge Patch of settings. */
export function settingsPatchFaults(body: unknown, pointer: string): readonly FieldError[] {
  return readSettingsPatch(body, pointer).errors;
}

/** The patch without what is wrong with it, and that. */
export function readSettingsPatch(
  body: unknown,
  pointer: string,
): { readonly patch: SettingsPatch; readonly errors: readonly FieldError[] } {
  if (!isPlainObject(body)) return nothingOf({ pointer, detail: 'must be an object of settings' });
  const keys = Object.keys(body);
  if (keys.length > MEMBERS_MAX) return nothingOf({ pointer, detail: `must have at most ${MEMBERS_MAX} members` });
  const errors: FieldError[] = [];
  const set: Record<string, unknown> = {};
  const remove: SettingKey[] = [];
  for (const key of keys) {
    const before = errors.length;
    if (!isSettingKey(key)) errors.push(unknownKey(key, pointer));
    else if (body[key] === null) remove.push(key);
    else {
      const value = SETTINGS_CATALOGUE[key].schema(body[key], `${pointer}/${key}`, errors);
      if (errors.length === before) set[key] = value;
    }
  }
  return { patch: { set: set as SettingOverrides, remove }, errors };
}

function nothingOf(error: FieldError) {
  return { patch: { set: {}, remove: [] }, errors: [error] };
}

/** The overrides after a patch; the given ones are left as they are. */
export function applySettingsPatch(overrides: SettingOverrides, patch: SettingsPatch): SettingOverrides {
  const gone = new Set<string>(patch.remove);
  const kept = Object.entries(overrides).filter(([key]) => !gone.has(key));
  return { ...Object.fromEntries(kept), ...patch.set };
}

function unknownKey(key: string, pointer: string): FieldError {
  const shown = key.slice(0, NAME_SHOWN_MAX);
  const nearest = nearestKey(shown);
  const hint = nearest ? `did you mean ${nearest}?` : 'GET /api/v1/settings-catalogue lists them';
  return {
    pointer: `${pointer}/${escapePointer(shown)}`,
    detail: `is not a known setting; ${hint}`,
  };
}

/** The known key with the fewest edits, if more than half of the longer word agrees. */
export function nearestKey(text: string): SettingKey | undefined {
  const word = text.slice(0, NAME_SHOWN_MAX).toLowerCase();
  let best: { key: SettingKey; edits: number } | undefined;
  for (const key of SETTING_KEYS) {
    const edits = editDistance(word, key.toLowerCase());
    if (edits * 2 < Math.max(word.length, key.length) && (!best || edits < best.edits)) best = { key, edits };
  }
  return best?.key;
}

/** Levenshtein distance by two rows. */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const replaced = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
