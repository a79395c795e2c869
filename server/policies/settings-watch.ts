import type { Clock } from '../../lib/clock.js';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import type { PolicySettingsCache } from './cached-settings.js';
import { FOREST_CHANNEL, parseGeneration } from './forest-repository.js';

const POLL_MS = 1000;

/** A connection of its own that listens, as a client of `pg` does. */
export interface NotificationClient {
  query(text: string): Promise<unknown>;
  on(event: 'notification', listener: (message: { channel: string; payload?: string | undefined }) => void): unknown;
  on(event: 'error' | 'end', listener: () => void): unknown;
  end(): Promise<void>;
}

export interface SettingsWatchDeps {
  readonly cache: PolicySettingsCache;
  readonly clock: Clock;
  readonly log: Log;
  /** Opens a connected client that this watch alone uses and ends. */
  readonly connect: () => Promise<NotificationClient>;
}

/**
 * Keeps a node's settings as new as the database's: by notification within milliseconds, and by a poll of the
 * generation every second behind it, which also reopens a lost connection.
 */
export function createSettingsWatch(deps: SettingsWatchDeps): Lifecycle {
  const { cache, clock, log } = deps;
  let aborter: AbortController | undefined;
  let polling: Promise<void> = Promise.resolve();
  let client: NotificationClient | undefined;

  const listen = async (): Promise<void> => {
    if (client) return;
    const opened = await deps.connect();
    const lose = (): void => {
      if (client === opened) client = undefined;
    };
    opened.on('error', lose);
    opened.on('end', lose);
    opened.on('notification', ({ payload }) => {
      const generation = parseGeneration(payload);
      if (!generation) return;
      cache.ensure(generation).catch((error: unknown) => log.warn({ err: error }, 'Policies could not be reloaded'));
    });
    client = opened;
    await opened.query(`LISTEN ${FOREST_CHANNEL}`).catch(async (error: unknown) => {
      lose();
      await opened.end();
      throw error;
    });
  };

  const poll = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        await listen();
        await cache.refresh();
      } catch (error) {
        log.warn({ err: error }, 'Policy generation could not be read');
      }
      await clock.sleep(POLL_MS, signal).catch(() => undefined);
    }
  };

  return {
    async start() {
      if (aborter) return;
      aborter = new AbortController();
      await cache.refresh();
      polling = poll(aborter.signal);
    },
    async stop() {
      aborter?.abort();
      aborter = undefined;
      await polling;
      const ending = client;
      client = undefined;
      await ending?.end();
    },
  };
}
