import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Over which ways a computer was heard. In the hot row, which every report writes anyway: a computer that is reached
 * both ways in turn costs no statement more than others.
 */
export class SeenWays0000000000011 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE computer_live ADD COLUMN seen_by_agent_fleet_ms bigint, ADD COLUMN seen_by_dial_fleet_ms bigint`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE computer_live DROP COLUMN seen_by_agent_fleet_ms, DROP COLUMN seen_by_dial_fleet_ms`);
  }
}
