import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Computers that only the manager dials, in id order: their verdicts and previews need their dials. */
export class IndexDialled0000000000010 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `CREATE INDEX computer_contacts_dialled ON computer_contacts (computer_id) WHERE direction = 'managerInitiated'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX computer_contacts_dialled');
  }
}
