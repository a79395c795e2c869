import type { Role } from '../access/actor.js';
import { keysetOf, pageOf, parsePage, type ListOrder, type Page, type PlainPageQuery } from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';

export interface NewSession {
  readonly id: string;
  readonly secretHash: Buffer;
  readonly csrfHash: Buffer;
  readonly userId: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly sourceAddress: string | null;
  readonly userAgent: string | null;
}

/** A session with its user as he is now. */
export interface LiveSession {
  readonly id: string;
  readonly csrfHash: Buffer;
  readonly createdAt: Date;
  readonly usedAt: Date;
  readonly expiresAt: Date;
  /** When all that proves the user was last given. */
  readonly provenAt: Date;
  readonly userId: string;
  readonly userName: string;
  readonly role: Role;
  /** What the role is bound to. */
  readonly policyId: string | null;
  readonly mustChangePassword: boolean;
  readonly hasSecondFactor: boolean;
}

export type ListedSession = Pick<LiveSession, 'id' | 'createdAt' | 'usedAt' | 'expiresAt'> &
  Pick<NewSession, 'sourceAddress' | 'userAgent'>;

export interface SessionLimits {
  readonly now: Date;
  /** A session unused since then has ended. */
  readonly idleSince: Date;
}

export interface NewSecret {
  readonly secretHash: Buffer;
  readonly csrfHash: Buffer;
  readonly provenAt: Date;
}

export const SESSION_ORDER: ListOrder = {
  list: 'sessions',
  keys: { createdAt: { column: 'sessions.created_at', type: 'timestamptz' } },
  default: '-createdAt',
  id: 'sessions.id',
};

export interface SessionRepository {
  find(secretHash: Buffer, limits: SessionLimits): Promise<LiveSession | undefined>;
  listOfUser(userId: string, limits: SessionLimits, query: PlainPageQuery): Promise<Page<ListedSession>>;
  insert(session: NewSession): Promise<void>;
  /** Holds the user's row if his password is still the one that was verified and he may sign in; false otherwise. */
  holdUser(userId: string, passwordChangedAt: Date): Promise<boolean>;
  noteSignIn(userId: string, at: Date, sourceAddress: string | null): Promise<void>;
  touch(id: string, at: Date): Promise<void>;
  /** Another secret in the place of the present one; false when the session has ended meanwhile. */
  renew(id: string, secret: NewSecret): Promise<boolean>;
  /** Whether there was one, of that user if one is named. */
  remove(id: string, userId?: string): Promise<boolean>;
  /** All but one that is named; answers how many. */
  removeOfUser(userId: string, but?: string): Promise<number>;
  /** Removes some that have ended. */
  removeEnded(limits: SessionLimits): Promise<void>;
}

const FIND = `
SELECT s.id, s.csrf_hash AS "csrfHash", s.created_at AS "createdAt", s.used_at AS "usedAt",
       s.expires_at AS "expiresAt", s.proven_at AS "provenAt", u.id AS "userId", u.name AS "userName", u.role,
       u.policy_id AS "policyId", u.must_change_password AS "mustChangePassword",
       EXISTS (SELECT FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL) AS "hasSecondFactor"
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.secret_hash = $1 AND s.expires_at > $2 AND s.used_at > $3 AND NOT u.disabled`;

const INSERT = `
INSERT INTO sessions (id, secret_hash, csrf_hash, user_id, created_at, used_at, proven_at, expires_at, source_address,
  user_agent) VALUES ($1, $2, $3, $4, $5, $5, $5, $6, $7, $8)`;

const NOTE_SIGN_IN = `
INSERT INTO user_sign_ins (user_id, at, source_address) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET at = EXCLUDED.at, source_address = EXCLUDED.source_address`;

const IN_ID_ORDER = `
DELETE FROM sessions WHERE id IN (
  SELECT id FROM sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2::uuid ORDER BY id FOR UPDATE
) RETURNING id`;

const REMOVE_ENDED = `
DELETE FROM sessions WHERE id IN (
  SELECT id FROM sessions WHERE expires_at <= $1 OR used_at <= $2 ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
)`;

const HOLD_USER = 'SELECT id FROM users WHERE id = $1 AND password_changed_at = $2 AND NOT disabled FOR SHARE';
const RENEW = 'UPDATE sessions SET secret_hash = $2, csrf_hash = $3, proven_at = $4 WHERE id = $1 RETURNING id';
const REMOVE = 'DELETE FROM sessions WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2) RETURNING id';

export function createSessionRepository(sql: Sql): SessionRepository {
  const countOf = async (text: string, parameters: readonly unknown[]) => (await sql.query(text, parameters)).length;
  return {
    find: async (secretHash, { now, idleSince }) =>
      (await sql.query<LiveSession>(FIND, [secretHash, now, idleSince]))[0],
    listOfUser: (userId, limits, query) => listOfUser(sql, { userId, limits, query }),
    async insert({ id, secretHash, csrfHash, userId, createdAt, expiresAt, sourceAddress, userAgent }) {
      await sql.query(INSERT, [id, secretHash, csrfHash, userId, createdAt, expiresAt, sourceAddress, userAgent]);
    },
    holdUser: async (userId, passwordChangedAt) => (await countOf(HOLD_USER, [userId, passwordChangedAt])) === 1,
    async noteSignIn(userId, at, sourceAddress) {
      await sql.query(NOTE_SIGN_IN, [userId, at, sourceAddress]);
    },
    async touch(id, at) {
      await sql.query('UPDATE sessions SET used_at = $2 WHERE id = $1 AND used_at < $2', [id, at]);
    },
    renew: async (id, { secretHash, csrfHash, provenAt }) =>
      (await countOf(RENEW, [id, secretHash, csrfHash, provenAt])) === 1,
    remove: async (id, userId) => (await countOf(REMOVE, [id, userId ?? null])) === 1,
    removeOfUser: (userId, but) => countOf(IN_ID_ORDER, [userId, but ?? null]),
    async removeEnded({ now, idleSince }) {
      await sql.query(REMOVE_ENDED, [now, idleSince]);
    },
  };
}

interface Listing {
  readonly userId: string;
  readonly limits: SessionLimits;
  readonly query: PlainPageQuery;
}

async function listOfUser(sql: Sql, { userId, limits, query }: Listing): Promise<Page<ListedSession>> {
  const page = parsePage(query, SESSION_ORDER);
  const keyset = keysetOf(page, 5);
  const rows = await sql.query<ListedSession>(
    `SELECT sessions.id, sessions.created_at AS "createdAt", sessions.used_at AS "usedAt",
       sessions.expires_at AS "expiresAt", sessions.source_address AS "sourceAddress", sessions.user_agent AS "userAgent"
     FROM sessions WHERE sessions.user_id = $1 AND sessions.expires_at > $2 AND sessions.used_at > $3
       AND ${keyset.condition} ORDER BY ${keyset.orderBy} LIMIT $4`,
    [userId, limits.now, limits.idleSince, page.limit + 1, ...keyset.parameters],
  );
  return pageOf(rows, page, ({ id, createdAt }) => [createdAt.toISOString(), id]);
}
