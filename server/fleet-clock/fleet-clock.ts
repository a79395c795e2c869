import type { Clock } from '../../lib/clock.js';

/**
 * A fleet instant: milliseconds on the clock that deadlines live on (design.md §5). Only the boot clock advances it
 * while a manager runs; a step of the wall clock never changes an order or a deadline.
 */
export type FleetInstant = number;

export interface FleetClock extends Clock {
  fleet(): FleetInstant;
  /** The wall time (Unix milliseconds) by which a fleet instant is displayed. */
  toWall(instant: FleetInstant): number;
  /**
   * The same by trusted time: a step of more than five minutes is left out until it has stood for a day. Dates of
   * certificates, tokens and sessions are judged by it, so that a wall clock set wrong for an hour refuses nobody.
   */
  toTrusted(instant: FleetInstant): number;
  /** Trusted time now. */
  trustedTime(): number;
  /** The fleet instant that a wall time of now or the future falls on by the offset in force. */
  toFleet(wallMs: number): FleetInstant;
}
