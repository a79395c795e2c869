import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readBootId } from './clock.js';

/** A lock file that names its owner by pid, start time and boot, so that what a kill leaves behind binds nobody. */
export interface ProcessLock {
  release(): void;
}

const ATTEMPTS = 5;
/** Field 22 of /proc/<pid>/stat counted after the command name, which may hold spaces: proc_pid_stat(5). */
const START_FIELD_AFTER_NAME = 19;
const STATE_FIELD_AFTER_NAME = 0;

/** Takes the lock, or answers the pid of the living process that holds it. */
export function acquireProcessLock(path: string): ProcessLock | { readonly heldBy: number } {
  const mine = describeProcess(process.pid) ?? '';
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, mine, { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (tryLink(draft, path)) return { release: () => releaseIfMine(path, mine) };
      const owner = readIfPresent(path);
      if (owner !== undefined && isAlive(owner)) return { heldBy: pidOf(owner) };
      if (owner !== undefined) setAside(path, owner);
    }
    throw new Error(`The lock ${path} could not be taken`);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Removes a dead owner's lock, unless another process was faster and the file is its own by now. */
function setAside(path: string, owner: string): void {
  const aside = `${path}.${process.pid}.stale`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (readIfPresent(aside) !== owner) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function releaseIfMine(path: string, mine: string): void {
  if (readIfPresent(path) === mine) rmSync(path, { force: true });
}

function tryLink(existing: string, path: string): boolean {
  try {
    linkSync(existing, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function isAlive(owner: string): boolean {
  return describeProcess(pidOf(owner)) === owner;
}

function pidOf(owner: string): number {
  return Number.parseInt(owner, 10);
}

/** `pid start-ticks boot-id`; undefined for a process that ended or is a zombie. */
function describeProcess(pid: number): string | undefined {
  const stat = readIfPresent(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (!fields || fields[STATE_FIELD_AFTER_NAME] === 'Z') return undefined;
  return `${pid} ${fields[START_FIELD_AFTER_NAME]} ${readBootId()}`;
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
