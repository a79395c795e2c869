import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import type { Actor, Role } from '../access/actor.js';
import type { Page, PageQuery } from '../admin-api/page.js';
import type { AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FirstPasswordFile } from './first-password-file.js';
import type { PasswordHasher } from './password-hasher.js';
import type { ResetPasswordFiles } from './reset-password-file.js';
import { createUserRepository, type UserRepository } from './user-repository.js';
import { assertAdministratorRemains, auditedUser } from './user-rules.js';
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
}

export interface UserChange {
  readonly role?: Role;
  readonly password?: string;
}

export interface Verification {
  readonly isRight: boolean;
  /** Who has the name, also when the password is wrong. */
  readonly user: User | undefined;
}

export interface UserService {
  list(query: PageQuery): Promise<Page<User>>;
  /** Throws `user-not-found`. */
  get(id: string): Promise<User>;
  create(user: NewUser, actor: Actor): Promise<User>;
  /** A new role or password ends the user's sessions. Throws `revision-stale`, `in-use` for the last administrator. */
  change(target: { readonly id: string; readonly revision?: number }, to: UserChange, actor: Actor): Promise<User>;
  remove(id: string, actor: Actor): Promise<void>;
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
  return {
    list: (query) => reader.list(query),
    async get(id) {
      const user = await reader.find(id);
      if (!user) throw new Problem('user-not-found');
      return user;
    },
    async create({ name, role, password }, actor) {
      const passwordHash = await deps.passwords.hash(password);
      return inTransaction((tools) => insertUser(deps, tools, { name, role, passwordHash, actor }));
    },
    async change(target, to, actor) {
      const passwordHash = to.password === undefined ? undefined : await deps.passwords.hash(to.password);
      const next = { role: to.role, passwordHash };
      const changed = await inTransaction((tools) => changeUser(deps, tools, { target, next, actor }));
      if (passwordHash !== undefined) forgetFiles(deps, changed);
      return changed;
    },
    async remove(id, actor) {
      forgetFiles(deps, await inTransaction((tools) => removeUser(deps, tools, { id, actor })));
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

interface Insertion extends Omit<NewUser, 'password'> {
  readonly passwordHash: string;
  readonly actor: Actor;
}

/** Inserts a user and its audit row; throws `name-taken`. */
export async function insertUser(
  deps: Pick<UserServiceDeps, 'clock' | 'random' | 'audit'>,
  { sql, users }: Tools,
  { name, role, passwordHash, actor }: Insertion,
): Promise<User> {
  const at = new Date(deps.clock.wall());
  const user: User = {
    id: deps.random.uuid(),
    name,
    role,
    passwordHash,
    createdAt: at,
    passwordChangedAt: at,
    revision: 0,
  };
  await users.insert(user);
  const entry = { actor, action: 'user.created', subjectType: 'user', subjectId: user.id };
  await deps.audit.append(sql, { ...entry, after: auditedUser(user) });
  return (await users.find(user.id)) ?? user;
}

interface Change {
  readonly target: { readonly id: string; readonly revision?: number };
  readonly next: { readonly role: Role | undefined; readonly passwordHash: string | undefined };
  readonly actor: Actor;
}

async function changeUser(deps: UserServiceDeps, { sql, users }: Tools, change: Change): Promise<User> {
  const { target, next, actor } = change;
  // Locked in id order before the user itself, which may be one of them.
  const administrators = await users.lockAdministrators();
  const user = await users.lock(target.id);
  if (target.revision !== undefined && target.revision !== user.revision) throw new Problem('revision-stale');
  const role = next.role ?? user.role;
  if (user.role === 'administrator') assertAdministratorRemains(administrators, user, role);
  if (role === user.role && next.passwordHash === undefined) return user;
  const passwordChangedAt = next.passwordHash === undefined ? user.passwordChangedAt : new Date(deps.clock.wall());
  const passwordHash = next.passwordHash ?? user.passwordHash;
  const changed = await users.update({ ...user, role, passwordHash, passwordChangedAt });
  await deps.endSessions(sql, user.id);
  await deps.audit.append(sql, {
    actor,
    action: next.passwordHash === undefined ? 'user.role-changed' : 'user.password-changed',
    subjectType: 'user',
    subjectId: user.id,
    before: auditedUser(user),
    after: auditedUser(changed),
  });
  return changed;
}

interface Removal {
  readonly id: string;
  readonly actor: Actor;
}

async function removeUser(deps: UserServiceDeps, { sql, users }: Tools, { id, actor }: Removal): Promise<User> {
  const administrators = await users.lockAdministrators();
  const user = await users.lock(id);
  if (user.role === 'administrator') assertAdministratorRemains(administrators, user, undefined);
  await users.remove(id);
  const entry = { actor, action: 'user.deleted', subjectType: 'user', subjectId: id };
  await deps.audit.append(sql, { ...entry, before: auditedUser(user) });
  return user;
}
