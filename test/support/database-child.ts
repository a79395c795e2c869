import type { MigrationInterface, QueryRunner } from 'typeorm';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import type { DatabaseAddress } from '../../server/database/connection.js';
import { createEmbeddedPostgres } from '../../server/database/embedded-postgres.js';
import { migrate } from '../../server/database/migrate.js';
import { MIGRATIONS } from '../../server/database/migrations/index.js';

/**
 * A process for tests to kill. `serve DIR` holds an embedded PostgreSQL and writes its connections as one line;
 * `migrate-slowly OWNER` stands still within a migration that follows the real ones, `migrate-until OWNER NUMBER` at the
 * end of the real one of that number (from 0). All end at SIGTERM.
 */
const [mode, argument = '', number = ''] = process.argv.slice(2);

async function serve(dataDir: string): Promise<void> {
  const log = createLog({ name: 'database-child', level: 'warn', toStderr: true });
  const server = createEmbeddedPostgres({ dataDir, log, clock: createSystemClock(), random: createSystemRandom() });
  process.once('SIGTERM', () => void server.stop());
  console.log(JSON.stringify(await server.start()));
}

class StandStill9999999999999 {
  async up(runner: { query(sql: string): Promise<unknown> }): Promise<void> {
    await runner.query('CREATE TABLE half_way (id integer)');
    await runner.query('SELECT pg_sleep(120) /* standing still */');
  }

  async down(): Promise<void> {
    throw new Error('There is no way back');
  }
}

async function migrateSlowly(owner: DatabaseAddress): Promise<void> {
  await migrate({ owner, appRole: 'wardbeat_app', migrations: [...MIGRATIONS, StandStill9999999999999] });
}

/** The real migrations, the one of that number standing still before its end. */
function standingStillAt(number: number): readonly (new () => MigrationInterface)[] {
  const all: readonly (new () => MigrationInterface)[] = MIGRATIONS;
  return all.map((Real, index) =>
    index !== number
      ? Real
      : class implements MigrationInterface {
          readonly name = Real.name;
          readonly real = new Real();

          async up(runner: QueryRunner): Promise<void> {
            await this.real.up(runner);
            await runner.query('SELECT pg_sleep(120) /* standing still */');
          }

          down(runner: QueryRunner): Promise<void> {
            return this.real.down(runner);
          }
        },
  );
}

async function migrateUntil(owner: DatabaseAddress): Promise<void> {
  await migrate({ owner, appRole: 'wardbeat_app', migrations: standingStillAt(Number(number)) });
}

if (mode === 'serve') await serve(argument);
if (mode === 'migrate-until') await migrateUntil(JSON.parse(argument) as DatabaseAddress);
if (mode === 'migrate-slowly') await migrateSlowly(JSON.parse(argument) as DatabaseAddress);
