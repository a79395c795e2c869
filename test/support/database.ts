import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import type { DatabaseAddress } from '../../server/database/connection.js';
import { createDataSource, createPool, type DataSourceOptions } from '../../server/database/data-source.js';
import { createEmbeddedPostgres, type EmbeddedConnections } from '../../server/database/embedded-postgres.js';
import { migrate } from '../../server/database/migrate.js';
import { eventually } from './poll.js';

const TEMPLATE = 'wardbeat_template';
const START_TIMEOUT_MS = 60_000;

/** Nothing in a test survives a power failure. */
const UNSAFE_BUT_FAST = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  shared_buffers: '64MB',
  max_connections: '100',
  autovacuum_naptime: '1min',
};

interface SharedServer extends EmbeddedConnections {
  stop(): Promise<void>;
}

/** One per process, started by the first file that needs it and stopped after the last test. */
let shared: Promise<SharedServer> | undefined;
let databasesMade = 0;

async function startShared(): Promise<SharedServer> {
  const dataDir = mkdtempSync(join(tmpdir(), 'wardbeat-test-'));
  const removeFiles = () => rmSync(dataDir, { recursive: true, force: true });
  process.once('exit', removeFiles);
  const server = createEmbeddedPostgres({
    dataDir,
    clock: createSystemClock(),
    random: createSystemRandom(),
    log: createLog({ name: 'test-database', level: 'error', toStderr: true }),
    settings: UNSAFE_BUT_FAST,
    ownerMayCreateDatabases: true,
  });
  const connections = await server.start();
  await administer(connections.ownerConnection, `CREATE DATABASE ${TEMPLATE}`);
  const owner = { ...connections.ownerConnection, database: TEMPLATE };
  await migrate({ owner, appRole: connections.appConnection.user });
  const stop = async () => {
    await server.stop();
    removeFiles();
    process.off('exit', removeFiles);
  };
  return { ...connections, stop };
}

/** CREATE and DROP DATABASE, from beside the database that is concerned. */
async function administer(owner: DatabaseAddress, statement: string): Promise<void> {
  const client = new pg.Client({ ...owner, database: 'postgres' });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

async function stopShared(): Promise<void> {
  const server = await shared;
  shared = undefined;
  await server?.stop();
}

// Imported by a test file, this is a hook of the root suite: it runs once, after everything.
if (typeof after === 'function')
  after('stop the test database', async function () {
    this.timeout(START_TIMEOUT_MS);
    await stopShared();
  });

/** A database made from the migrated template, or an empty one, with its roles' connections. */
export interface Database {
  readonly ownerConnection: DatabaseAddress;
  readonly appConnection: DatabaseAddress;
  drop(): Promise<void>;
}

/** Makes a database of its own on the shared server: a copy of the migrated template unless `empty`. */
export async function createDatabase(options: { readonly empty?: boolean } = {}): Promise<Database> {
  shared ??= startShared();
  const { ownerConnection, appConnection } = await shared;
  databasesMade += 1;
  const database = `test_${databasesMade}`;
  await administer(ownerConnection, `CREATE DATABASE ${database} TEMPLATE ${options.empty ? 'template1' : TEMPLATE}`);
  return {
    ownerConnection: { ...ownerConnection, database },
    appConnection: { ...appConnection, database },
    // Refused while autovacuum, which the owner may not end, is at work there.
    async drop() {
      await eventually(`${database} is dropped`, async () => {
        await administer(ownerConnection, `DROP DATABASE ${database} WITH (FORCE)`);
        return true;
      });
    },
  };
}

/** Valid from the `before` hooks to the `after` hooks of the suite that called `useDatabase`. */
export interface TestDatabase {
  /** Works as the application role. */
  readonly pool: pg.Pool;
  /** Works as the application role, with the entities that were given. */
  readonly dataSource: DataSource;
  readonly appConnection: DatabaseAddress;
  readonly ownerConnection: DatabaseAddress;
}

interface Opened extends TestDatabase {
  close(): Promise<void>;
}

/** Called in a `describe`: gives its tests a migrated database of their own. */
export function useDatabase(options: { readonly entities?: DataSourceOptions['entities'] } = {}): TestDatabase {
  let opened: Opened | undefined;
  const current = (): Opened => {
    if (!opened) throw new Error('The test database exists only while the tests of its suite run');
    return opened;
  };
  before('make the test database', async function () {
    this.timeout(START_TIMEOUT_MS);
    opened = await open(options.entities ?? []);
  });
  after('drop the test database', async function () {
    this.timeout(START_TIMEOUT_MS);
    await opened?.close();
    opened = undefined;
  });
  return {
    get pool() {
      return current().pool;
    },
    get dataSource() {
      return current().dataSource;
    },
    get appConnection() {
      return current().appConnection;
    },
    get ownerConnection() {
      return current().ownerConnection;
    },
  };
}

async function open(entities: DataSourceOptions['entities']): Promise<Opened> {
  const { ownerConnection, appConnection, drop } = await createDatabase();
  const pool = createPool({ connection: appConnection, poolSize: 8 });
  const dataSource = await createDataSource({ connection: appConnection, entities, poolSize: 8 }).initialize();
  const close = async () => {
    await dataSource.destroy();
    await pool.end();
    await drop();
  };
  return { pool, dataSource, ownerConnection, appConnection, close };
}
