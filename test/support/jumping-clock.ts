import { createSystemClock, type Clock } from '../../lib/clock.js';

/** The machine's clocks, whose boot clock can be set on: that wakes who sleeps. */
export function jumpingClock(): Clock & { jump(ms: number): void } {
  const system = createSystemClock();
  let ahead = 0;
  let jumped = new AbortController();
  return {
    wall: () => system.wall() + ahead,
    monotonic: () => system.monotonic(),
    boot: () => system.boot() + ahead,
    async sleep(ms, signal) {
      const { signal: wake } = jumped;
      const either = signal ? AbortSignal.any([wake, signal]) : wake;
      await system.sleep(ms, either).catch((error: unknown) => {
        if (!wake.aborted || signal?.aborted) throw error;
      });
    },
    jump(ms) {
      ahead += ms;
      jumped.abort();
      jumped = new AbortController();
    },
  };
}
