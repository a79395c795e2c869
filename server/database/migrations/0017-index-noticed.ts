import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The status changes of the last seconds, for who follows them. */
export class IndexNoticed0000000000017 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE INDEX status_history_noticed ON status_history (noticed_fleet_ms, id)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX status_history_noticed');
  }
}
