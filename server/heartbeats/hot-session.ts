import type { Sql } from '../database/sql.js';
import type { IngestMetrics } from './ingest-metrics.js';

/** The part of a `pg` pool that the hot path needs. */
export interface HotPool {
  connect(): Promise<HotClient>;
}

export interface HotClient {
  query(query: { name?: string; text: string; values?: unknown[] }): Promise<{ rows: unknown[] }>;
  on(event: 'error', listener: () => void): unknown;
  off(event: 'error', listener: () => void): unknown;
  release(error?: Error | boolean): void;
}

/** Without a listener a connection that breaks between two statements would end the process. */
const ignore = (): void => undefined;

/** One transaction on one connection; every statement is counted. */
export interface HotSession extends Sql {
  /** A statement that the connection keeps prepared under this name. */
  prepared<Row extends object>(name: string, text: string, values: readonly unknown[]): Promise<Row[]>;
}

/** The COMMIT was sent and no answer came: whether it counts is unknown. */
export class CommitUnknown extends Error {}

/**
 * Runs `work` in a transaction of its own. A failed one is rolled back, and a connection that cannot even do that is
 * thrown away. Throws `CommitUnknown` when the COMMIT itself failed.
 */
export async function inHotTransaction<T>(
  pool: HotPool,
  metrics: IngestMetrics,
  work: (session: HotSession) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  client.on('error', ignore);
  const run = async (query: { name?: string; text: string; values?: unknown[] }): Promise<unknown[]> => {
    metrics.statements += 1;
    return (await client.query(query)).rows;
  };
  let broken: Error | undefined;
  try {
    await run({ text: 'BEGIN' });
    const result = await work({
      query: async <Row extends object>(text: string, parameters: readonly unknown[] = []) =>
        (await run({ text, values: [...parameters] })) as Row[],
      prepared: async <Row extends object>(name: string, text: string, values: readonly unknown[]) =>
        (await run({ name, text, values: [...values] })) as Row[],
    });
    await run({ text: 'COMMIT' }).catch((cause: unknown) => {
      throw new CommitUnknown('The outcome of a commit is unknown', { cause });
    });
    return result;
  } catch (error) {
    if (error instanceof CommitUnknown) broken = error;
    else await run({ text: 'ROLLBACK' }).catch((cause: unknown) => (broken = new Error('Rollback failed', { cause })));
    throw error;
  } finally {
    client.off('error', ignore);
    client.release(broken);
  }
}
