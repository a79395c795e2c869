import { chmodSync, closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { isPassingTrouble } from './passing-trouble.js';
import { UnusableFile } from './unusable-file.js';

/**
 * The text of a file of the data directory; undefined where there is none. Throws `UnusableFile` for a link or anything else
 * than a file, which could be another's, and what a disk throws that fails.
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
    if (error instanceof UnusableFile || isPassingTrouble(error)) throw error;
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

/** Lets nobody else into a folder of ours. On a disk that cannot be written it stays as it is, and nothing is put into it. */
export function tightenFolder(path: string): void {
  if ((lstatSync(path).mode & 0o7777) === OWNER_ONLY) return;
  try {
    chmodSync(path, OWNER_ONLY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EROFS') throw error;
  }
}

const OWNER_ONLY = 0o700;

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
