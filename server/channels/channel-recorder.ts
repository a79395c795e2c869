import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { HotTransaction } from '../database/hot-transaction.js';
import { storeChannels, type ChannelChange, type HolderKey } from './channel-repository.js';

export interface ChannelRecorderDeps {
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Log;
  readonly inTransaction: HotTransaction;
  /** Known once the listener has registered. */
  readonly key: () => HolderKey;
}

/** Writes which channels are open, many at a time. */
export interface ChannelRecorder {
  /** Never waits; of several changes of one computer the last counts. */
  note(change: ChannelChange): void;
  /** What was noted before is stored, or could not be; nothing that is noted later is. */
  stop(): Promise<void>;
}

const GATHER_MS = 50;
const RETRY_MS = 1000;
const CHUNK = 500;
/** At the stop of a manager whose database is away somebody waits; the next start ends what is left open. */
const LAST_ATTEMPTS = 3;

export function createChannelRecorder(deps: ChannelRecorderDeps): ChannelRecorder {
  return new Recorder(deps);
}

class Recorder implements ChannelRecorder {
  readonly #deps: ChannelRecorderDeps;
  readonly #stopping = new AbortController();
  #noted = new Map<string, ChannelChange>();
  #running: Promise<void> | undefined;
  #isFailing = false;

  constructor(deps: ChannelRecorderDeps) {
    this.#deps = deps;
  }

  note(change: ChannelChange): void {
    if (this.#stopping.signal.aborted) return;
    this.#noted.set(change.computerId, change);
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    for (let attempt = 1; attempt <= LAST_ATTEMPTS && this.#noted.size > 0; attempt += 1) await this.#flush();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#noted.size > 0 && !signal.aborted) {
      await this.#deps.clock.sleep(this.#isFailing ? RETRY_MS : GATHER_MS, signal).catch(() => undefined);
      await this.#flush();
    }
    this.#running = undefined;
  }

  async #flush(): Promise<void> {
    const { inTransaction, key, log } = this.#deps;
    const changes = [...this.#noted.values()].toSorted((a, b) => (a.computerId < b.computerId ? -1 : 1));
    this.#noted = new Map();
    for (let from = 0; from < changes.length; from += CHUNK) {
      const chunk = changes.slice(from, from + CHUNK);
      try {
        await inTransaction((sql) => storeChannels(sql, key(), chunk));
        this.#isFailing = false;
      } catch (error) {
        if (!this.#isFailing) log.warn({ err: error }, 'Which channels are open cannot be stored');
        this.#isFailing = true;
        // What was noted meanwhile is newer.
        for (const change of chunk) this.#noted.set(change.computerId, this.#noted.get(change.computerId) ?? change);
      }
    }
  }
}
