import type { MigrationInterface, QueryRunner } from 'typeorm';
import { EVENT_TABLES } from './0001-event-tables.js';
import { COMPUTER_TABLES } from './0001-computer-tables.js';
import { ACCESS_TABLES } from './0001-access-tables.js';
import { CLOCK_AND_POLICY_TABLES } from './0001-clock-and-policy-tables.js';

/** Every table of the first release. Fleet instants are `bigint` milliseconds in columns named `…_fleet_ms`. */
export class CreateTables0000000000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const group of [CLOCK_AND_POLICY_TABLES, COMPUTER_TABLES, EVENT_TABLES, ACCESS_TABLES])
      await runner.query(group);
  }

  async down(): Promise<void> {
    throw new Error('The first migration has no way back');
  }
}
