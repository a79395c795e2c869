import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- Whether the machine answered the last dial, although its agent did not; null where nobody can tell.
ALTER TABLE computer_dials ADD COLUMN last_host_up boolean;

-- What the agent port refused of computers whose certificates had proven which they are: one row per computer and code.
CREATE TABLE computer_refusals (
  computer_id uuid NOT NULL,
  code text NOT NULL,
  -- The last few, oldest first.
  refused_fleet_ms bigint[] NOT NULL,
  source_address text,
  detail text,
  PRIMARY KEY (computer_id, code)
);

-- The last connection to an agent's listener that somebody asked for.
CREATE TABLE computer_probes (
  computer_id uuid PRIMARY KEY,
  ended_fleet_ms bigint NOT NULL,
  result text NOT NULL,
  detail text,
  host_up boolean
);
`;

/** What tells why a computer is silent: refusals, probes, and whether its machine still answers. */
export class Diagnosis0000000000020 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
DROP TABLE computer_probes, computer_refusals;
ALTER TABLE computer_dials DROP COLUMN last_host_up;
`);
  }
}
