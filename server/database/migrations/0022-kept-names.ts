import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- The last name of a computer whose record was removed; null while there is a record.
ALTER TABLE alerts ADD COLUMN computer_name text;

-- A label is stored and answered as key=value, however it was given.
UPDATE maintenance_windows SET label = regexp_replace(label, '^([^:=]*):', '\\1=') WHERE label ~ '^[^:=]*:';
UPDATE notification_routes SET label = regexp_replace(label, '^([^:=]*):', '\\1=') WHERE label ~ '^[^:=]*:';
`;

/** Names that outlive a computer's record, and one spelling of labels. */
export class KeptNames0000000000022 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
UPDATE maintenance_windows SET label = regexp_replace(label, '^([^:=]*)=', '\\1:') WHERE label ~ '^[^:=]*=';
ALTER TABLE alerts DROP COLUMN computer_name;
`);
  }
}
