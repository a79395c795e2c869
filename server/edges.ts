import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import type { Random } from '../lib/random.js';

/** What comes from outside the program; tests and the simulator hand in their own. */
export interface Edges {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}
