import { Problem } from '../../lib/problem.js';
import { MANAGER_ACTOR, type Actor } from '../access/actor.js';
import { sqlOfManager } from '../database/sql.js';
import { createUserRepository } from './user-repository.js';
import { insertUser, type UserService, type UserServiceDeps } from './user-service.js';
import { FIRST_USER_NAME, type User } from './user.js';

const GENERATED_BYTES = 18;

export interface FirstAdministrator {
  /**
   * Makes the user `admin` when no user exists. A given password is taken; otherwise one is made, written to the data
   * directory's `first-admin-password` (0600) before the user is stored, and answered, so that it may be shown on a
   * terminal instead: call `forgetFile` then. The made one has to be changed before anything else.
   */
  ensure(options: { readonly password?: string }): Promise<{ readonly generated: string | undefined }>;
  forgetFile(): void;
  /** Gives a user a new random password, which he has to change, and ends his sessions; throws `user-not-found`. For use on the machine itself. */
  resetPassword(name: string, actor: Actor): Promise<{ readonly user: User; readonly password: string }>;
}

export function createFirstAdministrator(deps: UserServiceDeps, users: UserService): FirstAdministrator {
  const newPassword = () => deps.random.bytes(GENERATED_BYTES).toString('base64url');
  return {
    async ensure({ password }) {
      if (!(await createUserRepository(deps.sql).isEmpty())) return { generated: undefined };
      const chosen = password ?? newPassword();
      const passwordHash = await deps.passwords.hash(chosen);
      if (password === undefined) deps.firstPassword.write(chosen);
      if (await insertFirst(deps, passwordHash, password === undefined))
        return { generated: password === undefined ? chosen : undefined };
      if (password === undefined) deps.firstPassword.remove();
      return { generated: undefined };
    },
    forgetFile: () => deps.firstPassword.remove(),
    async resetPassword(name, actor) {
      const user = await createUserRepository(deps.sql).findByName(name);
      if (!user) throw new Problem('user-not-found', { detail: `No user is named "${name}".` });
      const password = newPassword();
      const to = { password, mustChangePassword: true };
      return { user: await users.changePassword(actor, user.id, to), password };
    },
  };
}

/** False when another manager was faster. */
async function insertFirst(deps: UserServiceDeps, passwordHash: string, mustChangePassword: boolean): Promise<boolean> {
  try {
    return await deps.inTransaction(async (manager) => {
      const sql = sqlOfManager(manager);
      const users = createUserRepository(sql);
      if (!(await users.isEmpty())) return false;
      const admin = { name: FIRST_USER_NAME, role: 'administrator', policyId: null, passwordHash } as const;
      await insertUser(deps, { sql, users }, { ...admin, mustChangePassword, actor: MANAGER_ACTOR });
      return true;
    });
  } catch (error) {
    if (error instanceof Problem && error.code === 'name-taken') return false;
    throw error;
  }
}
