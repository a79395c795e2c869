import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
ALTER TABLE computer_live
  -- Commands are due that the agent has not told it has: the batch statement reads it for nothing.
  ADD COLUMN has_commands boolean NOT NULL DEFAULT false,
  -- The agent has commands whose results are not told yet.
  ADD COLUMN awaits_results boolean NOT NULL DEFAULT false;
ALTER TABLE computer_contacts ADD COLUMN collection text;

-- Changed only under the lock of the computer's live row.
CREATE TABLE commands (
  id uuid PRIMARY KEY,
  computer_id uuid NOT NULL,
  -- Counts the computer's commands.
  number integer NOT NULL,
  type text NOT NULL,
  args jsonb NOT NULL,
  priority smallint NOT NULL,
  state text NOT NULL,
  -- Whether its notBefore has come.
  is_due boolean NOT NULL,
  idempotency_key text,
  request_digest bytea NOT NULL,
  operation_id uuid,
  created_by text NOT NULL,
  queued_fleet_ms bigint NOT NULL,
  not_before_fleet_ms bigint,
  expires_fleet_ms bigint NOT NULL,
  -- First put into orders.
  delivered_fleet_ms bigint,
  -- The agent told that it has it.
  acknowledged_fleet_ms bigint,
  started_fleet_ms bigint,
  ended_fleet_ms bigint,
  reason text,
  detail text,
  result jsonb
);
CREATE UNIQUE INDEX commands_number ON commands (computer_id, number);
CREATE UNIQUE INDEX commands_idempotency ON commands (computer_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX commands_open ON commands (computer_id) WHERE state IN ('queued', 'delivered', 'running');
CREATE INDEX commands_expiring ON commands (expires_fleet_ms, id) WHERE state IN ('queued', 'delivered', 'running');
CREATE INDEX commands_waiting ON commands (not_before_fleet_ms, id) WHERE state = 'queued' AND NOT is_due;
CREATE INDEX commands_ended ON commands (ended_fleet_ms) WHERE ended_fleet_ms IS NOT NULL;

-- What a command's agent uploaded; complete when all parts are there.
CREATE TABLE command_files (
  command_id uuid PRIMARY KEY,
  content_type text NOT NULL,
  bytes integer NOT NULL,
  sha256 bytea NOT NULL,
  parts smallint NOT NULL,
  stored_fleet_ms bigint NOT NULL
);
CREATE INDEX command_files_stored ON command_files (stored_fleet_ms);
CREATE TABLE command_file_parts (
  command_id uuid NOT NULL,
  part smallint NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (command_id, part)
);

-- One request for many computers, queued at a pace.
CREATE TABLE operations (
  id uuid PRIMARY KEY,
  state text NOT NULL,
  filter jsonb NOT NULL,
  action jsonb NOT NULL,
  per_second integer NOT NULL,
  idempotency_key text UNIQUE,
  request_digest bytea NOT NULL,
  matched integer NOT NULL,
  created_fleet_ms bigint NOT NULL,
  created_by jsonb NOT NULL,
  -- The last target was queued or passed over.
  queued_fleet_ms bigint
);
CREATE INDEX operations_created ON operations (created_fleet_ms, id);
CREATE INDEX operations_running ON operations (created_fleet_ms, id) WHERE state = 'queueing';
CREATE TABLE operation_targets (
  operation_id uuid NOT NULL,
  computer_id uuid NOT NULL,
  computer_name text NOT NULL,
  -- waiting, queued, or skipped for the reason
  state text NOT NULL,
  reason text,
  command_id uuid,
  PRIMARY KEY (operation_id, computer_id)
);
CREATE INDEX operation_targets_waiting ON operation_targets (operation_id, computer_id) WHERE state = 'waiting';
`;

/** Commands for agents, the files they bring, and operations on many computers. */
export class Commands0000000000024 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
DROP TABLE operation_targets, operations, command_file_parts, command_files, commands;
ALTER TABLE computer_contacts DROP COLUMN collection;
ALTER TABLE computer_live DROP COLUMN has_commands, DROP COLUMN awaits_results;
`);
  }
}
