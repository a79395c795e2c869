import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { ExpectedFailure } from '../../../lib/expected-failure.js';
import { readBootId, type Clock } from '../../../lib/clock.js';
import { isRunning, readProcessState } from './process-table.js';

interface Owner {
  readonly pid: number;
  readonly startTicks: string;
  readonly bootId: string;
}

/** A process that was killed a moment ago may still be there. */
const PATIENCE_MS = 2_000;
const POLL_MS = 20;

/**
 * Takes a folder for this process by a file that names it (pid, start, boot id), and returns what gives it back. A file
 * whose process has ended is taken over. Throws when another running process, or this one, holds it for two seconds.
 *
 * 1. The complete file is linked into place: only one of several can succeed, and nobody reads half of it.
 * 2. A stale file is renamed away before it is removed, and put back if it turns out to be a newer one.
 */
export async function claimFolder(path: string, clock: Clock): Promise<() => void> {
  const mine = JSON.stringify(currentProcess());
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, mine, { mode: 0o600 });
  const until = clock.monotonic() + PATIENCE_MS;
  try {
    for (;;) {
      if (linkIfAbsent(temporary, path)) return () => release(path, mine);
      const owner = removeIfStale(path);
      if (owner === undefined) continue;
      if (owner === process.pid || clock.monotonic() > until)
        throw new ExpectedFailure(`The data directory is in use by process ${owner} (${path})`);
      await clock.sleep(POLL_MS);
    }
  } finally {
    rmSync(temporary, { force: true });
  }
}

function currentProcess(): Owner {
  const startTicks = readProcessState(process.pid)?.startTicks ?? '';
  return { pid: process.pid, startTicks, bootId: readBootId() };
}

function linkIfAbsent(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** The pid that holds the file, or undefined when it is free to be taken. */
function removeIfStale(path: string): number | undefined {
  const text = readIfPresent(path);
  if (text === undefined) return undefined;
  const owner = parseOwner(text);
  if (owner && isAlive(owner)) return owner.pid;
  const aside = `${path}.${process.pid}.stale`;
  try {
    renameSync(path, aside);
  } catch {
    return undefined;
  }
  if (readIfPresent(aside) !== text) linkIfAbsent(aside, path);
  rmSync(aside, { force: true });
  return undefined;
}

function parseOwner(text: string): Owner | undefined {
  try {
    return JSON.parse(text) as Owner;
  } catch {
    return undefined;
  }
}

function isAlive(owner: Owner): boolean {
  if (owner.bootId !== readBootId() || !isRunning(owner.pid)) return false;
  return readProcessState(owner.pid)?.startTicks === owner.startTicks;
}

function release(path: string, mine: string): void {
  if (readIfPresent(path) === mine) rmSync(path, { force: true });
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
