import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- By the agent's own word.
ALTER TABLE computer_contacts
  ADD COLUMN firewall_state text,
  -- Of the rules in force.
  ADD COLUMN firewall_digest bytea,
  ADD COLUMN firewall_detail text,
  -- The command that isolated the computer; null while it is not.
  ADD COLUMN isolated_by uuid,
  ADD COLUMN isolated_since_fleet_ms bigint;
CREATE INDEX computer_status_flagged ON computer_status USING gin (flags) WHERE flags <> '{}';
`;

/** What agents tell of their firewall, and computers by flag. */
export class Firewall0000000000025 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
DROP INDEX computer_status_flagged;
ALTER TABLE computer_contacts DROP COLUMN firewall_state, DROP COLUMN firewall_digest, DROP COLUMN firewall_detail,
  DROP COLUMN isolated_by, DROP COLUMN isolated_since_fleet_ms;
`);
  }
}
