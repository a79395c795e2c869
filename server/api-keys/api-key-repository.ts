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

export interface ApiKey {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** The policy that the role is bound to, with all below it; null: the whole forest. */
  readonly policyId: string | null;
  readonly createdAt: Date;
  readonly createdBy: string;
  readonly expiresAt: Date | null;
  /** How the key begins; null for one that is older than the prefix. */
  readonly prefix: string | null;
  readonly lastUsedAt: Date | null;
  readonly lastUsedFrom: string | null;
}

export const API_KEY_ORDER = namedOrder('api-keys', 'api_keys');

const COLUMNS = `id, name, role, policy_id AS "policyId", created_at AS "createdAt", created_by AS "createdBy",
  expires_at AS "expiresAt", key_prefix AS prefix,
  (SELECT u.at FROM api_key_uses u WHERE u.key_id = api_keys.id) AS "lastUsedAt",
  (SELECT u.source_address FROM api_key_uses u WHERE u.key_id = api_keys.id) AS "lastUsedFrom"`;

/** Queries of `api_keys`. A key belongs to the policy that its role is bound to; one that is bound to none, to no scope but the whole. */
export interface ApiKeyRepository {
  /** The key with this hash, unless it has expired. */
  findValid(keyHash: Buffer, now: Date): Promise<ApiKey | undefined>;
  /** Notes its last use. */
  touch(id: string, at: Date, sourceAddress: string | null): Promise<void>;
  list(scope: Scope, query: PageQuery): Promise<Page<ApiKey>>;
  /** Throws `name-taken`. */
  insert(key: ApiKey, keyHash: Buffer): Promise<void>;
  /** What was removed; throws `api-key-not-found`. */
  remove(scope: Scope, id: string): Promise<ApiKey>;
}

export function createApiKeyRepository(sql: Sql): ApiKeyRepository {
  return {
    async findValid(keyHash, now) {
      const text = `SELECT ${COLUMNS} FROM api_keys WHERE key_hash = $1 AND (expires_at IS NULL OR expires_at > $2)`;
      return (await sql.query<ApiKey>(text, [keyHash, now]))[0];
    },
    async touch(id, at, sourceAddress) {
      // It may have been removed meanwhile.
      const text = `INSERT INTO api_key_uses (key_id, at, source_address)
        SELECT api_keys.id, $2::timestamptz, $3 FROM api_keys WHERE api_keys.id = $1 FOR KEY SHARE
        ON CONFLICT (key_id) DO UPDATE SET at = EXCLUDED.at, source_address = EXCLUDED.source_address
        WHERE api_key_uses.at < EXCLUDED.at`;
      await sql.query(text, [id, at, sourceAddress]);
    },
    list: (scope, query) => listKeys(sql, scope, query),
    insert: (key, keyHash) => insertKey(sql, key, keyHash),
    async remove(scope, id) {
      const visible = scope.predicate('api_keys.policy_id', 2);
      const text = `DELETE FROM api_keys WHERE id = $1 AND ${visible.sql} RETURNING ${COLUMNS}`;
      const [key] = await sql.query<ApiKey>(text, [id, ...visible.parameters]);
      if (!key) throw new Problem('api-key-not-found');
      return key;
    },
  };
}

async function listKeys(sql: Sql, scope: Scope, query: PageQuery): Promise<Page<ApiKey>> {
  const page = parsePage(query, API_KEY_ORDER);
  const visible = scope.predicate('api_keys.policy_id', 3);
  const keyset = keysetOf(page, visible.parameters.length + 3);
  const rows = await sql.query<ApiKey>(
    `SELECT ${COLUMNS} FROM api_keys WHERE ($1::text IS NULL OR name ILIKE $1) AND ${visible.sql} AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $2`,
    [query.q === undefined ? null : containing(query.q), page.limit + 1, ...visible.parameters, ...keyset.parameters],
  );
  return pageOfNamed(rows, page);
}

async function insertKey(sql: Sql, key: ApiKey, keyHash: Buffer): Promise<void> {
  await refusingTakenName({ noun: 'An API key', name: key.name }, () =>
    sql.query(
      `INSERT INTO api_keys (id, name, key_hash, role, policy_id, created_at, created_by, expires_at, key_prefix)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      [key.id, key.name, keyHash, key.role, key.policyId, key.createdAt, key.createdBy, key.expiresAt, key.prefix],
    ),
  );
}
