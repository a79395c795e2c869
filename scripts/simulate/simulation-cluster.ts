import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { createSystemClock } from '../../lib/clock.js';
import type { CleanupStack } from '../../lib/lifecycle.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import type { DatabaseAddress } from '../../server/database/connection.js';
import { createEmbeddedPostgres } from '../../server/database/embedded-postgres.js';
import { migrate } from '../../server/database/migrate.js';
import { ensurePartitions } from '../../server/database/partitions.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { BEGIN_MS } from './simulated-machine.js';

const TEMPLATE = 'simulation_template';
const DAYS = 8;
const DROP_ATTEMPTS = 100;
const DROP_PAUSE_MS = 50;
/** Nothing of a simulation survives its end. */
const UNSAFE_BUT_FAST = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  jit: 'off',
  shared_buffers: '64MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
};

/** Every table of the product, in a database that nobody else sees. */
export interface SeedDatabase {
  /** The application role's. */
  readonly app: DatabaseAddress;
  /** A connection beside the product's, to look on. */
  readonly observer: pg.Client;
  close(): Promise<void>;
}

export interface SimulationCluster {
  /** A folder of the run, for keys. */
  readonly folder: string;
  createDatabase(name: string): Promise<SeedDatabase>;
}

/** Starts a PostgreSQL of its own with one migrated template, from which every seed's tables are cloned. */
export async function openCluster(cleanup: CleanupStack): Promise<SimulationCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'wardbeat-simulate-'));
  cleanup.push('folder', () => rmSync(folder, { recursive: true, force: true }));
  const server = createEmbeddedPostgres({
    dataDir: folder,
    clock: createSystemClock(),
    random: createSystemRandom(),
    log: createLog({ name: 'simulation-database', level: 'error', toStderr: true }),
    settings: UNSAFE_BUT_FAST,
    ownerMayCreateDatabases: true,
  });
  cleanup.push('database', () => server.stop());
  const { ownerConnection, appConnection } = await server.start();
  const administrator = new pg.Client({ ...ownerConnection, database: 'postgres' });
  await administrator.connect();
  cleanup.push('administrator', () => administrator.end());
  await administrator.query(`CREATE DATABASE ${TEMPLATE}`);
  await migrate({ owner: { ...ownerConnection, database: TEMPLATE }, appRole: appConnection.user });
  await makePartitions({ ...ownerConnection, database: TEMPLATE });
  return {
    folder,
    async createDatabase(name) {
      await administrator.query(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE} STRATEGY file_copy`);
      const observer = new pg.Client({ ...ownerConnection, database: name });
      await observer.connect();
      return {
        app: { ...appConnection, database: name },
        observer,
        async close() {
          await observer.end();
          await dropPatiently(administrator, name);
        },
      };
    },
  };
}

/** A connection that was closed just now, or a worker of the server, may still be there for a moment. */
async function dropPatiently(administrator: pg.Client, name: string): Promise<void> {
  const clock = createSystemClock();
  for (let left = DROP_ATTEMPTS; ; left -= 1)
    try {
      await administrator.query(`DROP DATABASE ${name}`);
      return;
    } catch (error) {
      if (left === 0) throw error;
      await clock.sleep(DROP_PAUSE_MS);
    }
}

async function makePartitions(owner: DatabaseAddress): Promise<void> {
  const client = new pg.Client(owner);
  await client.connect();
  try {
    for (const table of ['events', 'heartbeat_gaps', 'status_history'] as const)
      await ensurePartitions(sqlOfClient(client), { table, fromMs: BEGIN_MS, days: DAYS });
  } finally {
    await client.end();
  }
}
