import type { Role } from '../access/actor.js';
import type { Sql } from '../database/sql.js';

export interface NewSession {
  readonly id: string;
  readonly secretHash: Buffer;
  readonly csrfHash: Buffer;
  readonly userId: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/** A session with its user as he is now. */
export interface LiveSession {
  readonly id: string;
  readonly csrfHash: Buffer;
  readonly createdAt: Date;
  readonly usedAt: Date;
  readonly expiresAt: Date;
  readonly userId: string;
  readonly userName: string;
  readonly role: Role;
  /** What the role is bound to. */
  readonly policyId: string | null;
}

export interface SessionLimits {
  readonly now: Date;
  /** A session unused since then has ended. */
  readonly idleSince: Date;
}

export interface SessionRepository {
  find(secretHash: Buffer, limits: SessionLimits): Promise<LiveSession | undefined>;
  insert(session: NewSession): Promise<void>;
  /** Holds the user's row if his password is still the one that was verified; false otherwise. */
  holdUser(userId: string, passwordChangedAt: Date): Promise<boolean>;
  touch(id: string, at: Date): Promise<void>;
  remove(id: string): Promise<boolean>;
  removeOfUser(userId: string): Promise<void>;
  /** Removes some that have ended. */
  removeEnded(limits: SessionLimits): Promise<void>;
}

const FIND = `
SELECT s.id, s.csrf_hash AS "csrfHash", s.created_at AS "createdAt", s.used_at AS "usedAt",
       s.expires_at AS "expiresAt", u.id AS "userId", u.name AS "userName", u.role,
       u.policy_id AS "policyId"
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.secret_hash = $1 AND s.expires_at > $2 AND s.used_at > $3`;

const IN_ID_ORDER = `
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user_id = $1 ORDER BY id FOR UPDATE)`;

const REMOVE_ENDED = `
DELETE FROM sessions WHERE id IN (
  SELECT id FROM sessions WHERE expires_at <= $1 OR used_at <= $2 ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
)`;

export function createSessionRepository(sql: Sql): SessionRepository {
  return {
    async find(secretHash, { now, idleSince }) {
      const [session] = await sql.query<LiveSession>(FIND, [secretHash, now, idleSince]);
      return session;
    },
    async insert({ id, secretHash, csrfHash, userId, createdAt, expiresAt }) {
      await sql.query(
        `INSERT INTO sessions (id, secret_hash, csrf_hash, user_id, created_at, used_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $5, $6)`,
        [id, secretHash, csrfHash, userId, createdAt, expiresAt],
      );
    },
    async holdUser(userId, passwordChangedAt) {
      const text = 'SELECT id FROM users WHERE id = $1 AND password_changed_at = $2 FOR SHARE';
      return (await sql.query(text, [userId, passwordChangedAt])).length === 1;
    },
    async touch(id, at) {
      await sql.query('UPDATE sessions SET used_at = $2 WHERE id = $1 AND used_at < $2', [id, at]);
    },
    async remove(id) {
      return (await sql.query('DELETE FROM sessions WHERE id = $1 RETURNING id', [id])).length === 1;
    },
    async removeOfUser(userId) {
      await sql.query(IN_ID_ORDER, [userId]);
    },
    async removeEnded({ now, idleSince }) {
      await sql.query(REMOVE_ENDED, [now, idleSince]);
    },
  };
}
