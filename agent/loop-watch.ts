import type { Clock } from '../lib/clock.js';
import { sleepUnlessAborted } from './deadline.js';
import { TransportError } from './transport/transport-error.js';

/** An exchange that got nowhere, although everything in it has a time limit. */
export class StoodStill extends TransportError {
  constructor(milliseconds: number) {
    super('timeout', `The exchange stood still for ${milliseconds / 1000} s and was given up`);
    this.name = 'StoodStill';
  }
}

/** Looks at an exchange: counted, so that a pause of the process makes none stand still. */
const LOOKS = 12;
const LOOK_EVERY_MS = 5000;

export interface LoopWatchDeps {
  readonly clock: Clock;
  /** Told each time the loop gets on. */
  readonly onProgress?: (() => void) | undefined;
}

/** Knows whether the heartbeat loop gets on, and gives up an exchange that does not. */
export class LoopWatch {
  readonly #deps: LoopWatchDeps;
  #marks = 0;

  constructor(deps: LoopWatchDeps) {
    this.#deps = deps;
  }

  /** The loop got on. */
  readonly mark = (): void => {
    this.#marks += 1;
    this.#deps.onProgress?.();
  };

  /**
   * Runs an exchange. Where it stands still for a minute, its signal is aborted and it is left behind: rejects with
   * `StoodStill`. Whatever it does later, its signal is aborted.
   */
  async guard<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const own = new AbortController();
    const ended = new AbortController();
    const running = work(AbortSignal.any([signal, own.signal])).finally(() => ended.abort());
    const given = this.#untilStill(ended.signal).then((isStill) => {
      if (!isStill) return running;
      const error = new StoodStill(LOOKS * LOOK_EVERY_MS);
      own.abort(error);
      throw error;
    });
    return Promise.race([running, given]);
  }

  /** Whether it stands still before the work ends. */
  async #untilStill(ended: AbortSignal): Promise<boolean> {
    let marks = this.#marks;
    let looks = 0;
    while (!ended.aborted && looks < LOOKS) {
      await sleepUnlessAborted(this.#deps.clock, LOOK_EVERY_MS, ended);
      looks = marks === this.#marks ? looks + 1 : 0;
      marks = this.#marks;
    }
    return !ended.aborted;
  }
}
