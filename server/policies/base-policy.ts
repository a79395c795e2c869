import { catalogueDefaults } from '../../policies/settings-catalogue.js';
import type { Random } from '../../lib/random.js';
import { MANAGER_ACTOR } from '../access/actor.js';
import { editForest, type ForestEditDeps } from './forest-edit.js';
import { ensureForest } from './forest-repository.js';
import { BASE_POLICY, type Policy } from './policy.js';
import { sqlOfManager } from '../database/sql.js';

export interface BasePolicyDeps extends ForestEditDeps {
  readonly random: Random;
  /** Of the fleet clock's row: new after a restore, so that generations of before are not mistaken for later ones. */
  readonly restoreEpoch: string;
}

/**
 * At every start, before the cache is used: makes the forest's row and the built-in root with the catalogue's defaults
 * as editable values. Safe when several nodes start at once.
 */
export async function ensureBasePolicy(deps: BasePolicyDeps): Promise<void> {
  await deps.inTransaction((manager) => ensureForest(sqlOfManager(manager), deps.restoreEpoch));
  await editForest(deps, async (edit) => {
    if ([...edit.policies.values()].some(({ builtIn }) => builtIn)) return;
    const policy: Policy = {
      id: deps.random.uuid(),
      parentId: null,
      ...BASE_POLICY,
      settings: catalogueDefaults(),
      locks: {},
      builtIn: true,
      revision: 1,
      createdAt: edit.at.wall,
      updatedAt: edit.at.wall,
      rulesSince: edit.at.fleet,
    };
    await edit.insert(policy, { actor: MANAGER_ACTOR, comment: 'Made at the first start' });
    const entry = { actor: MANAGER_ACTOR, action: 'policy.created', subjectType: 'policy', subjectId: policy.id };
    await deps.audit.append(edit.sql, { ...entry, after: { name: policy.name } });
  });
}
