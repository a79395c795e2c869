import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Which process holds the connection of which computer, or how the last one ended. It is open only while the life of
 * that process goes on, whatever is written here: see server/channels/channel-rules.ts.
 */
const TABLE = `
CREATE TABLE channels (
  computer_id uuid PRIMARY KEY,
  listener text NOT NULL,
  -- Of the row of listeners.
  generation bigint NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'closed')),
  since_fleet_ms bigint NOT NULL,
  -- Why it was closed.
  reason text
) WITH (fillfactor = 70);
CREATE INDEX channels_open ON channels (listener, computer_id) WHERE state = 'open';
`;

export class Channels0000000000023 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(TABLE);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE channels');
  }
}
