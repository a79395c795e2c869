import { assertLockable, assertOverridesCount, overrideFaults } from '../../policies/override-rules.js';
import { DEFAULT_SETTINGS, type PolicyLocks, type ResolvedSettingMap } from '../../policies/resolve-settings.js';
import { applySettingsPatch, parseSettingsPatch, readSettingsPatch } from '../../policies/settings-patch.js';
import type { LockMode } from '../../policies/setting-values.js';
import { isDeepStrictEqual } from 'node:util';
import { Problem, type FieldError } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import type { PolicySettingsCache } from './cached-settings.js';
import { editForest, type Caller, type ForestEdit } from './forest-edit.js';
import { createPolicyRepository } from './policy-repository.js';
import { assertRevision, changedOverrides, parseSettingKey, resolvedAbove } from './policy-rules.js';
import { auditPolicy } from './policy-audit.js';
import type { PolicyServiceDeps } from './policy-requests.js';
import type { Policy } from './policy.js';
import { settingsSeenBy } from './settings-seen.js';

/** What GET /policies/:id/settings answers; the fingerprint is the one of an agent without overrides. */
export interface SettingsView {
  readonly revision: number;
  readonly fingerprint: string;
  readonly settings: ResolvedSettingMap;
}

export interface ConditionalEdit {
  readonly ifMatch: number | undefined;
  readonly comment: string;
}

export interface SettingsEdit extends ConditionalEdit {
  /** A JSON Merge Patch by setting key, as it came. */
  readonly patch: unknown;
}

export interface LockEdit extends ConditionalEdit {
  readonly key: string;
  /** Null takes the policy's own lock away. */
  readonly mode: LockMode | null;
}

export interface PolicySettingsService {
  get(scope: Scope, policyId: string): Promise<SettingsView>;
  edit(caller: Caller, policyId: string, edit: SettingsEdit): Promise<SettingsView>;
  /** What locks above void of a patch, as far as it can be read; nothing for an unknown policy. */
  editFaults(scope: Scope, policyId: string, patch: unknown): Promise<readonly FieldError[]>;
  lock(caller: Caller, policyId: string, edit: LockEdit): Promise<SettingsView>;
}

export type PolicySettingsDeps = PolicyServiceDeps & { readonly cache: PolicySettingsCache };

export function createPolicySettingsService(deps: PolicySettingsDeps): PolicySettingsService {
  const { cache } = deps;
  const repository = createPolicyRepository(deps.manager);
  const viewOf = (scope: Scope, policyId: string): SettingsView => {
    const policy = cache.policies().get(policyId);
    const resolved = cache.resolvedOf(policyId);
    if (!policy || !resolved) throw new Problem('policy-not-found');
    const { fingerprint } = cache.settingsOf({ kind: 'agent', policyId, overrides: null });
    const { settings } = settingsSeenBy(scope, cache.policies(), resolved);
    return { revision: policy.revision, fingerprint, settings };
  };
  const editOne = async (caller: Caller, policyId: string, work: PolicyWork): Promise<SettingsView> => {
    await editForest(deps, async (edit) => {
      const stored = await edit.get(caller.scope, policyId);
      assertRevision(stored, work.ifMatch);
      const wanted = work.next(edit, stored, caller.scope);
      if (isDeepStrictEqual(wanted, stored)) return;
      const after = await edit.update(wanted, { actor: caller.actor, comment: work.comment });
      await auditPolicy(deps, edit, { caller, action: work.action, before: stored, after });
    });
    return viewOf(caller.scope, policyId);
  };
  return {
    async get(scope, policyId) {
      if (!(await repository.isVisible(scope, policyId))) throw new Problem('policy-not-found');
      await cache.refresh();
      return viewOf(scope, policyId);
    },
    edit: (caller, policyId, { patch, ...condition }) =>
      editOne(caller, policyId, {
        ...condition,
        action: 'policy.settings-changed',
        next: (edit, stored, scope) => patched({ edit, stored, scope }, patch),
      }),
    async editFaults(scope, policyId, patch) {
      if (!(await repository.isVisible(scope, policyId))) return [];
      await cache.refresh();
      const stored = cache.policies().get(policyId);
      if (!stored) return [];
      const above = stored.parentId === null ? DEFAULT_SETTINGS : cache.resolvedOf(stored.parentId);
      const { set } = readSettingsPatch(patch, '#').patch;
      if (!above) return [];
      const seen = settingsSeenBy(scope, cache.policies(), above);
      return overrideFaults({ above: seen, set: changedOverrides(stored.settings, set) });
    },
    lock: (caller, policyId, { key, mode, ...condition }) =>
      editOne(caller, policyId, {
        ...condition,
        action: mode === null ? 'policy.setting-unlocked' : 'policy.setting-locked',
        next: (_edit, stored) => ({ ...stored, locks: withLock(stored.locks, key, mode) }),
      }),
  };
}

interface PolicyWork extends ConditionalEdit {
  readonly action: string;
  readonly next: (edit: ForestEdit, stored: Policy, scope: Scope) => Policy;
}

interface Patching {
  readonly edit: ForestEdit;
  readonly stored: Policy;
  readonly scope: Scope;
}

function patched({ edit, stored, scope }: Patching, body: unknown): Policy {
  const patch = parseSettingsPatch(body);
  const above = settingsSeenBy(scope, edit.policies, resolvedAbove(edit.resolvedNow(), stored));
  assertOverridesCount({ above, set: changedOverrides(stored.settings, patch.set) });
  return { ...stored, settings: applySettingsPatch(stored.settings, patch) };
}

function withLock(locks: PolicyLocks, text: string, mode: LockMode | null): PolicyLocks {
  const key = parseSettingKey(text);
  if (mode !== null) assertLockable(key, mode);
  const { [key]: _replaced, ...others } = locks;
  return mode === null ? others : { ...others, [key]: mode };
}
