import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A seal keeps the position of its row, so that the chain goes on from it even where the row was taken away. */
const SEAL_POSITION = 'ALTER TABLE audit_seals ADD COLUMN transaction_id xid8 NOT NULL';

/** Events are read onward in commit order (database/commit-order.ts). */
const EVENTS_IN_COMMIT_ORDER = 'CREATE INDEX events_transaction ON events (transaction_id, id)';

/** The manager's own events are few among those of the agents. */
const MANAGER_EVENTS = `CREATE INDEX events_manager ON events (received_fleet_ms, id) WHERE lane = 'manager'`;

/** What the audit seals, the onward reading of events and the manager's own events stand on. */
export class History0000000000003 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const sql of [SEAL_POSITION, EVENTS_IN_COMMIT_ORDER, MANAGER_EVENTS]) await runner.query(sql);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX events_manager');
    await runner.query('DROP INDEX events_transaction');
    await runner.query('ALTER TABLE audit_seals DROP COLUMN transaction_id');
  }
}
