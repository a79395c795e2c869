import { isDeepStrictEqual } from 'node:util';
import { Problem } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import { nearestKey } from '../../policies/settings-patch.js';
import { isSettingKey, SETTING_KEYS } from '../../policies/settings-catalogue.js';
import { DEFAULT_SETTINGS, type ResolvedSettings } from '../../policies/resolve-settings.js';
import type { SettingKey, SettingOverrides } from '../../policies/setting-values.js';
import type { Policy, PolicyContent } from './policy.js';

/** Throws `revision-stale` where something was stored since the caller read it; a call without If-Match passes. */
export function assertRevision(stored: { readonly revision: number }, ifMatch: number | undefined): void {
  if (ifMatch === undefined || ifMatch === stored.revision) return;
  throw new Problem('revision-stale', {
    detail: `Revision ${ifMatch} was read, but revision ${stored.revision} is stored. Read it again and repeat the edit.`,
    members: { revision: stored.revision },
  });
}

/** Throws `policy-built-in` for the one that always stays a root. */
export function assertMovable({ builtIn, name }: Pick<Policy, 'builtIn' | 'name'>): void {
  if (builtIn) throw new Problem('policy-built-in', { detail: `"${name}" is built in and always a root.` });
}

export const ROOTS_ARE_FOR_ALL = 'Only whoever is bound to no policy may make roots.';

/** Throws `beyond-scope` for the policy at which the scope begins: its name and place belong to what is above it. */
export function assertNotTop(scope: Scope, { id, name }: Pick<Policy, 'id' | 'name'>): void {
  if (!scope.beginsAt(id)) return;
  throw new Problem('beyond-scope', {
    detail: `Your role is bound to "${name}": you may edit it, but not rename, move or delete it.`,
  });
}

/**
 * The parent that is asked for: absent leaves, and so does null, which is what is shown, where the scope begins. Throws
 * `beyond-scope` for any other one there, the present one too.
 */
export function wantedParent(scope: Scope, stored: Policy, asked: string | null | undefined): string | null {
  if (asked === undefined) return stored.parentId;
  if (!scope.beginsAt(stored.id)) return asked;
  if (asked !== null) assertNotTop(scope, stored);
  return stored.parentId;
}

/** What the policy's parent resolves to. */
export function resolvedAbove(
  resolved: ReadonlyMap<string, ResolvedSettings>,
  { parentId }: Pick<Policy, 'parentId'>,
): ResolvedSettings {
  return parentId === null ? DEFAULT_SETTINGS : (resolved.get(parentId) ?? DEFAULT_SETTINGS);
}

/** Throws `name-taken` where a sibling has the name. */
export function assertNameFree(policies: Iterable<Policy>, { id, name, parentId }: Policy): void {
  for (const other of policies)
    if (other.id !== id && other.parentId === parentId && other.name === name)
      throw new Problem('name-taken', {
        detail: `A policy named "${name}" stands at that place already; names are unique among siblings.`,
      });
}

/** Throws `setting-not-found` with the nearest known key. */
export function parseSettingKey(text: string): SettingKey {
  if (isSettingKey(text)) return text;
  const nearest = nearestKey(text);
  throw new Problem('setting-not-found', {
    detail: nearest ? `Did you mean ${nearest}?` : 'GET /api/v1/settings-catalogue lists them.',
  });
}

/** Of what a patch sets, only what differs from the stored overrides: PATCH checks only the keys it changes. */
export function changedOverrides(stored: SettingOverrides, set: SettingOverrides): SettingOverrides {
  const changed = SETTING_KEYS.filter((key) => set[key] !== undefined && !isDeepStrictEqual(set[key], stored[key]));
  return Object.fromEntries(changed.map((key) => [key, set[key]])) as SettingOverrides;
}

export interface Change {
  readonly from: unknown;
  readonly to: unknown;
}

export interface ContentChanges {
  readonly name?: Change;
  readonly parentId?: Change;
  readonly settings: Readonly<Record<string, Change>>;
  readonly locks: Readonly<Record<string, Change>>;
}

/** What a revision changed against the one before it; null stands for absent. */
export function contentChanges(before: PolicyContent | undefined, after: PolicyContent): ContentChanges {
  return {
    ...(before && before.name !== after.name ? { name: { from: before.name, to: after.name } } : {}),
    ...(before && before.parentId !== after.parentId
      ? { parentId: { from: before.parentId, to: after.parentId } }
      : {}),
    settings: memberChanges(before?.settings ?? {}, after.settings),
    locks: memberChanges(before?.locks ?? {}, after.locks),
  };
}

type Members = Readonly<Record<string, unknown>>;

function memberChanges(before: object, after: object): Record<string, Change> {
  const changes: Record<string, Change> = {};
  for (const key of SETTING_KEYS) {
    const from = (before as Members)[key] ?? null;
    const to = (after as Members)[key] ?? null;
    if (!isDeepStrictEqual(from, to)) changes[key] = { from, to };
  }
  return changes;
}
