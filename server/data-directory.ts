import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CleanupStack } from '../lib/lifecycle.js';
import { acquireProcessLock } from '../lib/process-lock.js';

/** Another manager runs on the same data directory. */
export class DataDirectoryInUse extends Error {
  constructor(
    path: string,
    readonly pid: number,
  ) {
    super(`The data directory ${path} is in use by the manager with pid ${pid}`);
    this.name = 'DataDirectoryInUse';
  }
}

/** Makes the data directory (0700 when new) and keeps every other manager out of it. */
export function lockDataDirectory(path: string, cleanup: CleanupStack): void {
  const made = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (made !== undefined) chmodSync(path, 0o700);
  const lock = acquireProcessLock(join(path, 'manager.lock'));
  if ('heldBy' in lock) throw new DataDirectoryInUse(path, lock.heldBy);
  cleanup.push('data directory lock', () => lock.release());
}
