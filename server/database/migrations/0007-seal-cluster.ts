import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The cluster that a seal's transaction id counts in: a dump that is restored elsewhere brings ids of another count. Of
 * seals made before this, no cluster is known, which reads as another one. A database may have the column from 0003 already.
 */
export class SealCluster0000000000007 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE audit_seals ADD COLUMN IF NOT EXISTS cluster text NOT NULL DEFAULT ''`);
    await runner.query('ALTER TABLE audit_seals ALTER COLUMN cluster DROP DEFAULT');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE audit_seals DROP COLUMN cluster');
  }
}
