import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from './clock.js';

const SLICE_MS = 10;

/** Lets long work give way: `if (breather.isDue()) await breather.turn()` between two steps of it. */
export interface Breather {
  /** The slice of time is used up. */
  isDue(): boolean;
  /** Lets the event loop turn once and begins a new slice. */
  turn(): Promise<void>;
}

export function createBreather(clock: Pick<Clock, 'monotonic'>): Breather {
  let since = clock.monotonic();
  return {
    isDue: () => clock.monotonic() - since >= SLICE_MS,
    async turn() {
      await nextTurn();
      since = clock.monotonic();
    },
  };
}
