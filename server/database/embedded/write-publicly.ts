import { chmodSync } from 'node:fs';
import { writeDurably } from '../../../lib/durable-file.js';

/** Writes a file that the account of PostgreSQL may read, whatever this process's umask is. */
export function writePublicly(path: string, content: string): void {
  writeDurably(path, content, 0o644);
  chmodSync(path, 0o644);
}
