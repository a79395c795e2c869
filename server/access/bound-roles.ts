import { Problem } from '../../lib/problem.js';
import type { Sql } from '../database/sql.js';
import type { PolicyDependents } from '../policies/policy-dependents.js';

const NAMED_MAX = 20;

/**
 * Throws `in-use` where a role is bound to a policy that goes: to bind it to the one that takes the rest would give it
 * other computers than whoever bound it meant.
 */
export async function refuseBoundRoles(
  { noun, namesOf }: Pick<PolicyDependents, 'noun' | 'namesOf'>,
  sql: Sql,
  policyId: string,
): Promise<void> {
  const bound = await namesOf(sql, policyId, NAMED_MAX);
  if (bound.length === 0) return;
  const names = bound.map(({ name }) => name).join(', ');
  const detail = `Roles are bound to the policy: ${names}. Bind them to another one or remove them first.`;
  throw new Problem('in-use', { detail, members: { [noun]: bound } });
}
