import { readFlags } from '../../agent/arguments.js';

/** What every bench takes on its command line. */
export interface BenchFlags {
  readonly json: boolean;
  readonly check: boolean;
  /** Seconds of load on each side of each case. */
  readonly seconds: number;
  readonly agents: number;
  /** Empty: all. */
  readonly cases: readonly string[];
  /** A folder for a CPU profile of the manager, which then costs more than it does without. */
  readonly profileDir: string | undefined;
}

export interface FlagDefaults {
  readonly seconds: number;
  readonly agents: number;
  readonly cases: readonly string[];
}

const MOST_AGENTS = 20_000;
const MOST_SECONDS = 3600;

/** The flags, or every fault for a human. */
export function readBenchFlags(argv: readonly string[], defaults: FlagDefaults): BenchFlags | readonly string[] {
  const { values, switches, faults } = readFlags(argv, {
    values: ['seconds', 'agents', 'case', 'profile'],
    switches: ['json', 'check'],
  });
  const seconds = Number(values.get('seconds') ?? defaults.seconds);
  const agents = Number(values.get('agents') ?? defaults.agents);
  const cases = values.get('case')?.split(',') ?? [];
  const all = [...faults, ...rangeFaults(seconds, agents)];
  if (cases.some((name) => !defaults.cases.includes(name)))
    all.push(`--case must be one or more of ${defaults.cases.join(',')}`);
  if (all.length > 0) return all;
  const [json, check] = [switches.has('json'), switches.has('check')];
  return { json, check, seconds, agents, cases, profileDir: values.get('profile') };
}

function rangeFaults(seconds: number, agents: number): string[] {
  const faults: string[] = [];
  if (!(seconds >= 1 && seconds <= MOST_SECONDS)) faults.push(`--seconds must be from 1 to ${MOST_SECONDS}`);
  if (!Number.isInteger(agents) || agents < 1 || agents > MOST_AGENTS)
    faults.push(`--agents must be a whole number from 1 to ${MOST_AGENTS}`);
  return faults;
}
