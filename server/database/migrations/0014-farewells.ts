import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Agents that only the manager dials and whose computer was removed or revoked: where they were reached last, until one
 * more dial has told them. The record of a removed one is gone by then.
 */
const TABLE = `
CREATE TABLE farewells (
  computer_id uuid PRIMARY KEY,
  address text,
  observed_address text,
  port integer NOT NULL,
  ordered_fleet_ms bigint NOT NULL,
  -- Of the next attempt; while one is under way, when another process may take it over.
  due_fleet_ms bigint NOT NULL,
  -- That began; those that the agent or the manager had no room for are taken back.
  attempts smallint NOT NULL DEFAULT 0
);
CREATE INDEX farewells_due ON farewells (due_fleet_ms);
`;

export class Farewells0000000000014 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(TABLE);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE farewells');
  }
}
