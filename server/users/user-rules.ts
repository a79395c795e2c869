import { Problem } from '../../lib/problem.js';
import type { Role } from '../access/actor.js';
import type { User } from './user.js';

/** Throws `in-use` when nobody would be left who may administer. */
export function assertAdministratorRemains(
  administrators: readonly { readonly id: string }[],
  user: Pick<User, 'id' | 'name'>,
  next: Role | undefined,
): void {
  if (next === 'administrator' || administrators.some(({ id }) => id !== user.id)) return;
  throw new Problem('in-use', { detail: `${user.name} is the last administrator; make another one first.` });
}

/** What the audit log keeps of a user. */
export function auditedUser({ name, role }: Pick<User, 'name' | 'role'>): Readonly<Record<string, unknown>> {
  return { name, role };
}
