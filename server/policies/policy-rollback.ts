import { isDeepStrictEqual } from 'node:util';
import { assertLockable, assertOverridesCount } from '../../policies/override-rules.js';
import { parseSettingsPatch } from '../../policies/settings-patch.js';
import type { ResolvedSettings } from '../../policies/resolve-settings.js';
import type { LockMode } from '../../policies/setting-values.js';
import { Problem } from '../../lib/problem.js';
import type { Caller, ForestEdit } from './forest-edit.js';
import { auditPolicy } from './policy-audit.js';
import type { PolicyServiceDeps, Rollback } from './policy-requests.js';
import { assertRevision, changedOverrides, parseSettingKey, resolvedAbove } from './policy-rules.js';
import type { Policy, PolicyRevision } from './policy.js';
import { settingsSeenBy } from './settings-seen.js';

export interface RollbackRequest {
  readonly caller: Caller;
  readonly policyId: string;
  readonly rollback: Rollback;
}

/**
 * A new edit that restores the settings and locks of an earlier revision; name, parent and description stay. It is
 * checked by the catalogue and the locks of today, so it may be refused; where nothing differs nothing is stored.
 */
export async function rollbackPolicy(
  deps: PolicyServiceDeps,
  edit: ForestEdit,
  { caller, policyId, rollback }: RollbackRequest,
): Promise<Policy> {
  const stored = await edit.get(caller.scope, policyId);
  assertRevision(stored, rollback.ifMatch);
  const [wanted] = await edit.repository.findRevisions(policyId, [rollback.revision]);
  if (!wanted) throw new Problem('revision-not-found', { detail: `There is no revision ${rollback.revision}.` });
  const above = settingsSeenBy(caller.scope, edit.policies, resolvedAbove(edit.resolvedNow(), stored));
  const restored = restoredContent(above, stored, wanted);
  if (isDeepStrictEqual(restored, stored)) return stored;
  const comment = rollback.comment ?? `Rolled back to revision ${rollback.revision}`;
  const after = await edit.update(restored, { actor: caller.actor, comment });
  await auditPolicy(deps, edit, { caller, action: 'policy.rolled-back', before: stored, after });
  return after;
}

function restoredContent(above: ResolvedSettings, stored: Policy, { settings, locks }: PolicyRevision): Policy {
  const { set } = parseSettingsPatch(settings);
  assertOverridesCount({ above, set: changedOverrides(stored.settings, set) });
  for (const [key, mode] of Object.entries(locks)) assertLockable(parseSettingKey(key), mode as LockMode);
  return { ...stored, settings: set, locks };
}
