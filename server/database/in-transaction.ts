import type { Pool, PoolClient } from 'pg';
import type { DataSource, EntityManager } from 'typeorm';
import { backoffDelayMs } from '../../lib/backoff.js';
import type { Clock } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { isCertainRollback, isTransientDatabaseError } from './database-errors.js';

export type IsolationLevel = 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE';

export interface TransactionOptions {
  readonly isolation?: IsolationLevel;
  /** Running the work twice does no harm, so it is run again even when nobody knows whether its COMMIT succeeded. */
  readonly idempotent?: boolean;
  /** How often the work is tried at most; 6 unless told. */
  readonly attempts?: number;
}

/**
 * Runs `work` in one transaction and answers its result after the commit. Transient failures are retried with
 * back-off, so `work` may run several times and must do nothing outside its transaction. Throws what `work` throws, and
 * the problem `unavailable` (with the driver's error as cause) when the database stays away or when the connection
 * broke during COMMIT: then the work may have been stored or not.
 */
export type UnitOfWork = <T>(work: (manager: EntityManager) => Promise<T>, options?: TransactionOptions) => Promise<T>;

/** The same on the pool of the hot path, without TypeORM. */
export type PoolUnitOfWork = <T>(work: (client: PoolClient) => Promise<T>, options?: TransactionOptions) => Promise<T>;

export interface RetryDependencies {
  readonly clock: Clock;
  readonly random: Random;
}

const ATTEMPTS = 6;
const BACKOFF = { firstMs: 20, capMs: 1_000 };

export function createUnitOfWork(dataSource: DataSource, dependencies: RetryDependencies): UnitOfWork {
  return (work, options = {}) =>
    runWithRetry(() => openTypeormTransaction(dataSource), work, { ...dependencies, ...options });
}

export function createPoolUnitOfWork(pool: Pool, dependencies: RetryDependencies): PoolUnitOfWork {
  return (work, options = {}) => runWithRetry(() => openPoolTransaction(pool), work, { ...dependencies, ...options });
}

/** A connection taken for one transaction. `release` gives it back, or throws it away when it is broken. */
interface OpenTransaction<Context> {
  readonly context: Context;
  begin(isolation: IsolationLevel): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  release(broken: boolean): Promise<void>;
}

async function openTypeormTransaction(dataSource: DataSource): Promise<OpenTransaction<EntityManager>> {
  const runner = dataSource.createQueryRunner();
  await runner.connect();
  return {
    context: runner.manager,
    begin: (isolation) => runner.startTransaction(isolation),
    commit: () => runner.commitTransaction(),
    rollback: () => runner.rollbackTransaction(),
    release: () => runner.release(),
  };
}

async function openPoolTransaction(pool: Pool): Promise<OpenTransaction<PoolClient>> {
  const client = await pool.connect();
  // Without a listener a connection that breaks between two statements would end the process.
  const ignore = () => undefined;
  client.on('error', ignore);
  const run = async (sql: string) => void (await client.query(sql));
  return {
    context: client,
    begin: (isolation) => run(`BEGIN ISOLATION LEVEL ${isolation}`),
    commit: () => run('COMMIT'),
    rollback: () => run('ROLLBACK'),
    async release(broken) {
      client.off('error', ignore);
      client.release(broken);
    },
  };
}

type Outcome<T> = { readonly value: T } | { readonly error: unknown; readonly mayRunAgain: boolean };

async function runWithRetry<Context, T>(
  open: () => Promise<OpenTransaction<Context>>,
  work: (context: Context) => Promise<T>,
  options: TransactionOptions & RetryDependencies,
): Promise<T> {
  const { attempts = ATTEMPTS, clock, random } = options;
  for (let attempt = 0; ; attempt += 1) {
    const outcome = await runOnce(open, work, options);
    if ('value' in outcome) return outcome.value;
    if (!isTransientDatabaseError(outcome.error)) throw outcome.error;
    if (!outcome.mayRunAgain || attempt + 1 >= attempts) throw unavailable(outcome);
    await clock.sleep(backoffDelayMs(attempt, BACKOFF, random));
  }
}

function unavailable(outcome: { readonly error: unknown; readonly mayRunAgain: boolean }): Problem {
  const detail = outcome.mayRunAgain
    ? 'The database is not available.'
    : 'The connection broke while the change was being stored: look whether it is there before you repeat it.';
  return new Problem('unavailable', { detail, retryAfterSeconds: 1 }, outcome.error);
}

async function runOnce<Context, T>(
  open: () => Promise<OpenTransaction<Context>>,
  work: (context: Context) => Promise<T>,
  { isolation = 'READ COMMITTED', idempotent = false }: TransactionOptions,
): Promise<Outcome<T>> {
  let transaction: OpenTransaction<Context> | undefined;
  let phase: 'work' | 'commit' = 'work';
  let broken = true;
  try {
    transaction = await open();
    await transaction.begin(isolation);
    const value = await work(transaction.context);
    phase = 'commit';
    await transaction.commit();
    broken = false;
    return { value };
  } catch (error) {
    if (transaction) broken = !(await triedRollback(transaction));
    return { error, mayRunAgain: phase === 'work' || idempotent || isCertainRollback(error) };
  } finally {
    await transaction?.release(broken).catch(() => undefined);
  }
}

async function triedRollback(transaction: OpenTransaction<unknown>): Promise<boolean> {
  try {
    await transaction.rollback();
    return true;
  } catch {
    return false;
  }
}
