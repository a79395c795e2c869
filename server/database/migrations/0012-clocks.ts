import type { MigrationInterface, QueryRunner } from 'typeorm';

const COLUMNS = `
-- From here on the offset is the agent's wall clock less the fleet clock, which no step of the manager's clock moves;
-- what was stored against the wall clock is learned again from the next exchange.
UPDATE computer_live SET clock_offset_ms = NULL, clock_error_ms = NULL WHERE clock_offset_ms IS NOT NULL;
ALTER TABLE computer_live
  -- When the exchange was that the offset is of.
  ADD COLUMN clock_sampled_fleet_ms bigint,
  -- The alert clock-drift was raised and not resolved.
  ADD COLUMN is_clock_drifting boolean NOT NULL DEFAULT false;
`;

/** What the manager must know of an agent's clock to tell its steps from its own. */
export class Clocks0000000000012 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(COLUMNS);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE computer_live DROP COLUMN is_clock_drifting, DROP COLUMN clock_sampled_fleet_ms');
  }
}
