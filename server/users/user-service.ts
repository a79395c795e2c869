import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import type { Actor, Role } from '../access/actor.js';
import { Scope } from '../access/scope.js';
import type { Page, PageQuery } from '../admin-api/page.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { Caller } from '../policies/forest-edit.js';
import { assertBindable } from '../policies/policy-references.js';
import type { FirstPasswordFile } from './first-password-file.js';
import type { PasswordHasher } from './password-hasher.js';
import type { ResetPasswordFiles } from './reset-password-file.js';
import { createUserRepository, type UserRepository } from './user-repository.js';
import { assertAdministratorRemains, auditedUser, changeOf, isWholeAdministrator } from './user-rules.js';
import { FIRST_USER_NAME, type User } from './user.js';

export interface UserServiceDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly audit: AuditLog;
  readonly passwords: PasswordHasher;
  readonly firstPassword: FirstPasswordFile;
  readonly resetPasswords: ResetPasswordFiles;
  /** Ends a user's sessions in the caller's transaction. */
  readonly endSessions: (sql: Sql, userId: string) => Promise<void>;
}

export interface NewUser {
  readonly name: string;
  readonly role: Role;
  readonly password: string;
  /** What the role is bound to; absent: to what the caller's is. */
  readonly policyId?: string | null;
  readonly mustChangePassword?: boolean;
}

export interface UserChange {
  readonly role?: Role;
  readonly password?: string;
  readonly policyId?: string | null;
  readonly mustChangePassword?: boolean;
  readonly disabled?: boolean;
}

export interface GivenPassword {
  readonly password: string;
  readonly mustChangePassword: boolean;
}

export interface UserTarget {
  readonly id: string;
  readonly revision?: number;
}

export interface Verification {
  readonly isRight: boolean;
  /** Who has the name, also when the password is wrong. */
  readonly user: User | undefined;
}

export interface UserService {
  list(scope: Scope, query: PageQuery): Promise<Page<User>>;
  /** Throws `user-not-found`. */
  get(scope: Scope, id: string): Promise<User>;
  /** Throws `name-taken`, `policy-not-found`, `beyond-scope`. */
  create(caller: Caller, user: NewUser): Promise<User>;
  /**
   * Any change ends the user's sessions. Throws `user-not-found`, `revision-stale`,
   * `policy-not-found`, `beyond-scope`, `in-use` for the last who may administer everything.
   */
  change(caller: Caller, target: UserTarget, to: UserChange): Promise<User>;
  /** A user's password, whatever his role is bound to: his own choice, or one that he has to change. */
  changePassword(actor: Actor, id: string, to: GivenPassword): Promise<User>;
  /** Throws `user-not-found`, `in-use`. */
  remove(caller: Caller, id: string): Promise<void>;
  /** Whether name and password are right; takes the same time for a name that nobody has. */
  verify(name: string, password: string): Promise<Verification>;
}

interface Tools {
  readonly sql: Sql;
  readonly users: UserRepository;
}

export function createUserService(deps: UserServiceDeps): UserService {
  const inTransaction = <T>(work: (tools: Tools) => Promise<T>): Promise<T> =>
    deps.inTransaction((manager) => {
      const sql = sqlOfManager(manager);
      return work({ sql, users: createUserRepository(sql) });
    });
  const reader = createUserRepository(deps.sql);
  const change: UserService['change'] = async (caller, target, to) => {
    const policyId = to.policyId === undefined ? undefined : caller.scope.bindingFor(to.policyId);
    const passwordHash = to.password === undefined ? undefined : await deps.passwords.hash(to.password);
    const { role, mustChangePassword, disabled } = to;
    const next = { role, policyId, passwordHash, mustChangePassword, disabled };
    const changed = await inTransaction((tools) => changeUser(deps, tools, { caller, target, next }));
    if (passwordHash !== undefined) forgetFiles(deps, changed);
    return changed;
  };
  return {
    list: (scope, query) => reader.list(scope, query),
    async get(scope, id) {
      const user = await reader.find(scope, id);
      if (!user) throw new Problem('user-not-found');
      return user;
    },
    async create({ actor, scope }, { name, role, password, policyId: asked, mustChangePassword = false }) {
      const policyId = scope.bindingFor(asked);
      const passwordHash = await deps.passwords.hash(password);
      return inTransaction(async (tools) => {
        await assertBindable(tools.sql, scope, policyId);
        return insertUser(deps, tools, { name, role, policyId, passwordHash, mustChangePassword, actor });
      });
    },
    change,
    changePassword: (actor, id, to) => change({ actor, scope: Scope.all }, { id }, to),
    async remove(caller, id) {
      forgetFiles(deps, await inTransaction((tools) => removeUser(deps, tools, { caller, id })));
    },
    async verify(name, password) {
      const user = await reader.findByName(name);
      return { isRight: await deps.passwords.verify(password, user?.passwordHash), user };
    },
  };
}

/** Files with a password that is good for nothing any more. */
function forgetFiles({ firstPassword, resetPasswords }: UserServiceDeps, user: User): void {
  if (user.name === FIRST_USER_NAME) firstPassword.remove();
  resetPasswords.remove(user);
}

interface Insertion extends Omit<NewUser, 'password' | 'policyId' | 'mustChangePassword'> {
  readonly mustChangePassword: boolean;
  readonly policyId: string | null;
  readonly passwordHash: string;
  readonly actor: Actor;
}

/** Inserts a user and its audit row; throws `name-taken`. */
export async function insertUser(
  deps: Pick<UserServiceDeps, 'clock' | 'random' | 'audit'>,
  { sql, users }: Tools,
  { name, role, policyId, passwordHash, mustChangePassword, actor }: Insertion,
): Promise<User> {
  const at = new Date(deps.clock.wall());
  const user: User = {
    id: deps.random.uuid(),
    name,
    role,
    policyId,
    passwordHash,
    createdAt: at,
    passwordChangedAt: at,
    mustChangePassword,
    disabled: false,
    hasSecondFactor: false,
    lastSignedInAt: null,
    revision: 0,
  };
  await users.insert(user);
  const entry = { actor, action: 'user.created', subjectType: 'user', subjectId: user.id };
  await deps.audit.append(sql, { ...entry, after: auditedUser(user) });
  return (await users.find(Scope.all, user.id)) ?? user;
}

interface Change {
  readonly caller: Caller;
  readonly target: UserTarget;
  readonly next: {
    readonly role: Role | undefined;
    readonly policyId: string | null | undefined;
    readonly passwordHash: string | undefined;
    readonly mustChangePassword: boolean | undefined;
    readonly disabled: boolean | undefined;
  };
}

async function changeUser(deps: UserServiceDeps, { sql, users }: Tools, change: Change): Promise<User> {
  const { caller, target, next } = change;
  // Locked in id order before the user itself, which may be one of them.
  const administrators = await users.lockAdministrators();
  const user = await users.lock(caller.scope, target.id);
  if (target.revision !== undefined && target.revision !== user.revision) throw new Problem('revision-stale');
  const wanted = changedUser(user, next, deps.clock.wall());
  if (wanted.policyId !== user.policyId) await assertBindable(sql, caller.scope, wanted.policyId);
  if (isWholeAdministrator(user)) assertAdministratorRemains(administrators, user, wanted);
  if (isDeepStrictEqual(wanted, user)) return user;
  const changed = await users.update(wanted);
  await deps.endSessions(sql, user.id);
  await deps.audit.append(sql, {
    actor: caller.actor,
    action: changeOf(user, changed),
    subjectType: 'user',
    subjectId: user.id,
    before: auditedUser(user),
    after: auditedUser(changed),
  });
  return changed;
}

function changedUser(user: User, { passwordHash, ...next }: Change['next'], nowMs: number): User {
  return {
    ...user,
    role: next.role ?? user.role,
    policyId: next.policyId === undefined ? user.policyId : next.policyId,
    mustChangePassword: next.mustChangePassword ?? user.mustChangePassword,
    disabled: next.disabled ?? user.disabled,
    ...(passwordHash === undefined ? {} : { passwordHash, passwordChangedAt: new Date(nowMs) }),
  };
}

interface Removal {
  readonly caller: Caller;
  readonly id: string;
}

async function removeUser(deps: UserServiceDeps, { sql, users }: Tools, { caller, id }: Removal): Promise<User> {
  const administrators = await users.lockAdministrators();
  const user = await users.lock(caller.scope, id);
  if (isWholeAdministrator(user)) assertAdministratorRemains(administrators, user, undefined);
  await users.remove(id);
  const entry = { actor: caller.actor, action: 'user.deleted', subjectType: 'user', subjectId: id };
  await deps.audit.append(sql, { ...entry, before: auditedUser(user) });
  return user;
}
