import { Problem } from '../../lib/problem.js';
import type { Role } from '../access/actor.js';
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
  readonly password_hash: string;
  readonly created_at: Date;
  readonly password_changed_at: Date;
  readonly revision: number;
}

/** The row's own version is its revision: it moves with every change and is only compared for equality. */
const COLUMNS = 'id, name, role, password_hash, created_at, password_changed_at, xmin::text::bigint AS revision';

/** Queries of `users`. Users belong to no policy, so these take no scope. */
export interface UserRepository {
  find(id: string): Promise<User | undefined>;
  findByName(name: string): Promise<User | undefined>;
  /** Locks the user; throws `user-not-found`. */
  lock(id: string): Promise<User>;
  /** Locks all administrators in id order. */
  lockAdministrators(): Promise<readonly { readonly id: string }[]>;
  isEmpty(): Promise<boolean>;
  list(query: PageQuery): Promise<Page<User>>;
  /** Throws `name-taken`. */
  insert(user: User): Promise<void>;
  /** Stores role and password; answers the user with his new revision. */
  update(user: User): Promise<User>;
  remove(id: string): Promise<void>;
}

/** Whether somebody can be given something to look after. */
export async function isUserNamed(sql: Sql, name: string): Promise<boolean> {
  return (await createUserRepository(sql).findByName(name)) !== undefined;
}

export function createUserRepository(sql: Sql): UserRepository {
  const one = async (condition: string, parameters: readonly unknown[]) => {
    const [row] = await sql.query<Row>(`SELECT ${COLUMNS} FROM users WHERE ${condition}`, parameters);
    return row && toUser(row);
  };
  return {
    find: (id) => one('id = $1', [id]),
    findByName: (name) => one('name = $1', [name]),
    async lock(id) {
      const user = await one('id = $1 FOR UPDATE', [id]);
      if (!user) throw new Problem('user-not-found');
      return user;
    },
    lockAdministrators: () =>
      sql.query<{ id: string }>(`SELECT id FROM users WHERE role = 'administrator' ORDER BY id FOR UPDATE`),
    async isEmpty() {
      const [row] = await sql.query<{ empty: boolean }>('SELECT NOT EXISTS (SELECT 1 FROM users) AS empty');
      return row?.empty ?? true;
    },
    list: (query) => listUsers(sql, query),
    insert: (user) => insertUser(sql, user),
    async update(user) {
      await sql.query('UPDATE users SET role = $2, password_hash = $3, password_changed_at = $4 WHERE id = $1', [
        user.id,
        user.role,
        user.passwordHash,
        user.passwordChangedAt,
      ]);
      return (await one('id = $1', [user.id])) ?? user;
    },
    async remove(id) {
      await sql.query('DELETE FROM users WHERE id = $1', [id]);
    },
  };
}

async function listUsers(sql: Sql, query: PageQuery): Promise<Page<User>> {
  const page = parsePage(query, USER_ORDER);
  const keyset = keysetOf(page, 3);
  const rows = await sql.query<Row>(
    `SELECT ${COLUMNS} FROM users WHERE ($1::text IS NULL OR name ILIKE $1) AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $2`,
    [query.q === undefined ? null : containing(query.q), page.limit + 1, ...keyset.parameters],
  );
  return pageOfNamed(rows.map(toUser), page);
}

async function insertUser(sql: Sql, user: User): Promise<void> {
  await refusingTakenName({ noun: 'A user', name: user.name }, () =>
    sql.query(
      `INSERT INTO users (id, name, password_hash, role, created_at, password_changed_at)
       VALUES ($1, $2, $3, $4, $5, $6)`,
      [user.id, user.name, user.passwordHash, user.role, user.createdAt, user.passwordChangedAt],
    ),
  );
}

function toUser(row: Row): User {
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    passwordHash: row.password_hash,
    createdAt: row.created_at,
    passwordChangedAt: row.password_changed_at,
    revision: Number(row.revision),
  };
}
