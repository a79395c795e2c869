import { join } from 'node:path';

import { removeDurably, writeDurably } from '../../lib/durable-file.js';
import { array, integer, object, optional, readBy, sha256Hex, string } from '../../lib/schema.js';
import { isolationPeer } from '../../policies/firewall-rules.js';
import type { DataDirectory } from '../data-directory.js';
import { readOwnFile } from '../own-files.js';
import type { Isolation } from '../state-store.js';

const fileSchema = object({
  owner: string({ max: 1000 }),
  isolation: object({
    commandId: string({ min: 1, max: 64 }),
    since: integer(0, Number.MAX_SAFE_INTEGER),
    allow: array(isolationPeer, 1000),
    releaseDigest: optional(sha256Hex),
  }),
});

/** `isolation.json`: the standing isolation beside the database, so that one that is damaged or cannot be opened does not end it. */
export interface IsolationFile {
  /** Undefined where there is none, or none of this owner's that can be read. */
  read(): Isolation | undefined;
  /** Undefined takes it away. Throws what the disk reports. */
  write(isolation: Isolation | undefined): void;
}

type Folder = Pick<DataDirectory, 'path'>;

const pathIn = ({ path }: Folder): string => join(path, 'isolation.json');

/** The directory has no identity any more that it could be of. */
export function removeIsolationFile(directory: Folder): void {
  removeDurably(pathIn(directory));
}

/** `owner`: of `ownerOf`; what another identity left does not count. */
export function isolationFile(directory: Folder, owner: string): IsolationFile {
  const path = pathIn(directory);
  return {
    read() {
      try {
        const file = readBy(fileSchema, JSON.parse(readOwnFile(path) ?? '{}'));
        return file.owner === owner ? (file.isolation as Isolation) : undefined;
      } catch {
        // The database is the first to be asked: a damaged copy must not keep the agent from its start.
        return undefined;
      }
    },
    write(isolation) {
      if (isolation) writeDurably(path, `${JSON.stringify({ owner, isolation }, undefined, 2)}\n`);
      else removeDurably(path);
    },
  };
}
