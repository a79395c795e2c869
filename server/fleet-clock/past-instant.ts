import type { Span } from '../../policies/listening-ledger.js';
import type { FleetClock } from './fleet-clock.js';

type Shown = Pick<FleetClock, 'toWall'>;

/**
 * The fleet instant at which the wall clock showed that time, now or before: `toWall` turned round. A time that it never
 * showed falls on the step that left it out; of several instants at which it showed the time, one is answered.
 */
export function fleetAtWall(clock: Shown, wallMs: number, now: number): number {
  if (clock.toWall(now) <= wallMs) return Math.floor(now);
  let low = Math.floor(wallMs);
  for (let back = 1; clock.toWall(low) > wallMs || low >= now; back *= 2)
    low = Math.floor(Math.min(wallMs, now)) - back;
  let high = Math.floor(now);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (clock.toWall(middle) > wallMs) high = middle;
    else low = middle;
  }
  return low;
}

/** The earliest and the latest wall time that was shown within a span; `steps` are the instants of all its steps. */
export function wallBounds(clock: Shown, { from, until }: Span, steps: readonly number[]): Span {
  const instants = [from, until, ...steps.filter((step) => step > from && step <= until).flatMap((at) => [at - 1, at])];
  const walls = instants.map((instant) => clock.toWall(instant));
  return { from: Math.min(...walls), until: Math.max(...walls) };
}
