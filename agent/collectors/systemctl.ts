import { runChild } from './run-child.js';
import { parseUnitBlocks, UNIT_PROPERTIES, type UnitState } from './unit-rules.js';

/** Reads the state of units in one call. Must end soon after its signal; units that it cannot judge are `unknown`. */
export type UnitReader = (units: readonly string[], signal: AbortSignal) => Promise<ReadonlyMap<string, UnitState>>;

const MAX_OUTPUT = 512 * 1024;
const ABSENT = 'no systemd here: systemctl is not installed';
const FIXED_ARGUMENTS = ['show', '--no-pager', '--no-ask-password', `--property=${UNIT_PROPERTIES.join(',')}`, '--'];

/** Asks `systemctl`, found on PATH. `units` are full names by `toUnitName`. */
export async function readUnits(
  units: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, UnitState>> {
  const args = [...FIXED_ARGUMENTS, ...units];
  const ran = await runChild({ command: 'systemctl', args, maxOutput: MAX_OUTPUT, absent: ABSENT }, signal);
  const states = 'failed' in ran ? new Map<string, UnitState>() : parseUnitBlocks(ran.stdout, units);
  const why = 'failed' in ran ? ran.failed : firstLine(ran.stderr) || 'systemctl does not know the unit';
  return new Map(units.map((unit) => [unit, states.get(unit) ?? { state: 'unknown', detail: why }]));
}

function firstLine(text: string): string {
  return (text.split('\n', 1)[0] ?? '').slice(0, 256);
}
