import type { Clock } from '../../lib/clock.js';
import type { FleetClock } from './fleet-clock.js';

/** A clock whose wall time is trusted time: for what expires (sessions, keys, tokens, certificates). */
export function trustedClock(fleetClock: FleetClock): Clock {
  return {
    wall: () => fleetClock.trustedTime(),
    monotonic: () => fleetClock.monotonic(),
    boot: () => fleetClock.boot(),
    sleep: (ms, signal) => fleetClock.sleep(ms, signal),
  };
}
