import type { MigrationInterface, QueryRunner } from 'typeorm';

const TABLES = `
-- How a computer can be reached and what it is changing over to, as its reports told; written when that changes.
CREATE TABLE computer_contacts (
  computer_id uuid PRIMARY KEY,
  -- In force at the agent, and since when.
  direction text CHECK (direction IN ('bidirectional', 'managerInitiated', 'agentInitiated')),
  direction_since_fleet_ms bigint,
  listener_state text CHECK (listener_state IN ('closed', 'listening', 'failed')),
  listener_port integer,
  listener_detail text,
  candidate_fingerprint bytea,
  candidate_direction text CHECK (candidate_direction IN ('bidirectional', 'managerInitiated', 'agentInitiated')),
  candidate_state text CHECK (candidate_state IN ('proving', 'reverted')),
  candidate_port integer,
  candidate_reason text,
  candidate_detail text,
  candidate_since_fleet_ms bigint
);

-- Dials that did not end in a stored report; a dial that does is the report itself. The arrays hold begin and end of the
-- failed dials since the last report (the first ones and the last one); what is older than the last report is void.
CREATE TABLE computer_dials (
  computer_id uuid PRIMARY KEY,
  last_begun_fleet_ms bigint NOT NULL,
  last_ended_fleet_ms bigint NOT NULL,
  last_result text NOT NULL,
  last_detail text,
  failures integer NOT NULL,
  failed_begun_fleet_ms bigint[] NOT NULL DEFAULT '{}',
  failed_ended_fleet_ms bigint[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 70);

CREATE TABLE dial_shards (
  shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 63),
  owner text,
  generation bigint NOT NULL DEFAULT 0,
  lease_until_fleet_ms bigint NOT NULL DEFAULT 0
);
INSERT INTO dial_shards (shard) SELECT generate_series(0, 63);
`;

/** What the manager must know to dial agents, and what came of it. */
export class Dials0000000000009 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(TABLES);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE dial_shards, computer_dials, computer_contacts');
  }
}
