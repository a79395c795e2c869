import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The authority whose certificates the database's computers have: its keys are no part of the database. */
export class CreateAuthority0000000000006 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE authority (
        id smallint PRIMARY KEY CHECK (id = 1),
        root_fingerprint text NOT NULL,
        recorded_at timestamptz NOT NULL
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE authority');
  }
}
