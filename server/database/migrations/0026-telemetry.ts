import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = `
-- Which set of each kind is stored, by the digest that the agent gave it. Changed only under the lock of the live row.
CREATE TABLE computer_inventories (
  computer_id uuid NOT NULL,
  kind text NOT NULL,
  digest bytea NOT NULL,
  -- How many the computer has, and how many of them are stored.
  total integer NOT NULL,
  listed integer NOT NULL,
  changed_fleet_ms bigint NOT NULL,
  PRIMARY KEY (computer_id, kind)
);

CREATE TABLE computer_packages (
  computer_id uuid NOT NULL,
  name text NOT NULL,
  -- Of the item's key.
  id uuid NOT NULL,
  version text NOT NULL,
  architecture text NOT NULL,
  source text NOT NULL,
  PRIMARY KEY (computer_id, name, id)
);
-- Which computers have a package.
CREATE INDEX computer_packages_name ON computer_packages (name, version, computer_id);

CREATE TABLE computer_listening_ports (
  computer_id uuid NOT NULL,
  port integer NOT NULL,
  id uuid NOT NULL,
  protocol text NOT NULL,
  address text NOT NULL,
  uid bigint,
  process_id bigint,
  process_name text,
  PRIMARY KEY (computer_id, port, id)
);

CREATE TABLE computer_connections (
  computer_id uuid NOT NULL,
  remote_address text NOT NULL,
  id uuid NOT NULL,
  protocol text NOT NULL,
  local_address text NOT NULL,
  local_port integer NOT NULL,
  remote_port integer NOT NULL,
  uid bigint,
  process_id bigint,
  process_name text,
  PRIMARY KEY (computer_id, remote_address, id)
);
`;

/** Installed packages, listening ports and connections of computers. */
export class Telemetry0000000000026 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      'DROP TABLE computer_connections, computer_listening_ports, computer_packages, computer_inventories',
    );
  }
}
