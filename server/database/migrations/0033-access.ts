import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
ALTER TABLE users
  -- Nothing but a new password may be had with the present one.
  ADD COLUMN must_change_password boolean NOT NULL DEFAULT false,
  ADD COLUMN disabled boolean NOT NULL DEFAULT false;
-- Apart from users, whose row version is their revision.
CREATE TABLE user_sign_ins (
  user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  at timestamptz NOT NULL,
  source_address text
);
CREATE TABLE second_factors (
  user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  -- Sealed with keys/access-secret.
  secret bytea NOT NULL,
  created_at timestamptz NOT NULL,
  -- Null: it was never answered with a code and counts for nothing.
  confirmed_at timestamptz,
  -- The step of the last code that was taken; it and all before it are used up.
  last_step bigint,
  -- Wrong codes in a row.
  failures integer NOT NULL DEFAULT 0,
  failed_at timestamptz
);
CREATE TABLE recovery_codes (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES second_factors (user_id) ON DELETE CASCADE,
  code_hash bytea NOT NULL,
  used_at timestamptz,
  UNIQUE (user_id, code_hash)
);
ALTER TABLE sessions
  -- When all that proves the user was last given.
  ADD COLUMN proven_at timestamptz,
  ADD COLUMN source_address text,
  ADD COLUMN user_agent text;
UPDATE sessions SET proven_at = created_at;
ALTER TABLE sessions ALTER COLUMN proven_at SET NOT NULL;
ALTER TABLE api_keys
  -- Null: made before it was kept.
  ADD COLUMN key_prefix text;
CREATE TABLE api_key_uses (
  key_id uuid PRIMARY KEY REFERENCES api_keys (id) ON DELETE CASCADE,
  -- The last one, to the minute.
  at timestamptz NOT NULL,
  source_address text
);
`;

/** Second factors, proofs of sessions, what becomes of users and API keys. */
export class Access0000000000033 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
DROP TABLE api_key_uses;
ALTER TABLE api_keys DROP COLUMN key_prefix;
ALTER TABLE sessions DROP COLUMN proven_at, DROP COLUMN source_address, DROP COLUMN user_agent;
DROP TABLE recovery_codes, second_factors, user_sign_ins;
ALTER TABLE users DROP COLUMN must_change_password, DROP COLUMN disabled;
`);
  }
}
