import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';

/** What /proc/PID/stat tells (proc(5)): the state letter and the start in clock ticks since boot. */
export interface ProcessState {
  readonly state: string;
  readonly startTicks: string;
}

/** The second field may hold spaces and parentheses, so everything is counted from the last one. */
export function parseProcessStat(text: string): ProcessState {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', startTicks: fields[19] ?? '' };
}

export function readProcessState(pid: number): ProcessState | undefined {
  try {
    return parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return undefined;
  }
}

/** False for a process that is gone and for a zombie or dead one that only waits for its parent. */
export function isRunning(pid: number): boolean {
  const process = readProcessState(pid);
  return process !== undefined && !['Z', 'X', 'x'].includes(process.state);
}

function commandLine(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function runningPids(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter(isRunning);
}

/**
 * The running initdb and postmaster processes whose command line names a folder for which `concerns` is true. Backends
 * rewrite their title and are not among them.
 */
export function findPostgresProcesses(concerns: (argument: string) => boolean): readonly number[] {
  return runningPids().filter((pid) => {
    const words = commandLine(pid);
    return words.some((word) => ['postgres', 'initdb'].includes(basename(word))) && words.some(concerns);
  });
}

/** The user ids that own at least one process. */
export function userIdsInUse(): ReadonlySet<number> {
  const ids = new Set<number>();
  for (const name of readdirSync('/proc')) if (/^\d+$/.test(name)) addOwner(ids, `/proc/${name}`);
  return ids;
}

function addOwner(ids: Set<number>, path: string): void {
  try {
    ids.add(statSync(path).uid);
  } catch {
    // The process ended between the listing and the look.
  }
}
