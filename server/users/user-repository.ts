import { Problem } from '../../lib/problem.js';
import type { Role } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import {
  containing,
  keysetOf,
  namedOrder,
  pageOfNamed,
  parsePage,
  type Page,
  type PageQuery,
} from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import { refusingTakenName } from '../database/taken-name.js';
import type { User } from './user.js';

export const USER_ORDER = namedOrder('users', 'users');

interface Row {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly policy_id: string | null;
  readonly password_hash: string;
  readonly created_at: Date;
  readonly password_changed_at: Date;
  readonly must_change_password: boolean;
  readonly disabled: boolean;
  readonly has_second_factor: boolean;
  readonly last_signed_in_at: Date | null;
  readonly revision: number;
}

/** The row's own version is its revision: it moves with every change and is only compared for equality. */
const COLUMNS = `id, name, role, policy_id, password_hash, created_at, password_changed_at, must_change_password, disabled,
  xmin::text::bigint AS revision,
  EXISTS (SELECT FROM second_factors f WHERE f.user_id = users.id AND f.confirmed_at IS NOT NULL) AS has_second_factor,
  (SELECT s.at FROM user_sign_ins s WHERE s.user_id = users.id) AS last_signed_in_at`;

const UPDATE = `
UPDATE users SET role = $2, policy_id = $3, password_hash = $4, password_changed_at = $5, must_change_password = $6,
  disabled = $7 WHERE id = $1`;

/** Queries of `users`. A user belongs to the policy that his role is bound to; one that is bound to none, to no scope but the whole. */
export interface UserRepository {
  find(scope: Scope, id: string): Promise<User | undefined>;
  findByName(name: string): Promise<User | undefined>;
  /** Locks the user; throws `user-not-found`. */
  lock(scope: Scope, id: string): Promise<User>;
  /** Locks all who may administer everything, in id order. */
  lockAdministrators(): Promise<readonly { readonly id: string }[]>;
  isEmpty(): Promise<boolean>;
  list(scope: Scope, query: PageQuery): Promise<Page<User>>;
  /** Throws `name-taken`. */
  insert(user: User): Promise<void>;
  /** Stores all but the name; answers the user with his new revision. */
  update(user: User): Promise<User>;
  remove(id: string): Promise<void>;
}

/** Whether somebody of the scope can be given something to look after. */
export async function isUserNamed(sql: Sql, scope: Scope, name: string): Promise<boolean> {
  const visible = scope.predicate('users.policy_id', 2);
  const rows = await sql.query(`SELECT 1 AS yes FROM users WHERE users.name = $1 AND ${visible.sql}`, [
    name,
    ...visible.parameters,
  ]);
  return rows.length > 0;
}

export function createUserRepository(sql: Sql): UserRepository {
  const one = async (condition: string, parameters: readonly unknown[]) => {
    const [row] = await sql.query<Row>(`SELECT ${COLUMNS} FROM users WHERE ${condition}`, parameters);
    return row && toUser(row);
  };
  const ofScope = (scope: Scope, id: string, lock: string) => {
    const visible = scope.predicate('users.policy_id', 2);
    return one(`id = $1 AND ${visible.sql} ${lock}`, [id, ...visible.parameters]);
  };
  return {
    find: (scope, id) => ofScope(scope, id, ''),
    findByName: (name) => one('name = $1', [name]),
    async lock(scope, id) {
      const user = await ofScope(scope, id, 'FOR UPDATE');
      if (!user) throw new Problem('user-not-found');
      return user;
    },
    lockAdministrators: () =>
      sql.query<{ id: string }>(
        `SELECT id FROM users WHERE role = 'administrator' AND policy_id IS NULL AND NOT disabled
         ORDER BY id FOR UPDATE`,
      ),
    async isEmpty() {
      const [row] = await sql.query<{ empty: boolean }>('SELECT NOT EXISTS (SELECT 1 FROM users) AS empty');
      return row?.empty ?? true;
    },
    list: (scope, query) => listUsers(sql, scope, query),
    insert: (user) => insertUser(sql, user),
    async update(user) {
      const { id, role, policyId, passwordHash, passwordChangedAt, mustChangePassword, disabled } = user;
      await sql.query(UPDATE, [id, role, policyId, passwordHash, passwordChangedAt, mustChangePassword, disabled]);
      return (await one('id = $1', [user.id])) ?? user;
    },
    async remove(id) {
      await sql.query('DELETE FROM users WHERE id = $1', [id]);
    },
  };
}

async function listUsers(sql: Sql, scope: Scope, query: PageQuery): Promise<Page<User>> {
  const page = parsePage(query, USER_ORDER);
  const visible = scope.predicate('users.policy_id', 3);
  const keyset = keysetOf(page, visible.parameters.length + 3);
  const rows = await sql.query<Row>(
    `SELECT ${COLUMNS} FROM users WHERE ($1::text IS NULL OR name ILIKE $1) AND ${visible.sql} AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $2`,
    [query.q === undefined ? null : containing(query.q), page.limit + 1, ...visible.parameters, ...keyset.parameters],
  );
  return pageOfNamed(rows.map(toUser), page);
}

async function insertUser(sql: Sql, user: User): Promise<void> {
  await refusingTakenName({ noun: 'A user', name: user.name }, () =>
    sql.query(
      `INSERT INTO users (id, name, password_hash, role, policy_id, created_at, password_changed_at, must_change_password)
       VALUES ($1, $2, $3, $4, $5, $6, $6, $7)`,
      [user.id, user.name, user.passwordHash, user.role, user.policyId, user.createdAt, user.mustChangePassword],
    ),
  );
}

function toUser(row: Row): User {
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    policyId: row.policy_id,
    passwordHash: row.password_hash,
    createdAt: row.created_at,
    passwordChangedAt: row.password_changed_at,
    mustChangePassword: row.must_change_password,
    disabled: row.disabled,
    hasSecondFactor: row.has_second_factor,
    lastSignedInAt: row.last_signed_in_at,
    revision: Number(row.revision),
  };
}
