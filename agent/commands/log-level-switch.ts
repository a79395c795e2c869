import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';

export interface LogLevelChange {
  readonly level: string;
  readonly before: string;
  /** Seconds until the level that the agent was started with returns. */
  readonly seconds: number;
}

/** Changes the level of the log for a while; a restart ends that too. */
export class LogLevelSwitch {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #usual: string;
  #ending = new AbortController();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
    this.#usual = log.level;
  }

  set(level: string, seconds: number): LogLevelChange {
    this.#ending.abort();
    this.#ending = new AbortController();
    const before = this.#log.level;
    this.#log.level = level;
    void this.#endAfter(seconds * 1000, this.#ending.signal);
    return { level, before, seconds };
  }

  /** Leaves no timer behind. */
  stop(): void {
    this.#ending.abort();
  }

  async #endAfter(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#clock.sleep(ms, signal);
      this.#log.level = this.#usual;
    } catch {
      // Another level was set, or the agent ends.
    }
  }
}
