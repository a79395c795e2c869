import { spawn } from 'node:child_process';

import { parseUnitBlocks, UNIT_PROPERTIES, type UnitState } from './unit-rules.js';

/** Reads the state of units in one call. Must end soon after its signal; units that it cannot judge are `unknown`. */
export type UnitReader = (units: readonly string[], signal: AbortSignal) => Promise<ReadonlyMap<string, UnitState>>;

const MAX_OUTPUT = 512 * 1024;
const FIXED_ARGUMENTS = ['show', '--no-pager', '--no-ask-password', `--property=${UNIT_PROPERTIES.join(',')}`, '--'];

/** Asks `systemctl`, found on PATH. `units` are full names by `toUnitName`. */
export async function readUnits(
  units: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, UnitState>> {
  const ran = await run('systemctl', [...FIXED_ARGUMENTS, ...units], signal);
  const states = 'failed' in ran ? new Map<string, UnitState>() : parseUnitBlocks(ran.stdout, units);
  const why = 'failed' in ran ? ran.failed : firstLine(ran.stderr) || 'systemctl does not know the unit';
  return new Map(units.map((unit) => [unit, states.get(unit) ?? { state: 'unknown', detail: why }]));
}

type Ran = { readonly failed: string } | { readonly stdout: string; readonly stderr: string };

/** The child leads its own process group, so that what it started dies with it at the abort. */
function run(command: string, args: readonly string[], signal: AbortSignal): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const output = { stdout: '', stderr: '' };
    const kill = (): void => killGroup(child.pid);
    const append = (stream: keyof typeof output) => (chunk: Buffer) => {
      if (output[stream].length < MAX_OUTPUT) output[stream] += chunk.toString('utf8');
      else kill();
    };
    child.stdout.on('data', append('stdout'));
    child.stderr.on('data', append('stderr'));
    const end = (settle: () => void): void => {
      signal.removeEventListener('abort', kill);
      settle();
    };
    child.once('error', (error: NodeJS.ErrnoException) => end(() => resolve({ failed: describeStart(error) })));
    child.once('exit', () => void (signal.aborted && child.stdout.destroy() && child.stderr.destroy()));
    child.once('close', () => end(() => (signal.aborted ? reject(signal.reason as Error) : resolve(output))));
    signal.addEventListener('abort', kill, { once: true });
    if (signal.aborted) kill();
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function describeStart(error: NodeJS.ErrnoException): string {
  return error.code === 'ENOENT' ? 'no systemd here: systemctl is not installed' : `systemctl: ${error.message}`;
}

function firstLine(text: string): string {
  return (text.split('\n', 1)[0] ?? '').slice(0, 256);
}
