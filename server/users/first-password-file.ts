import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from '../../lib/durable-file.js';

/** `first-admin-password` in the data directory (0600): there until the first change of that password. */
export interface FirstPasswordFile {
  readonly path: string;
  write(password: string): void;
  remove(): void;
}

export function createFirstPasswordFile(dataDir: string): FirstPasswordFile {
  const path = join(dataDir, 'first-admin-password');
  return {
    path,
    write(password) {
      mkdirSync(dataDir, { recursive: true, mode: 0o700 });
      writeDurably(path, `${password}\n`);
    },
    remove: () => rmSync(path, { force: true }),
  };
}
