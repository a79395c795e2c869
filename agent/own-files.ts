import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { UnusableFile } from './unusable-file.js';

/**
 * The text of a file of the data directory; undefined where there is none. Throws `UnusableFile` for a link or anything else
 * than a file, which could be another's.
 */
export function readOwnFile(path: string): string | undefined {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      if (!fstatSync(file).isFile()) throw notOurs(path, 'is no regular file');
      return readFileSync(file, 'utf8');
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error instanceof UnusableFile) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'ELOOP') throw notOurs(path, 'is a symbolic link');
    throw new UnusableFile(path, `cannot be read: ${message}`, 'give this user access to it, or choose another --dir');
  }
}

/** Refuses a folder of the agent's that another user owns, or that is none: who owns it can change what is in it. */
export function assertOwnFolder(path: string): void {
  const facts = lstatSync(path);
  if (facts.isSymbolicLink()) throw notOurs(path, 'is a symbolic link');
  if (!facts.isDirectory()) throw new UnusableFile(path, 'cannot be used: it is not a directory', CHOOSE_ANOTHER);
  const user = process.geteuid?.();
  if (user !== undefined && facts.uid !== user)
    throw new UnusableFile(
      path,
      `belongs to user ${facts.uid}, and this is user ${user}`,
      'run as its owner, or chown it',
    );
}

/** Refuses links among the files of a folder that a library writes by their names. */
export function assertPlainEntries(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (!entry.isFile() && !entry.isDirectory())
      throw notOurs(join(path, entry.name), entry.isSymbolicLink() ? 'is a symbolic link' : 'is no regular file');
}

/** Refuses anything but a socket where ours is to be. */
export function assertSocketPlace(path: string): void {
  const facts = lstatSync(path, { throwIfNoEntry: false });
  if (facts && !facts.isSocket())
    throw notOurs(path, facts.isSymbolicLink() ? 'is a symbolic link' : 'is there and is no socket');
}

const CHOOSE_ANOTHER = 'choose a --dir that this user can write';

function notOurs(path: string, fault: string): UnusableFile {
  return new UnusableFile(path, fault, 'nothing of it is used; remove it');
}
