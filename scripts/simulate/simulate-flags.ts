import { readFlags } from '../../agent/arguments.js';
import { SABOTAGES, type Sabotage } from './sabotage.js';

export interface SimulateFlags {
  readonly seeds: number;
  readonly firstSeed: number;
  readonly agents: number;
  readonly sabotage: Sabotage | undefined;
  /** Ends at the first seed that fails. */
  readonly firstFailure: boolean;
  /** Shows every line of the trace on stderr. */
  readonly trace: boolean;
}

const DEFAULT_SEEDS = 20;
const DEFAULT_AGENTS = 20;
const MOST_AGENTS = 1000;

/** The flags, or every fault for a human. */
export function readSimulateFlags(argv: readonly string[]): SimulateFlags | readonly string[] {
  const { values, switches, faults } = readFlags(argv, {
    values: ['seeds', 'seed', 'agents', 'sabotage'],
    switches: ['first-failure', 'trace'],
  });
  const all = [...faults];
  const whole = (name: string, usual: number, [least, most]: readonly [number, number]): number => {
    const value = Number(values.get(name) ?? usual);
    if (!Number.isInteger(value) || value < least || value > most)
      all.push(`--${name} must be a whole number from ${least} to ${most}`);
    return value;
  };
  const seeds = whole('seeds', DEFAULT_SEEDS, [1, 1_000_000]);
  const firstSeed = whole('seed', 1, [0, Number.MAX_SAFE_INTEGER]);
  const agents = whole('agents', DEFAULT_AGENTS, [1, MOST_AGENTS]);
  const named = values.get('sabotage');
  const sabotage = SABOTAGES.find((name) => name === named);
  if (named !== undefined && sabotage === undefined) all.push(`--sabotage must be one of ${SABOTAGES.join(', ')}`);
  if (all.length > 0) return all;
  return {
    seeds,
    firstSeed,
    agents,
    sabotage,
    firstFailure: switches.has('first-failure'),
    trace: switches.has('trace'),
  };
}
