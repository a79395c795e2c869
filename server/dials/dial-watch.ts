import type { Clock } from '../../lib/clock.js';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import type { Sql } from '../database/sql.js';

/** The channel on which processes ask each other to look at computers: ids, separated by commas. */
const CHANNEL = 'wardbeat_dials';
/** A notification carries at most 8,000 bytes. */
const IDS_PER_MESSAGE = 200;
const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const REOPEN_MS = 1000;

/** A connection of its own that listens, as a client of `pg` does. */
export interface DialNotificationClient {
  query(text: string): Promise<unknown>;
  on(event: 'notification', listener: (message: { channel: string; payload?: string | undefined }) => void): unknown;
  on(event: 'error' | 'end', listener: () => void): unknown;
  end(): Promise<void>;
}

/** Tells the processes that dial these computers; one that does not hear it finds out by its poll. */
export async function notifyDials(sql: Sql, computerIds: readonly string[]): Promise<void> {
  for (let from = 0; from < computerIds.length; from += IDS_PER_MESSAGE)
    await sql.query('SELECT pg_notify($1, $2)', [CHANNEL, computerIds.slice(from, from + IDS_PER_MESSAGE).join()]);
}

export interface DialWatchDeps {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Log;
  readonly connect: () => Promise<DialNotificationClient>;
  readonly onRequest: (computerIds: string[]) => void;
}

/** Hears the requests of other processes, and reopens a lost connection. */
export function createDialWatch(deps: DialWatchDeps): Lifecycle {
  const { clock, log, connect, onRequest } = deps;
  let aborter: AbortController | undefined;
  let watching: Promise<void> = Promise.resolve();
  const listen = async (signal: AbortSignal): Promise<void> => {
    const client = await connect();
    let release = (): void => undefined;
    try {
      const lost = new Promise<void>((resolve) => {
        release = resolve;
        client.on('error', resolve);
        client.on('end', resolve);
        signal.addEventListener('abort', release, { once: true });
      });
      client.on('notification', ({ payload = '' }) => onRequest(payload.split(',').filter((id) => ID.test(id))));
      await client.query(`LISTEN ${CHANNEL}`);
      if (!signal.aborted) await lost;
    } finally {
      signal.removeEventListener('abort', release);
      await client.end().catch(() => undefined);
    }
  };
  const watch = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await listen(signal).catch((error: unknown) => log.debug({ err: error }, 'Requests to dial cannot be heard'));
      if (!signal.aborted) await clock.sleep(REOPEN_MS, signal).catch(() => undefined);
    }
  };
  return {
    async start() {
      if (aborter) return;
      aborter = new AbortController();
      watching = watch(aborter.signal);
    },
    async stop() {
      aborter?.abort();
      aborter = undefined;
      await watching;
    },
  };
}
