import type { Clock } from '../../lib/clock.js';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import type { Sql } from './sql.js';

/** A notification carries at most 8,000 bytes. */
const IDS_PER_MESSAGE = 200;
const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const REOPEN_MS = 1000;

/** A connection of its own that listens, as a client of `pg` does. */
export interface ListeningClient {
  query(text: string): Promise<unknown>;
  on(event: 'notification', listener: (message: { channel: string; payload?: string | undefined }) => void): unknown;
  on(event: 'error' | 'end', listener: () => void): unknown;
  end(): Promise<void>;
}

/** Names computers to all processes that listen, each message beginning with `prefix`; whoever does not hear it has a poll. */
export async function notifyOfComputers(
  sql: Sql,
  { channel, prefix = '' }: { readonly channel: string; readonly prefix?: string },
  computerIds: readonly string[],
): Promise<void> {
  for (let from = 0; from < computerIds.length; from += IDS_PER_MESSAGE)
    await sql.query('SELECT pg_notify($1, $2)', [
      channel,
      prefix + computerIds.slice(from, from + IDS_PER_MESSAGE).join(),
    ]);
}

/** The ids of a message without its prefix; what is none is left out. */
export function computersOfNotice(text: string): string[] {
  return text.split(',').filter((id) => ID.test(id));
}

export interface NotificationWatchDeps {
  readonly channel: string;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Log;
  readonly connect: () => Promise<ListeningClient>;
  readonly onMessage: (payload: string) => void;
}

/** Hears what other processes tell on one channel, and reopens a lost connection. */
export function createNotificationWatch(deps: NotificationWatchDeps): Lifecycle {
  const { channel, clock, log, connect, onMessage } = deps;
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
      client.on('notification', ({ payload = '' }) => onMessage(payload));
      await client.query(`LISTEN ${channel}`);
      if (!signal.aborted) await lost;
    } finally {
      signal.removeEventListener('abort', release);
      await client.end().catch(() => undefined);
    }
  };
  const watch = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await listen(signal).catch((error: unknown) =>
        log.debug({ err: error, channel }, 'Other processes cannot be heard'),
      );
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
