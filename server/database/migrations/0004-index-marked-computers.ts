import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Previews judge computers whose goodbye or power state moves a deadline one by one: found without reading the fleet. */
export class IndexMarkedComputers0000000000004 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE INDEX computer_status_absence ON computer_status (computer_id)
       WHERE goodbye_reason IN ('restart', 'update', 'uninstall')`,
    );
    await runner.query('CREATE INDEX computers_power ON computers (id) WHERE power_since_fleet_ms IS NOT NULL');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX computers_power');
    await runner.query('DROP INDEX computer_status_absence');
  }
}
