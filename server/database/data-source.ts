import pg from 'pg';
import { DataSource, type EntitySchema } from 'typeorm';
import type { Log } from '../../lib/log.js';
import type { DatabaseConnection } from './connection.js';

export interface PoolOptions {
  readonly connection: DatabaseConnection;
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string;
  readonly poolSize?: number;
  /** 0: no limit. */
  readonly statementTimeoutMs?: number;
  readonly lockTimeoutMs?: number;
  /** For a connection from the pool, a new one included. */
  readonly connectTimeoutMs?: number;
  readonly log?: Log;
}

export interface DataSourceOptions extends PoolOptions {
  /** Entity classes, schemas, or globs of files that hold them. */
  readonly entities: readonly (EntitySchema | string | (new () => object))[];
}

const DEFAULT_POOL_SIZE = 10;
const STATEMENT_TIMEOUT_MS = 30_000;
const LOCK_TIMEOUT_MS = 10_000;
const IDLE_IN_TRANSACTION_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** What the server itself ends after its timeout is given up this much later, when nothing was heard of it. */
const SILENT_SERVER_MS = 1_000;

/** Object identifiers of pg_type. */
const INT8 = 20;
const INT8_ARRAY = 1016;
const DATE = 1082;

/** A `bigint` column as a number; throws where a double would round it (beyond 2^53 − 1). */
export function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`The bigint ${text} does not fit into a number`);
  return value;
}

function parseInt8Array(text: string): readonly (number | null)[] {
  const inner = text.slice(1, -1);
  return inner === '' ? [] : inner.split(',').map((item) => (item === 'NULL' ? null : parseInt8(item)));
}

/** Of one connection only: the driver's defaults are shared by everything in the process. */
const TYPES = {
  getTypeParser(oid: number, format?: string): (text: string) => unknown {
    if (format === 'binary') return pg.types.getTypeParser(oid, 'binary') as (text: string) => unknown;
    if (oid === INT8) return parseInt8;
    if (oid === INT8_ARRAY) return parseInt8Array;
    // A calendar date is not an instant: it stays YYYY-MM-DD.
    if (oid === DATE) return (text) => text;
    return pg.types.getTypeParser(oid, 'text') as (text: string) => unknown;
  },
};

function poolConfig(options: PoolOptions): pg.PoolConfig {
  const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
  return {
    ...options.connection,
    application_name: options.applicationName ?? 'wardbeat',
    max: options.poolSize ?? DEFAULT_POOL_SIZE,
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    statement_timeout: statementTimeoutMs,
    ...(statementTimeoutMs > 0 ? { query_timeout: statementTimeoutMs + SILENT_SERVER_MS } : {}),
    lock_timeout: options.lockTimeoutMs ?? LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    types: TYPES as unknown as pg.CustomTypesConfig,
  };
}

/**
 * The pool of the parameterised hot path. `bigint` is read as a number, `date` as YYYY-MM-DD, `timestamptz` as a Date.
 * A connection that breaks while idle is logged and replaced.
 */
export function createPool(options: PoolOptions): pg.Pool {
  const pool = new pg.Pool(poolConfig(options));
  pool.on('error', (error) => logBroken(options, error));
  return pool;
}

/** The error carries the whole client. */
function logBroken({ log }: PoolOptions, error: unknown): void {
  const { message, code } = error as { readonly message?: unknown; readonly code?: unknown };
  log?.warn({ message, code }, 'an idle database connection broke');
}

/** TypeORM on a pool of its own with the same types and limits. Not connected yet: call `initialize`. */
export function createDataSource(options: DataSourceOptions): DataSource {
  return new DataSource({
    type: 'postgres',
    entities: [...options.entities],
    synchronize: false,
    migrationsRun: false,
    installExtensions: false,
    logging: false,
    extra: poolConfig(options),
    poolErrorHandler: (error: unknown) => logBroken(options, error),
  });
}
