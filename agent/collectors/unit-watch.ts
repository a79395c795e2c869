import type { Clock } from '../../lib/clock.js';
import { DeadlinePassed, sleepUnlessAborted, withDeadline } from '../deadline.js';
import type { UnitReader } from './systemctl.js';
import type { UnitState } from './unit-rules.js';

export interface UnitWatchOptions {
  readonly clock: Clock;
  readonly read: UnitReader;
  /** A look waits this long at most. */
  readonly waitMs?: number;
  /** A call that takes longer is ended. */
  readonly limitMs?: number;
  /** A state older than this is not repeated. */
  readonly keepMs?: number;
  /** A reading this young is answered again. */
  readonly reuseMs?: number;
}

export interface UnitLook {
  readonly states: ReadonlyMap<string, UnitState>;
  /** Set when the last call came to no end. */
  readonly error: string | undefined;
}

const DEFAULTS = { waitMs: 250, limitMs: 3000, keepMs: 15_000, reuseMs: 0 };

interface Reading {
  readonly at: number;
  readonly states: ReadonlyMap<string, UnitState>;
}

/**
 * Looks at units without ever waiting long: a slow call goes on behind, one at a time, and meanwhile the last reading
 * is answered while it is fresh, then `unknown`.
 */
export class UnitWatch {
  readonly #options: Required<UnitWatchOptions>;
  #pending: Promise<void> | undefined;
  #last: Reading | undefined;
  #error: string | undefined;

  constructor(options: UnitWatchOptions) {
    this.#options = { ...DEFAULTS, ...options };
  }

  async look(units: readonly string[]): Promise<UnitLook> {
    if (units.length === 0) return { states: new Map(), error: undefined };
    if (!this.#covers(units)) await this.#refresh(units);
    return { states: this.#answer(units), error: this.#error };
  }

  #covers(units: readonly string[]): boolean {
    const { clock, reuseMs } = this.#options;
    const last = this.#last;
    return last !== undefined && clock.monotonic() - last.at < reuseMs && units.every((unit) => last.states.has(unit));
  }

  /** Waits neither for a call that was slow already nor for one after a call that failed. */
  async #refresh(units: readonly string[]): Promise<void> {
    if (this.#pending) return;
    const hasFailed = this.#error !== undefined;
    this.#pending = this.#read(units);
    if (!hasFailed) await this.#waitFor(this.#pending);
  }

  async #waitFor(work: Promise<void>): Promise<void> {
    const { clock, waitMs } = this.#options;
    const done = new AbortController();
    await Promise.race([work.finally(() => done.abort()), sleepUnlessAborted(clock, waitMs, done.signal)]);
    done.abort();
  }

  /** Never rejects; ends when the call has really ended, so that calls do not pile up. */
  async #read(units: readonly string[]): Promise<void> {
    const { clock, limitMs, read } = this.#options;
    let ended: Promise<unknown> = Promise.resolve();
    try {
      const states = await withDeadline({ clock, milliseconds: limitMs }, (signal) => {
        const run = read(units, signal);
        ended = run.catch(() => undefined);
        return run;
      });
      this.#last = { at: clock.monotonic(), states };
      this.#error = undefined;
    } catch (error) {
      this.#error = error instanceof DeadlinePassed ? `systemctl: no end within ${limitMs} ms` : String(error);
    }
    await ended;
    this.#pending = undefined;
  }

  #answer(units: readonly string[]): ReadonlyMap<string, UnitState> {
    const { clock, keepMs } = this.#options;
    const fresh = this.#last && clock.monotonic() - this.#last.at <= keepMs ? this.#last.states : undefined;
    const missing: UnitState = { state: 'unknown', detail: this.#error ?? 'systemctl has not answered yet' };
    return new Map(units.map((unit) => [unit, fresh?.get(unit) ?? missing]));
  }
}
