import { statSync, type Stats } from 'node:fs';
import { createSystemClock } from '../../lib/clock.js';
import { CleanupStack } from '../../lib/lifecycle.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { readConfig, type Config, type Secrets } from '../config.js';
import { DataDirectoryInUse, lockDataDirectory } from '../data-directory.js';
import type { DatabaseConnection } from '../database/connection.js';
import { createPool } from '../database/data-source.js';
import { createEmbeddedPostgres, hasEmbeddedPostgres, readEmbeddedConnections } from '../database/embedded-postgres.js';
import type { Edges } from '../edges.js';
import { CommandFailed } from './command.js';

export interface LocalDatabaseOptions {
  readonly config: Config;
  readonly secrets: Secrets;
  readonly edges: Edges;
  readonly cleanup: CleanupStack;
}

/** Runs a command on the manager's machine under the manager's configuration; what it opened is closed at its end. */
export async function runLocally<T>(work: (options: LocalDatabaseOptions) => Promise<T>): Promise<T> {
  const { config, secrets } = readConfig();
  process.umask(0o077);
  // What is worth telling at a start of the manager is noise here.
  const level = config.logLevel === 'info' ? 'warn' : config.logLevel;
  const log = createLog({ name: 'wardbeat', level, toStderr: true });
  const edges = { clock: createSystemClock(), random: createSystemRandom(), log };
  const cleanup = new CleanupStack();
  try {
    return await work({ config, secrets, edges, cleanup });
  } finally {
    await cleanup.unwind((step, error) => log.warn({ err: error, step }, 'a step of the end failed'));
  }
}

export function refuseUnreachable(error: unknown): never {
  throw new CommandFailed(`The database does not let us in: ${error instanceof Error ? error.message : String(error)}`);
}

/** A manager that starts or stops at this moment is waited for. */
const PATIENCE_MS = 15_000;
const POLL_MS = 100;

/**
 * The database as the application role, for a command on the manager's machine:
 *
 * 1. `DATABASE_URL`, where it is given.
 * 2. The embedded server of the running manager, over its socket, which only the data directory's owner can find.
 * 3. While no manager runs: the embedded server, started here under the manager's lock and stopped with `cleanup`.
 *
 * Nothing is created and nothing is migrated. Throws CommandFailed.
 */
export async function openLocalDatabase(options: LocalDatabaseOptions): Promise<DatabaseConnection> {
  const { databaseUrl } = options.secrets;
  if (databaseUrl !== undefined) return { connectionString: databaseUrl };
  assertOwnData(options.config.dataDir);
  const { clock } = options.edges;
  const until = clock.monotonic() + PATIENCE_MS;
  for (;;) {
    const holder = tryLock(options);
    if (holder === undefined) return startHere(options);
    const running = readEmbeddedConnections(options.config.dataDir)?.appConnection;
    if (running && (await answers(running, options))) return running;
    if (clock.monotonic() > until) throw new CommandFailed(`The database of the manager with pid ${holder} is away.`);
    await clock.sleep(POLL_MS);
  }
}

function assertOwnData(dataDir: string): void {
  const stats = readStats(dataDir);
  if (!stats || !hasEmbeddedPostgres(dataDir))
    throw new CommandFailed(
      `${dataDir} holds no database: name the manager's WARDBEAT_DATA_DIR, or its DATABASE_URL where it has its own.`,
    );
  if (stats.uid !== process.getuid?.())
    throw new CommandFailed(`${dataDir} belongs to the user with id ${stats.uid}: run this as that user.`);
}

function readStats(dataDir: string): Stats | undefined {
  try {
    return statSync(dataDir, { throwIfNoEntry: false });
  } catch (error) {
    throw new CommandFailed(
      `${dataDir} cannot be read: run this as the user that owns it (${error instanceof Error ? error.message : ''}).`,
    );
  }
}

/** The pid of the manager that holds the data directory; undefined when this process holds it now. */
function tryLock({ config, cleanup }: LocalDatabaseOptions): number | undefined {
  try {
    lockDataDirectory(config.dataDir, cleanup);
    return undefined;
  } catch (error) {
    if (error instanceof DataDirectoryInUse) return error.pid;
    throw error;
  }
}

async function startHere({ config, edges, cleanup }: LocalDatabaseOptions): Promise<DatabaseConnection> {
  const embedded = createEmbeddedPostgres({ dataDir: config.dataDir, ...edges });
  cleanup.push('embedded PostgreSQL', () => embedded.stop());
  return (await embedded.start()).appConnection;
}

async function answers(connection: DatabaseConnection, { edges }: LocalDatabaseOptions): Promise<boolean> {
  const pool = createPool({ connection, applicationName: 'wardbeat-command', poolSize: 1, log: edges.log });
  try {
    await pool.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await pool.end();
  }
}
