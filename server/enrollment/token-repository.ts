import type { ComputerKind } from '../../policies/setting-values.js';
import type { Scope } from '../access/scope.js';
import { containing, keysetOf, pageOf, type ListOrder, type Page, type PageRequest } from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';

export const TOKEN_ORDER: ListOrder = {
  list: 'enrollment-tokens',
  keys: { createdAt: { column: 'enrollment_tokens.created_at', type: 'timestamptz' } },
  default: '-createdAt',
  id: 'enrollment_tokens.id',
};

/** An enrollment token without its secret, of which only the hash is stored. */
export interface StoredToken {
  readonly id: string;
  readonly policyId: string;
  readonly policyName: string;
  readonly kind: ComputerKind;
  readonly labels: Readonly<Record<string, string>>;
  readonly uses: number;
  readonly used: number;
  readonly expiresAt: Date;
  readonly ratePerSecond: number | null;
  readonly computerId: string | null;
  readonly createdAt: Date;
  readonly createdBy: string;
}

export type NewToken = Omit<StoredToken, 'policyName' | 'used'> & { readonly hash: Buffer };

export interface TokenRepository {
  insert(token: NewToken): Promise<void>;
  list(scope: Scope, page: PageRequest, q?: string): Promise<Page<StoredToken>>;
  /** Takes the row's lock. */
  lock(scope: Scope, tokenId: string): Promise<StoredToken | undefined>;
  remove(tokenId: string): Promise<void>;
  /** The kind of a computer of the scope that was never enrolled; it stays until the transaction ends. */
  holdComputer(scope: Scope, computerId: string): Promise<{ kind: ComputerKind } | undefined>;
  /** A policy of the scope; it stays until the transaction ends. */
  holdPolicy(scope: Scope, policyId: string): Promise<{ name: string } | undefined>;
}

const COLUMNS = (
  computerId: string,
): string => `enrollment_tokens.id, enrollment_tokens.policy_id AS "policyId", policies.name AS "policyName",
  enrollment_tokens.kind, enrollment_tokens.labels, enrollment_tokens.uses, enrollment_tokens.used,
  enrollment_tokens.expires_at AS "expiresAt", enrollment_tokens.rate_per_second AS "ratePerSecond",
  ${computerId} AS "computerId", enrollment_tokens.created_at AS "createdAt",
  enrollment_tokens.created_by AS "createdBy"`;

const TABLES = 'enrollment_tokens JOIN policies ON policies.id = enrollment_tokens.policy_id';

/** The record that a token names; null where it was moved out of the scope. Its parameters are those of the scope. */
function namedComputer(scope: Scope, first: number): string {
  if (scope.isAll) return 'enrollment_tokens.computer_id';
  return `(SELECT computers.id FROM computers
    WHERE computers.id = enrollment_tokens.computer_id AND ${scope.predicate('computers.policy_id', first).sql})`;
}

export function createTokenRepository(sql: Sql): TokenRepository {
  const one = async <Row extends object>(text: string, parameters: readonly unknown[]): Promise<Row | undefined> =>
    (await sql.query<Row>(text, parameters))[0];
  return {
    insert: (token) => insertToken(sql, token),
    async list(scope, page, q) {
      const visible = scope.predicate('enrollment_tokens.policy_id', 3);
      const keyset = keysetOf(page, 3 + visible.parameters.length);
      const pattern = q === undefined ? null : containing(q);
      const rows = await sql.query<StoredToken>(
        `SELECT ${COLUMNS(namedComputer(scope, 3))} FROM ${TABLES} WHERE ${visible.sql} AND ${keyset.condition}
           AND ($2::text IS NULL OR policies.name ILIKE $2 ESCAPE '\\' OR enrollment_tokens.created_by ILIKE $2 ESCAPE '\\')
         ORDER BY ${keyset.orderBy} LIMIT $1`,
        [page.limit + 1, pattern, ...visible.parameters, ...keyset.parameters],
      );
      return pageOf(rows, page, ({ createdAt, id }) => [createdAt.toISOString(), id]);
    },
    lock(scope, tokenId) {
      const visible = scope.predicate('enrollment_tokens.policy_id', 2);
      return one<StoredToken>(
        `SELECT ${COLUMNS(namedComputer(scope, 2))} FROM ${TABLES} WHERE enrollment_tokens.id = $1 AND ${visible.sql}
         FOR UPDATE OF enrollment_tokens`,
        [tokenId, ...visible.parameters],
      );
    },
    remove: async (tokenId) => void (await sql.query('DELETE FROM enrollment_tokens WHERE id = $1', [tokenId])),
    holdComputer(scope, computerId) {
      const visible = scope.predicate('computers.policy_id', 2);
      return one(
        `SELECT computers.kind FROM computers WHERE computers.id = $1 AND computers.enrolled_fleet_ms IS NULL
         AND ${visible.sql} FOR KEY SHARE`,
        [computerId, ...visible.parameters],
      );
    },
    holdPolicy(scope, policyId) {
      const visible = scope.predicate('policies.id', 2);
      return one(`SELECT policies.name FROM policies WHERE policies.id = $1 AND ${visible.sql} FOR KEY SHARE`, [
        policyId,
        ...visible.parameters,
      ]);
    },
  };
}

async function insertToken(sql: Sql, token: NewToken): Promise<void> {
  await sql.query(
    `INSERT INTO enrollment_tokens (id, token_hash, policy_id, kind, labels, uses, expires_at, rate_per_second,
       computer_id, created_at, created_by)
     VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, $8, $9, $10, $11)`,
    [
      token.id,
      token.hash,
      token.policyId,
      token.kind,
      JSON.stringify(token.labels),
      token.uses,
      token.expiresAt,
      token.ratePerSecond,
      token.computerId,
      token.createdAt,
      token.createdBy,
    ],
  );
}
