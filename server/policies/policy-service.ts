import { assertMove } from '../../policies/forest-rules.js';
import { assertOverridesCount } from '../../policies/override-rules.js';
import { parseSettingsPatch } from '../../policies/settings-patch.js';
import { Problem } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import { mapPage, parsePage, type Page, type PageQuery } from '../admin-api/page.js';
import { editForest, type Caller, type ForestEdit } from './forest-edit.js';
import { auditPolicy } from './policy-audit.js';
import { removePolicy } from './policy-removal.js';
import { rollbackPolicy } from './policy-rollback.js';
import { createPolicyRepository, POLICY_ORDER, REVISION_ORDER } from './policy-repository.js';
import type {
  NewPolicy,
  PolicyChanges,
  PolicyServiceDeps,
  PolicyTreeNode,
  Removal,
  RevisionWithChanges,
  Rollback,
} from './policy-requests.js';
import {
  assertNameFree,
  assertNotTop,
  assertRevision,
  contentChanges,
  resolvedAbove,
  ROOTS_ARE_FOR_ALL,
  wantedParent,
} from './policy-rules.js';
import type { Policy, PolicyRevision } from './policy.js';
import { settingsSeenBy } from './settings-seen.js';

export interface PolicyService {
  list(scope: Scope, query: PageQuery): Promise<Page<Policy>>;
  tree(scope: Scope): Promise<readonly PolicyTreeNode[]>;
  get(scope: Scope, policyId: string): Promise<Policy>;
  create(caller: Caller, policy: NewPolicy): Promise<Policy>;
  edit(
    caller: Caller,
    policyId: string,
    edit: { changes: PolicyChanges; ifMatch: number | undefined },
  ): Promise<Policy>;
  rollback(caller: Caller, policyId: string, rollback: Rollback): Promise<Policy>;
  remove(caller: Caller, policyId: string, removal: Removal): Promise<void>;
  listRevisions(scope: Scope, policyId: string, query: PageQuery): Promise<Page<RevisionWithChanges>>;
}

export function createPolicyService(deps: PolicyServiceDeps): PolicyService {
  const repository = createPolicyRepository(deps.manager);
  const get = async (scope: Scope, policyId: string): Promise<Policy> => {
    const policy = await repository.find(scope, policyId);
    if (!policy) throw new Problem('policy-not-found');
    return policy;
  };
  return {
    list: (scope, query) => repository.list(scope, parsePage(query, POLICY_ORDER), query.q),
    tree: async (scope) => toTree(await repository.listAll(scope)),
    get,
    create: (caller, policy) => editForest(deps, (edit) => create(deps, edit, { caller, policy })),
    edit: (caller, policyId, { changes, ifMatch }) =>
      editForest(deps, async (edit) => {
        const stored = await edit.get(caller.scope, policyId);
        assertRevision(stored, ifMatch);
        return change(deps, edit, { caller, stored, changes });
      }),
    rollback: (caller, policyId, rollback) =>
      editForest(deps, (edit) => rollbackPolicy(deps, edit, { caller, policyId, rollback })),
    remove: (caller, policyId, removal) =>
      editForest(deps, (edit) => removePolicy(deps, edit, { caller, policyId, removal })),
    async listRevisions(scope, policyId, query) {
      await get(scope, policyId);
      const page = await repository.listRevisions(policyId, parsePage(query, REVISION_ORDER));
      const before = page.items.map(({ revision }) => revision - 1);
      const known = new Map((await repository.findRevisions(policyId, before)).map((row) => [row.revision, row]));
      const seen = await parentsSeenBy(deps.cache, scope);
      return mapPage(page, (row) => {
        const before = known.get(row.revision - 1);
        return { ...seen(row), changes: contentChanges(before && seen(before), seen(row)) };
      });
    },
  };
}

interface Creation {
  readonly caller: Caller;
  readonly policy: NewPolicy;
}

async function create(deps: PolicyServiceDeps, edit: ForestEdit, { caller, policy }: Creation): Promise<Policy> {
  const { name, parentId, description } = policy;
  await assertParentVisible(edit, caller, parentId);
  const { set } = parseSettingsPatch(policy.settings ?? {}, '#/settings');
  const created: Policy = {
    id: deps.random.uuid(),
    name,
    parentId,
    description,
    settings: set,
    locks: {},
    builtIn: false,
    revision: 1,
    createdAt: edit.at.wall,
    updatedAt: edit.at.wall,
    rulesSince: edit.at.fleet,
  };
  assertMove(edit.parents(), created);
  assertNameFree(edit.policies.values(), created);
  const above = settingsSeenBy(caller.scope, edit.policies, resolvedAbove(edit.resolvedNow(), created));
  assertOverridesCount({ above, set });
  await edit.insert(created, { actor: caller.actor, comment: policy.comment });
  await auditPolicy(deps, edit, { caller, action: 'policy.created', after: created });
  return created;
}

interface Edition {
  readonly caller: Caller;
  readonly stored: Policy;
  readonly changes: PolicyChanges;
}

async function change(
  deps: PolicyServiceDeps,
  edit: ForestEdit,
  { caller, stored, changes }: Edition,
): Promise<Policy> {
  const { name = stored.name, description = stored.description, comment = '' } = changes;
  const parentId = wantedParent(caller.scope, stored, changes.parentId);
  const wanted: Policy = { ...stored, name, parentId, description };
  assertBuiltInStays(stored, wanted);
  const isMove = parentId !== stored.parentId;
  if (!isMove && name === stored.name && description === stored.description) return stored;
  await assertMayChange(edit, caller, { stored, wanted });
  assertNameFree(edit.policies.values(), wanted);
  const after = await edit.update(wanted, { actor: caller.actor, comment });
  await auditPolicy(deps, edit, { caller, action: isMove ? 'policy.moved' : 'policy.changed', before: stored, after });
  return after;
}

function assertBuiltInStays({ builtIn, name, parentId }: Policy, wanted: Policy): void {
  if (!builtIn || (wanted.name === name && wanted.parentId === parentId)) return;
  throw new Problem('policy-built-in', { detail: `"${name}" is built in: it keeps its name and is always a root.` });
}

interface Wanted {
  readonly stored: Policy;
  readonly wanted: Policy;
}

async function assertMayChange(edit: ForestEdit, caller: Caller, { stored, wanted }: Wanted): Promise<void> {
  if (wanted.name !== stored.name) assertNotTop(caller.scope, stored);
  if (wanted.parentId === stored.parentId) return;
  await assertParentVisible(edit, caller, wanted.parentId);
  assertMove(edit.parents(), wanted);
}

async function assertParentVisible(edit: ForestEdit, { scope }: Caller, parentId: string | null): Promise<void> {
  if (parentId === null) scope.assertAll(ROOTS_ARE_FOR_ALL);
  if (!(await edit.repository.isVisible(scope, parentId)))
    throw new Problem('policy-not-found', { detail: 'The parent policy does not exist.' });
}

/** Conceals the parents that a policy had, where the scope does not hold them. */
async function parentsSeenBy(cache: PolicyServiceDeps['cache'], scope: Scope) {
  if (!scope.isAll) await cache.refresh();
  const { policies } = cache.pinned();
  return (row: PolicyRevision): PolicyRevision =>
    scope.isAll || scope.holds(policies, row.parentId) ? row : { ...row, parentId: null };
}

/** Children by name; a policy whose parent the scope does not hold stands at the top. */
function toTree(policies: readonly Policy[]): PolicyTreeNode[] {
  const known = new Set(policies.map(({ id }) => id));
  const childrenOf = new Map<string | null, Policy[]>();
  for (const policy of policies.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const parentId = policy.parentId !== null && known.has(policy.parentId) ? policy.parentId : null;
    const siblings = childrenOf.get(parentId);
    if (siblings) siblings.push(policy);
    else childrenOf.set(parentId, [policy]);
  }
  const nodesBelow = (parentId: string | null): PolicyTreeNode[] =>
    (childrenOf.get(parentId) ?? []).map((policy) => ({ ...policy, children: nodesBelow(policy.id) }));
  return nodesBelow(null);
}
