import { Problem } from '../../lib/problem.js';
import type { User } from './user.js';

/** Whether a user may administer everything. */
export function isWholeAdministrator({ role, policyId }: Pick<User, 'role' | 'policyId'>): boolean {
  return role === 'administrator' && policyId === null;
}

/** Throws `in-use` when nobody would be left who may administer everything. */
export function assertAdministratorRemains(
  administrators: readonly { readonly id: string }[],
  user: Pick<User, 'id' | 'name'>,
  next: Pick<User, 'role' | 'policyId'> | undefined,
): void {
  if ((next && isWholeAdministrator(next)) || administrators.some(({ id }) => id !== user.id)) return;
  throw new Problem('in-use', { detail: `${user.name} is the last administrator; make another one first.` });
}

/** What the audit log keeps of a user. */
export function auditedUser(user: Pick<User, 'name' | 'role' | 'policyId'>): Readonly<Record<string, unknown>> {
  const { name, role, policyId } = user;
  return { name, role, policyId };
}
