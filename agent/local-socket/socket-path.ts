import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';

const LONGEST_SOCKET_PATH = 100;

export interface SocketPath {
  readonly path: string;
  release(): void;
}

/**
 * A path for a Unix socket in a folder. The kernel takes at most 107 bytes: a longer one goes by an open descriptor of
 * the folder (proc(5)), which must stay open until `release`.
 */
export function openSocketPath(folder: string, name: string): SocketPath {
  const path = join(folder, name);
  if (Buffer.byteLength(path) <= LONGEST_SOCKET_PATH) return { path, release: () => undefined };
  const descriptor = openSync(folder, 'r');
  return { path: `/proc/self/fd/${descriptor}/${name}`, release: () => closeSync(descriptor) };
}
