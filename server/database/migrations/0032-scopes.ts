import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- The policy below which the role counts; null: everywhere.
ALTER TABLE users ADD COLUMN policy_id uuid REFERENCES policies (id);
CREATE INDEX users_policy ON users (policy_id) WHERE policy_id IS NOT NULL;
ALTER TABLE api_keys ADD COLUMN policy_id uuid REFERENCES policies (id);
CREATE INDEX api_keys_policy ON api_keys (policy_id) WHERE policy_id IS NOT NULL;
-- What whoever began it is bound to: its commands go nowhere else. No reference, since history stays.
ALTER TABLE operations ADD COLUMN policy_id uuid;
ALTER TABLE operations DROP CONSTRAINT operations_idempotency_key_key;
-- Two scopes know nothing of each other's keys.
CREATE UNIQUE INDEX operations_idempotency ON operations (idempotency_key, policy_id) NULLS NOT DISTINCT
  WHERE idempotency_key IS NOT NULL;
`;

/** Roles that are bound to a part of the policy forest. */
export class Scopes0000000000032 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
DROP INDEX operations_idempotency;
ALTER TABLE operations ADD CONSTRAINT operations_idempotency_key_key UNIQUE (idempotency_key);
ALTER TABLE operations DROP COLUMN policy_id;
ALTER TABLE api_keys DROP COLUMN policy_id;
ALTER TABLE users DROP COLUMN policy_id;
`);
  }
}
