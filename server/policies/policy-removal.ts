import { assertMove } from '../../policies/forest-rules.js';
import { DEFAULT_SETTINGS } from '../../policies/resolve-settings.js';
import { Problem } from '../../lib/problem.js';
import { changesVerdictRules } from './computer-settings.js';
import type { Caller, ForestEdit } from './forest-edit.js';
import { auditPolicy } from './policy-audit.js';
import type { PolicyServiceDeps, Removal } from './policy-requests.js';
import { assertNameFree, assertNotTop, assertRevision } from './policy-rules.js';
import type { Policy } from './policy.js';

/** How many of each kind the `in-use` problem names. */
const NAMED_MAX = 20;

export interface RemovalRequest {
  readonly caller: Caller;
  readonly policyId: string;
  readonly removal: Removal;
}

/**
 * Deletes a policy: (1) lock its tokens, then its row, in the order of an enrollment, so that a computer that is just
 * being attached either counts or finds it gone, (2) refuse with what uses it, or move children and dependents,
 * (3) delete.
 */
export async function removePolicy(
  deps: PolicyServiceDeps,
  edit: ForestEdit,
  { caller, policyId, removal }: RemovalRequest,
): Promise<void> {
  const policy = await edit.get(caller.scope, policyId);
  assertRevision(policy, removal.ifMatch);
  assertNotTop(caller.scope, policy);
  if (policy.builtIn) throw new Problem('policy-built-in', { detail: `"${policy.name}" is built in and stays.` });
  for (const dependents of deps.dependents) await dependents.hold(edit.sql, policyId);
  await edit.sql.query('SELECT 1 AS locked FROM policies WHERE policies.id = $1 FOR UPDATE', [policyId]);
  if (removal.reassignTo === undefined) await assertUnused(deps, edit, policy);
  else await reassign(deps, edit, { caller, policy, removal, to: removal.reassignTo });
  for (const dependents of deps.dependents) await dependents.discard(edit.sql, policyId);
  await edit.remove(policyId);
  await auditPolicy(deps, edit, { caller, action: 'policy.deleted', before: policy });
}

async function assertUnused(deps: PolicyServiceDeps, edit: ForestEdit, policy: Policy): Promise<void> {
  const users: Record<string, readonly { id: string; name: string }[]> = {};
  const children = childrenOf(edit, policy.id).map(({ id, name }) => ({ id, name }));
  if (children.length > 0) users['children'] = children.slice(0, NAMED_MAX);
  for (const { noun, namesOf } of deps.dependents) {
    const named = await namesOf(edit.sql, policy.id, NAMED_MAX);
    if (named.length > 0) users[noun] = named;
  }
  const nouns = Object.keys(users);
  if (nouns.length === 0) return;
  const sayings = nouns.map((noun) => `${noun}: ${users[noun]?.map(({ name }) => name).join(', ')}`);
  throw new Problem('in-use', {
    detail: `"${policy.name}" has ${sayings.join('; ')}. Delete them first or name a policy in ?reassignTo=.`,
    members: users,
  });
}

interface Reassignment {
  readonly caller: Caller;
  readonly policy: Policy;
  readonly removal: Removal;
  readonly to: string;
}

async function reassign(deps: PolicyServiceDeps, edit: ForestEdit, { caller, policy, removal, to }: Reassignment) {
  const target = await edit.get(caller.scope, to).catch((cause: unknown) => {
    throw new Problem('policy-not-found', { detail: 'The policy named in ?reassignTo= does not exist.' }, cause);
  });
  if (target.id === policy.id)
    throw new Problem('policy-cycle', { detail: 'The policy to be deleted cannot take what belongs to it.' });
  for (const child of childrenOf(edit, policy.id)) {
    const moved: Policy = { ...child, parentId: target.id };
    assertMove(edit.parents(), moved);
    assertNameFree(edit.policies.values(), moved);
    await edit.update(moved, { actor: caller.actor, comment: removal.comment });
  }
  const before = edit.resolvedBefore();
  const from = before.get(policy.id) ?? DEFAULT_SETTINGS;
  const rulesDiffer = changesVerdictRules(from, before.get(target.id) ?? DEFAULT_SETTINGS);
  const rulesSince = rulesDiffer ? edit.at.fleet : policy.rulesSince;
  for (const dependents of deps.dependents)
    await dependents.reassign(edit.sql, { from: policy.id, to: target.id, at: edit.at, caller, rulesSince });
}

/** In id order, as every multi-row write. */
function childrenOf(edit: ForestEdit, policyId: string): Policy[] {
  return [...edit.policies.values()]
    .filter(({ parentId }) => parentId === policyId)
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
}
