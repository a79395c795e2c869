import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Above every pid that Linux hands out (PID_MAX_LIMIT is 2^22): kill(2) answers ESRCH. */
const NOBODY = 2_147_483_647;
const STATUS_LINE = 7;

export interface PostmasterFile {
  readonly pid: number;
  readonly ready: boolean;
}

export function postmasterFilePath(cluster: string): string {
  return join(cluster, 'postmaster.pid');
}

export function parsePostmasterFile(text: string): PostmasterFile | undefined {
  const lines = text.split('\n');
  const pid = Number.parseInt(lines[0] ?? '', 10);
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  return { pid, ready: (lines[STATUS_LINE] ?? '').trim() === 'ready' };
}

export function readPostmasterFile(cluster: string): PostmasterFile | undefined {
  try {
    return parsePostmasterFile(readFileSync(postmasterFilePath(cluster), 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * Frees a cluster of a `postmaster.pid` whose process is not its postmaster any more; the caller has made sure that no
 * postmaster runs on it. PostgreSQL refuses to start when the pid belongs to a zombie or to a stranger, so the pid is
 * replaced by one that nobody has. The rest of the file stays: PostgreSQL reads the shared memory segment from it and
 * so notices backends that have outlived their postmaster. A torn file has no such line and is removed.
 */
export function disarmPostmasterFile(cluster: string): void {
  const path = postmasterFilePath(cluster);
  const text = readIfPresent(path);
  if (text === undefined) return;
  const lines = text.split('\n');
  if (parsePostmasterFile(text) === undefined || lines.length < 3) return rmSync(path, { force: true });
  const { mode } = statSync(path);
  writeFileSync(path, [String(NOBODY), ...lines.slice(1)].join('\n'), { mode });
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
