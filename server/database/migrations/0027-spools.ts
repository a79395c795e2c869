import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What the agent's spool held at its newest report, by its own word. */
export class Spools0000000000027 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE heartbeat_rings ADD COLUMN spool jsonb');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE heartbeat_rings DROP COLUMN spool');
  }
}
