import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Certificates that take the place of others. */
export class Renewal0000000000030 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
-- renews: the serial that it was asked for with; null of an enrollment's. used_at: of the first report that came by it.
ALTER TABLE certificates ADD COLUMN renews text, ADD COLUMN used_at timestamptz`);
    await runner.query('CREATE INDEX certificates_expiry ON certificates (not_after, serial)');
    await runner.query(`
-- From when on one that was not renewed is late: two thirds of its life.
CREATE INDEX certificates_late ON certificates (
  ((not_after AT TIME ZONE 'UTC') - (not_after - not_before) / 3), computer_id) WHERE revoked_at IS NULL`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX certificates_late, certificates_expiry');
    await runner.query('ALTER TABLE certificates DROP COLUMN renews, DROP COLUMN used_at');
  }
}
