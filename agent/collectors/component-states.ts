import type { WatchedComponent } from '../../policies/setting-values.js';
import type { ComponentReport } from '../../protocol/heartbeat-messages.js';
import type { KernelModules } from './module-collector.js';
import { toModuleName } from './module-rules.js';
import { matchesProcess, type RunningProcess } from './process-collector.js';
import { toUnitName, type UnitState } from './unit-rules.js';

/** What a look at the machine gave; undefined where nobody could look. */
export interface ComponentReadings {
  readonly running: readonly RunningProcess[] | undefined;
  readonly units: ReadonlyMap<string, UnitState>;
  readonly modules: KernelModules | undefined;
}

type Judged = Pick<ComponentReport, 'state' | 'detail'>;

const JUDGES: Readonly<Record<WatchedComponent['kind'], (match: string, readings: ComponentReadings) => Judged>> = {
  process: (match, { running }) => judgeProcess(match, running),
  systemdUnit: (match, { units }) => judgeUnit(match, units),
  kernelModule: (match, { modules }) => judgeModule(match, modules),
};

/** The state of each watched component. What could not be looked at is `unknown`, never `offline`. */
export function componentStates(watched: readonly WatchedComponent[], readings: ComponentReadings): ComponentReport[] {
  return watched.map(({ name, kind, match }) => ({ name, kind, ...JUDGES[kind](match, readings) }));
}

/** The full names of the units to ask for, each once. */
export function unitsOf(watched: readonly WatchedComponent[]): string[] {
  const units = watched.filter(({ kind }) => kind === 'systemdUnit').map(({ match }) => toUnitName(match));
  return [...new Set(units.filter((unit) => unit !== undefined))];
}

function judgeProcess(match: string, running: readonly RunningProcess[] | undefined): Judged {
  if (!running) return { state: 'unknown', detail: 'the process list cannot be read' };
  return { state: running.some((candidate) => matchesProcess(match, candidate)) ? 'online' : 'offline' };
}

function judgeUnit(match: string, units: ReadonlyMap<string, UnitState>): Judged {
  const unit = toUnitName(match);
  if (unit === undefined) return { state: 'unknown', detail: 'match is not the name of a unit' };
  return units.get(unit) ?? { state: 'unknown', detail: 'systemctl has not answered yet' };
}

function judgeModule(match: string, modules: KernelModules | undefined): Judged {
  const name = toModuleName(match);
  if (name === undefined) return { state: 'unknown', detail: 'match is not the name of a module' };
  if (!modules) return { state: 'unknown', detail: 'the kernel modules cannot be listed' };
  const state = modules.loaded.get(name);
  if (state !== undefined) return { state: state === 'Live' ? 'online' : 'offline', detail: state.toLowerCase() };
  if (modules.builtIn.has(name)) return { state: 'online', detail: 'built in' };
  return modules.incomplete === undefined
    ? { state: 'offline', detail: 'not loaded' }
    : { state: 'unknown', detail: modules.incomplete };
}
