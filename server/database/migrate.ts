import pg from 'pg';
import { DataSource, MigrationExecutor, type MigrationInterface, type QueryRunner } from 'typeorm';
import type { Log } from '../../lib/log.js';
import type { DatabaseConnection } from './connection.js';
import { createDataSource } from './data-source.js';
import { sqlStateOf } from './database-errors.js';
import { grantToApplication, isAuditProtected } from './grants.js';
import { MIGRATIONS } from './migrations/index.js';

export interface MigrateOptions {
  /** The role that owns the tables. */
  readonly owner: DatabaseConnection;
  /** The role that the manager works as; undefined or the owner itself: the audit log is not protected. */
  readonly appRole: string | undefined;
  readonly migrations?: readonly (new () => MigrationInterface)[];
  readonly log?: Log;
}

/** Of concurrent `CREATE TABLE IF NOT EXISTS` all but one may fail with these. */
const ALREADY_THERE: ReadonlySet<string> = new Set(['23505', '42P07', '42710']);

/**
 * Brings the schema and the application role's rights up to date. Everything happens in one transaction that holds a
 * lock on a table: several managers take turns, and one that is killed leaves nothing behind. A migration can
 * therefore not opt out of the transaction. Answers whether the application role is kept from changing the audit log.
 */
export async function migrate(options: MigrateOptions): Promise<{ readonly auditProtected: boolean }> {
  const dataSource = createDataSource({
    connection: options.owner,
    entities: [],
    applicationName: 'wardbeat-migrate',
    poolSize: 1,
    // Waiting for another manager's migration, or a long one of our own, is not a fault.
    statementTimeoutMs: 0,
    lockTimeoutMs: 0,
    ...(options.log ? { log: options.log } : {}),
  });
  dataSource.setOptions({ migrations: [...(options.migrations ?? MIGRATIONS)], migrationsTableName: 'migrations' });
  await dataSource.initialize();
  try {
    return await migrateWith(dataSource, options);
  } finally {
    await dataSource.destroy();
  }
}

async function migrateWith(
  dataSource: DataSource,
  { appRole, log }: MigrateOptions,
): Promise<{ readonly auditProtected: boolean }> {
  const runner = dataSource.createQueryRunner();
  try {
    await makeLockTable(runner);
    await runner.startTransaction();
    await runner.query('LOCK TABLE migration_lock IN ACCESS EXCLUSIVE MODE');
    await runPending(dataSource, runner, log);
    const owner = await currentUser(runner);
    const separate = appRole !== undefined && appRole !== owner;
    if (separate) await grantToApplication(runner, appRole);
    const auditProtected = separate && (await isAuditProtected(runner, appRole));
    await runner.commitTransaction();
    return { auditProtected };
  } catch (error) {
    if (runner.isTransactionActive) await runner.rollbackTransaction().catch(() => undefined);
    throw error;
  } finally {
    await runner.release();
  }
}

async function makeLockTable(runner: QueryRunner): Promise<void> {
  try {
    await runner.query('CREATE TABLE IF NOT EXISTS migration_lock (id smallint PRIMARY KEY)');
  } catch (error) {
    if (!ALREADY_THERE.has(sqlStateOf(error) ?? '')) throw error;
  }
}

async function runPending(dataSource: DataSource, runner: QueryRunner, log: Log | undefined): Promise<void> {
  const executor = new MigrationExecutor(dataSource, runner);
  executor.transaction = 'all';
  const done = await executor.executePendingMigrations();
  for (const { name } of done) log?.info({ migration: name }, 'migration applied');
}

async function currentUser(runner: QueryRunner): Promise<string> {
  const [row] = (await runner.query('SELECT current_user AS name')) as { name: string }[];
  return row?.name ?? '';
}

/** The role that a connection works as, asked of the server (a URL may leave it out). */
export async function readRole(connection: DatabaseConnection): Promise<string> {
  const client = new pg.Client({ ...connection });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>('SELECT current_user AS name');
    return rows[0]?.name ?? '';
  } finally {
    await client.end();
  }
}
