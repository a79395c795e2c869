import { createSystemClock, type Clock } from '../../lib/clock.js';

export interface JumpingClock extends Clock {
  jump(ms: number): void;
  isSleeping(ms: number): boolean;
}

/** The machine's clocks, whose boot clock can be set on: that wakes who sleeps. */
export function jumpingClock(): JumpingClock {
  const system = createSystemClock();
  let ahead = 0;
  let jumped = new AbortController();
  const sleeping: number[] = [];
  return {
    wall: () => system.wall() + ahead,
    monotonic: () => system.monotonic(),
    boot: () => system.boot() + ahead,
    async sleep(ms, signal) {
      const { signal: wake } = jumped;
      const either = signal ? AbortSignal.any([wake, signal]) : wake;
      sleeping.push(ms);
      try {
        await system.sleep(ms, either);
      } catch (error) {
        if (!wake.aborted || signal?.aborted) throw error;
      } finally {
        sleeping.splice(sleeping.indexOf(ms), 1);
      }
    },
    isSleeping: (ms) => sleeping.includes(ms),
    jump(ms) {
      ahead += ms;
      jumped.abort();
      jumped = new AbortController();
    },
  };
}
