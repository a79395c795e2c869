import type { Sql } from '../database/sql.js';
import type { CodeFailures } from './second-factor-rules.js';

export interface SecondFactor extends CodeFailures {
  /** Sealed. */
  readonly secret: Buffer;
  /** Null: begun and not yet answered with a code. */
  readonly confirmedAt: Date | null;
  readonly lastStep: number | null;
}

export interface SecondFactorStatus {
  readonly confirmedAt: Date | null;
  readonly recoveryCodesLeft: number;
}

export interface NewSecondFactor {
  readonly userId: string;
  readonly secret: Buffer;
  readonly createdAt: Date;
}

export interface StoredCode {
  readonly id: string;
  readonly hash: Buffer;
}

/** Queries of `second_factors` and `recovery_codes`. They belong to their user, so these take no scope. */
export interface SecondFactorRepository {
  status(userId: string): Promise<SecondFactorStatus | undefined>;
  lock(userId: string): Promise<SecondFactor | undefined>;
  /** In the place of one that was never confirmed; false where one is. */
  begin(factor: NewSecondFactor): Promise<boolean>;
  confirm(userId: string, confirmedAt: Date, step: number): Promise<void>;
  /** The code of this step is used up. */
  succeed(userId: string, step: number): Promise<void>;
  fail(userId: string, at: Date): Promise<void>;
  /** In the place of all others. */
  setRecoveryCodes(userId: string, codes: readonly StoredCode[]): Promise<void>;
  /** False for one that is unknown or used. */
  useRecoveryCode(userId: string, hash: Buffer, at: Date): Promise<boolean>;
  /** Whether there was one. */
  remove(userId: string): Promise<boolean>;
}

const LOCK = `
SELECT secret, confirmed_at AS "confirmedAt", last_step::float8 AS "lastStep", failures, failed_at AS "failedAt"
FROM second_factors WHERE user_id = $1 FOR UPDATE`;

const STATUS = `
SELECT f.confirmed_at AS "confirmedAt",
  (SELECT count(*)::integer FROM recovery_codes c WHERE c.user_id = f.user_id AND c.used_at IS NULL) AS "recoveryCodesLeft"
FROM second_factors f WHERE f.user_id = $1`;

const BEGIN = `
INSERT INTO second_factors (user_id, secret, created_at) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET secret = EXCLUDED.secret, created_at = EXCLUDED.created_at, last_step = NULL,
  failures = 0, failed_at = NULL
WHERE second_factors.confirmed_at IS NULL RETURNING user_id`;

const CONFIRM = 'UPDATE second_factors SET confirmed_at = $2, last_step = $3, failures = 0 WHERE user_id = $1';
const SUCCEED = 'UPDATE second_factors SET last_step = $2, failures = 0, failed_at = NULL WHERE user_id = $1';
const FAIL = 'UPDATE second_factors SET failures = failures + 1, failed_at = $2 WHERE user_id = $1';
const ADD_CODES = `
INSERT INTO recovery_codes (id, user_id, code_hash)
SELECT input.id, $1, input.hash FROM unnest($2::uuid[], $3::bytea[]) AS input (id, hash)`;
const USE_CODE = `
UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL RETURNING id`;

export function createSecondFactorRepository(sql: Sql): SecondFactorRepository {
  const isFound = async (text: string, parameters: readonly unknown[]) =>
    (await sql.query(text, parameters)).length > 0;
  return {
    status: async (userId) => (await sql.query<SecondFactorStatus>(STATUS, [userId]))[0],
    lock: async (userId) => (await sql.query<SecondFactor>(LOCK, [userId]))[0],
    begin: ({ userId, secret, createdAt }) => isFound(BEGIN, [userId, secret, createdAt]),
    async confirm(userId, confirmedAt, step) {
      await sql.query(CONFIRM, [userId, confirmedAt, step]);
    },
    async succeed(userId, step) {
      await sql.query(SUCCEED, [userId, step]);
    },
    async fail(userId, at) {
      await sql.query(FAIL, [userId, at]);
    },
    async setRecoveryCodes(userId, codes) {
      await sql.query('DELETE FROM recovery_codes WHERE user_id = $1', [userId]);
      await sql.query(ADD_CODES, [userId, codes.map(({ id }) => id), codes.map(({ hash }) => hash)]);
    },
    useRecoveryCode: (userId, hash, at) => isFound(USE_CODE, [userId, hash, at]),
    remove: (userId) => isFound('DELETE FROM second_factors WHERE user_id = $1 RETURNING user_id', [userId]),
  };
}
