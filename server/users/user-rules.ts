import { Problem } from '../../lib/problem.js';
import type { User } from './user.js';

type Standing = Pick<User, 'role' | 'policyId' | 'disabled'>;

/** Whether a user may administer everything. */
export function isWholeAdministrator({ role, policyId, disabled }: Standing): boolean {
  return role === 'administrator' && policyId === null && !disabled;
}

/** Throws `in-use` when nobody would be left who may administer everything. */
export function assertAdministratorRemains(
  administrators: readonly { readonly id: string }[],
  user: Pick<User, 'id' | 'name'>,
  next: Standing | undefined,
): void {
  if ((next && isWholeAdministrator(next)) || administrators.some(({ id }) => id !== user.id)) return;
  throw new Problem('in-use', { detail: `${user.name} is the last administrator; make another one first.` });
}

/** What the audit log keeps of a user. */
export function auditedUser(user: User): Readonly<Record<string, unknown>> {
  const { name, role, policyId, mustChangePassword, disabled } = user;
  return { name, role, policyId, mustChangePassword, disabled };
}

/** What a change of a user is called: what weighs most of it. */
export function changeOf(before: User, after: User): string {
  if (after.passwordHash !== before.passwordHash) return 'user.password-changed';
  if (after.disabled !== before.disabled) return after.disabled ? 'user.disabled' : 'user.enabled';
  return after.role === before.role && after.policyId === before.policyId ? 'user.changed' : 'user.role-changed';
}
