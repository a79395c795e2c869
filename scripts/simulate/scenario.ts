import type { SeededRandom } from './seeded-random.js';

const TICKS_MS = [1000, 2000, 5000, 10_000] as const;
const TICKS_PER_SEED = 200;
const HEARTBEATS_PER_AGENT = 30;
const QUIET_SHARE = 0.25;

/** What a seed is to be like; everything else is drawn while it runs. */
export interface Scenario {
  readonly tickMs: number;
  /** Faults begin and end before this. */
  readonly stormMs: number;
  /** All is well from the storm's end to here. */
  readonly endMs: number;
  readonly policies: readonly PolicyPlan[];
  /** The manager dials too, and policies are switched between directions. */
  readonly hasDirections: boolean;
  /** What a connection of the database takes at most, by virtual time, while it is all right. */
  readonly usualLatencyMs: number;
}

export interface PolicyPlan {
  readonly name: string;
  readonly settings: PolicySettings;
}

export interface PolicySettings {
  readonly heartbeatIntervalSeconds: number;
  readonly heartbeatsMissedAllowed: number | 'unlimited';
  readonly heartbeatGraceSeconds: number;
}

export function drawScenario(random: SeededRandom): Scenario {
  const hasDirections = random.chance(0.4);
  // Dials look around every second.
  const tickMs = random.pick(hasDirections ? TICKS_MS.slice(0, 2) : TICKS_MS);
  const stormMs = tickMs * TICKS_PER_SEED;
  const usualMs = stormMs / HEARTBEATS_PER_AGENT;
  const policies = ['one', 'two', 'three'].map((name) => ({ name, settings: drawSettings(random, usualMs) }));
  const longestMs = Math.max(...policies.map(({ settings }) => settings.heartbeatIntervalSeconds)) * 1000;
  const quietMs = Math.max(stormMs * QUIET_SHARE, 5 * longestMs);
  return {
    tickMs,
    stormMs,
    endMs: stormMs + quietMs,
    policies,
    hasDirections,
    usualLatencyMs: random.pick([0, 3, 20]),
  };
}

export function drawSettings(random: SeededRandom, usualMs: number): PolicySettings {
  const seconds = Math.round((usualMs * (0.5 + 1.5 * random.fraction())) / 1000);
  return {
    heartbeatIntervalSeconds: Math.max(5, seconds),
    heartbeatsMissedAllowed: random.chance(0.05) ? 'unlimited' : random.pick([0, 1, 1, 2, 2, 3]),
    // Without any grace, and no miss allowed, the network's own unevenness is a silence.
    heartbeatGraceSeconds: random.chance(0.05) ? 0 : random.pick([2, 5, 10]),
  };
}
