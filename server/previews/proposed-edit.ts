import { assertMove } from '../../policies/forest-rules.js';
import { assertOverridesCount } from '../../policies/override-rules.js';
import { DEFAULT_SETTINGS, extendResolution, type ResolvedSettings } from '../../policies/resolve-settings.js';
import { applySettingsPatch, parseSettingsPatch } from '../../policies/settings-patch.js';
import type { SettingKey } from '../../policies/setting-values.js';
import type { Breather } from '../../lib/breather.js';
import { Problem } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import {
  assertMovable,
  assertNameFree,
  changedOverrides,
  settingsSeenBy,
  wantedParent,
  type PinnedForest,
  type Policy,
} from '../policies/index.js';
import { keysFeltBelow } from './preview-rules.js';

export type ForestView = Omit<PinnedForest, 'generation'>;

/** Absent leaves; `settings` is a JSON Merge Patch as it came. */
export interface PolicyProposal {
  readonly settings?: unknown;
  readonly parentId?: string | null | undefined;
}

/** The policy as the proposal would store it. Throws what saving it would throw. */
export function proposedPolicy(
  { policies, resolvedOf }: ForestView,
  stored: Policy,
  { scope, proposal }: { readonly scope: Scope; readonly proposal: PolicyProposal },
): Policy {
  const parentId = wantedParent(scope, stored, proposal.parentId);
  const patch = parseSettingsPatch(proposal.settings ?? {}, '#/settings');
  const moved: Policy = { ...stored, parentId };
  if (parentId !== stored.parentId) {
    assertMovable(stored);
    assertMove(new Map([...policies.values()].map((policy) => [policy.id, policy.parentId])), moved);
    assertNameFree(policies.values(), moved);
  }
  const above = settingsSeenBy(scope, policies, resolvedAbove(resolvedOf, parentId));
  assertOverridesCount({ above, set: changedOverrides(stored.settings, patch.set) });
  return { ...moved, settings: applySettingsPatch(stored.settings, patch) };
}

function resolvedAbove(resolvedOf: ForestView['resolvedOf'], parentId: string | null): ResolvedSettings {
  if (parentId === null) return DEFAULT_SETTINGS;
  const resolved = resolvedOf(parentId);
  if (!resolved) throw new Problem('policy-not-found', { detail: 'The parent policy does not exist.' });
  return resolved;
}

/** What one policy resolves to before and after an edit. */
export interface PolicyChange {
  readonly before: ResolvedSettings;
  readonly after: ResolvedSettings;
  /** What can change for its computers; nothing else does. */
  readonly keys: readonly SettingKey[];
}

/**
 * The policies for whose computers the edit can change anything, by id. Below a policy that it does not change nothing
 * is looked at; the work gives way to others.
 */
export async function changedPolicies(
  { policies, resolvedOf }: ForestView,
  proposed: Policy,
  breather: Breather,
): Promise<ReadonlyMap<string, PolicyChange>> {
  const children = childrenByParent(policies);
  const changes = new Map<string, PolicyChange>();
  const open: { readonly policy: Policy; readonly above: ResolvedSettings }[] = [
    { policy: proposed, above: resolvedAbove(resolvedOf, proposed.parentId) },
  ];
  for (let next = open.pop(); next; next = open.pop()) {
    if (breather.isDue()) await breather.turn();
    const { policy, above } = next;
    const before = resolvedOf(policy.id) ?? DEFAULT_SETTINGS;
    const after = extendResolution(above, policy);
    const keys = keysFeltBelow(before, after);
    if (keys.length === 0) continue;
    changes.set(policy.id, { before, after, keys });
    for (const child of children.get(policy.id) ?? []) open.push({ policy: child, above: after });
  }
  return changes;
}

function childrenByParent(policies: ForestView['policies']): ReadonlyMap<string, readonly Policy[]> {
  const children = new Map<string, Policy[]>();
  for (const policy of policies.values()) {
    if (policy.parentId === null) continue;
    const siblings = children.get(policy.parentId);
    if (siblings) siblings.push(policy);
    else children.set(policy.parentId, [policy]);
  }
  return children;
}
