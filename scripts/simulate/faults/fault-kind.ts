import type { SeededRandom } from '../seeded-random.js';
import type { World } from '../world.js';

/** One way in which things go wrong, or are changed by people. New kinds are added to the list in all-faults.ts. */
export interface FaultKind {
  readonly name: string;
  /** How often it is drawn, beside the others. */
  readonly weight: number;
  /** Begins it now and arranges its end. False where it cannot be now. */
  inject(world: World, random: SeededRandom): boolean;
}

/** A duration that is as likely to be of one order of magnitude as of another. */
export function drawDuration(random: SeededRandom, leastMs: number, mostMs: number): number {
  return Math.round(leastMs * (mostMs / leastMs) ** random.fraction());
}

/** The longest interval of the scenario's policies: what durations of faults are measured by. */
export function usualIntervalMs({ scenario }: World): number {
  return Math.max(...scenario.policies.map(({ settings }) => settings.heartbeatIntervalSeconds)) * 1000;
}
