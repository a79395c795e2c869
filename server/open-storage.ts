import { join } from 'node:path';
import type { Pool } from 'pg';
import { readBootId } from '../lib/clock.js';
import type { CleanupStack } from '../lib/lifecycle.js';
import { composeEntities } from './compose-entities.js';
import type { Config, Secrets } from './config.js';
import type { DatabaseConnection } from './database/connection.js';
import { createDataSource, createPool, type PoolOptions } from './database/data-source.js';
import { createEmbeddedPostgres } from './database/embedded-postgres.js';
import { createHotTransaction, type HotTransaction } from './database/hot-transaction.js';
import {
  createPoolUnitOfWork,
  createUnitOfWork,
  type PoolUnitOfWork,
  type UnitOfWork,
} from './database/in-transaction.js';
import { migrate, readRole } from './database/migrate.js';
import { sqlOfClient, type Sql } from './database/sql.js';
import { openFleetClock, type OpenedFleetClock } from './fleet-clock/open-fleet-clock.js';
import type { Edges } from './edges.js';

/** The database as everything else sees it, and the clock that is anchored in it. */
export interface Storage {
  /** Admin reads and writes. */
  readonly dataSource: ReturnType<typeof createDataSource>;
  readonly inTransaction: UnitOfWork;
  /** Heartbeats have connections of their own. */
  readonly ingestPool: Pool;
  /** Verdicts, proofs and jobs. */
  readonly jobsPool: Pool;
  readonly inJobsTransaction: HotTransaction;
  readonly inIngestTransaction: PoolUnitOfWork;
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly fleetClock: OpenedFleetClock;
  readonly auditProtected: boolean;
  /** The migrations that this start has applied. */
  readonly appliedMigrations: readonly string[];
  /** Where a connection for notifications goes. */
  readonly connection: DatabaseConnection;
}

export interface StorageOptions {
  readonly config: Config;
  readonly secrets: Secrets;
  readonly edges: Edges;
  readonly cleanup: CleanupStack;
}

const INGEST_CONNECTIONS = 8;
/** A report that waits longer is answered 503 and repeated. */
const INGEST_STATEMENT_MS = 5000;
/** Agents are told within a second that the database cannot be reached. */
const INGEST_CONNECT_MS = 800;
const JOBS_CONNECTIONS = 6;
const ADMIN_CONNECTIONS = 10;

/** Brings up the database (embedded unless a URL is given), migrates it, and opens the fleet clock. */
export async function openStorage({ config, secrets, edges, cleanup }: StorageOptions): Promise<Storage> {
  const { owner, app, appRole } = await openConnections({ config, secrets, edges, cleanup });
  const appliedMigrations: string[] = [];
  const onApplied = (name: string): void => void appliedMigrations.push(name);
  const { auditProtected } = await migrate({ owner, appRole, log: edges.log, onApplied });
  if (!auditProtected)
    edges.log.warn('one database role both owns and uses the tables: the audit log is not protected');
  const open = (
    role: string,
    limits: Pick<PoolOptions, 'poolSize' | 'statementTimeoutMs' | 'connectTimeoutMs'>,
  ): Pool => {
    const pool = createPool({ connection: app, applicationName: `wardbeat-${role}`, log: edges.log, ...limits });
    cleanup.push(`${role} connections`, () => pool.end());
    return pool;
  };
  const ingestPool = open('ingest', {
    poolSize: INGEST_CONNECTIONS,
    statementTimeoutMs: INGEST_STATEMENT_MS,
    connectTimeoutMs: INGEST_CONNECT_MS,
  });
  const jobsPool = open('jobs', { poolSize: JOBS_CONNECTIONS });
  const dataSource = createDataSource({
    connection: app,
    entities: composeEntities(),
    applicationName: 'wardbeat-admin',
    poolSize: ADMIN_CONNECTIONS,
    log: edges.log,
  });
  await dataSource.initialize();
  cleanup.push('admin connections', () => dataSource.destroy());
  const { clock, random, log } = edges;
  const inJobsTransaction = createHotTransaction(createPoolUnitOfWork(jobsPool, edges));
  const fleetClock = await openFleetClock({
    clock,
    random,
    log,
    bootId: readBootId(),
    inTransaction: inJobsTransaction,
  });
  return {
    dataSource,
    inTransaction: createUnitOfWork(dataSource, edges),
    ingestPool,
    jobsPool,
    inJobsTransaction,
    inIngestTransaction: createPoolUnitOfWork(ingestPool, edges),
    sql: sqlOfClient(jobsPool),
    fleetClock,
    auditProtected,
    appliedMigrations,
    connection: app,
  };
}

interface Connections {
  readonly owner: DatabaseConnection;
  readonly app: DatabaseConnection;
  readonly appRole: string | undefined;
}

async function openConnections({ config, secrets, edges, cleanup }: StorageOptions): Promise<Connections> {
  const { databaseUrl, databaseOwnerUrl = databaseUrl } = secrets;
  if (databaseUrl !== undefined && databaseOwnerUrl !== undefined) {
    const [app, owner] = [{ connectionString: databaseUrl }, { connectionString: databaseOwnerUrl }];
    return { app, owner, appRole: await readRole(app) };
  }
  const embedded = createEmbeddedPostgres({ dataDir: config.dataDir, ...edges });
  cleanup.push('embedded PostgreSQL', () => embedded.stop());
  const { ownerConnection, appConnection } = await embedded.start();
  return { owner: ownerConnection, app: appConnection, appRole: appConnection.user };
}

/** Where the manager keeps the keys of its authority. */
export function keyFolder({ dataDir }: Config): string {
  return join(dataDir, 'keys');
}
