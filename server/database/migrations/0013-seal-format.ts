import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Format 2 of a seal: its hash covers its own columns too, and it keeps what the sealer had seen before (`looked_…`), by
 * which a row that was put in later under an earlier time is told apart. Seals made before this are of format 1.
 */
const COLUMNS = `
ALTER TABLE audit_seals
  ADD COLUMN format smallint NOT NULL DEFAULT 1,
  ADD COLUMN row_hash bytea,
  ADD COLUMN looked_at timestamptz,
  ADD COLUMN looked_settled xid8,
  ADD COLUMN looked_next xid8`;

export class SealFormat0000000000013 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(COLUMNS);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE audit_seals DROP COLUMN format, DROP COLUMN row_hash, DROP COLUMN looked_at,
         DROP COLUMN looked_settled, DROP COLUMN looked_next`,
    );
  }
}
