import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- How far an operation is: each of these is counted without a look at a row.
CREATE INDEX commands_of_operation ON commands (operation_id, state) WHERE operation_id IS NOT NULL;
CREATE INDEX operation_targets_without_command ON operation_targets (operation_id, state) WHERE state <> 'queued';
`;

/** Indexes that count the targets of operations. */
export class CountTargets0000000000028 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX commands_of_operation, operation_targets_without_command');
  }
}
