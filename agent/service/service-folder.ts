import { chmodSync, existsSync, lchownSync, lstatSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Whom a folder is given to. */
export interface FolderOwner {
  readonly uid: number;
  readonly gid: number;
}

/** systemd hides these from the service (ProtectHome, PrivateTmp), or they are the system's own. */
const HIDDEN = ['/home', '/root', '/run/user', '/tmp', '/var/tmp'];
const RESERVED = ['/', '/bin', '/boot', '/dev', '/etc', '/lib', '/proc', '/sbin', '/sys', '/usr', '/var', '/var/lib'];
const WITHIN_RESERVED = ['/boot', '/dev', '/proc', '/sys'];

export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}

/** Why the service cannot have its data there; undefined where it can. */
export function placeFault(directory: string): string | undefined {
  if (/\p{Cc}/u.test(directory)) return 'must not contain control characters';
  const hidden = hiddenFault(directory);
  if (hidden !== undefined) return hidden;
  if (RESERVED.includes(directory) || WITHIN_RESERVED.some((folder) => isWithin(directory, folder)))
    return 'is a folder of the system';
  return undefined;
}

/** What a folder must be to be handed over whole: absent, empty, or an agent's. Undefined where it is. */
export function contentFault(directory: string): string | undefined {
  const found = lstatSync(directory, { throwIfNoEntry: false });
  if (!found) return undefined;
  if (!found.isDirectory()) return 'is not a directory';
  const names = readdirSync(directory);
  if (names.length === 0 || isAgentFolder(directory)) return undefined;
  return 'is neither empty nor the data directory of an agent';
}

/** Whether it holds what an agent makes. */
function isAgentFolder(directory: string): boolean {
  return ['identity.json', 'agent.key'].some((name) => existsSync(join(directory, name)));
}

/**
 * Gives a folder with all that is in it to the service's user; links are changed, never followed. One that is that user's
 * already is left alone: whoever can write in it could lead a change of root's elsewhere. Answers how to undo it.
 */
export function handOver(directory: string, { uid, gid }: FolderOwner): () => void {
  if (lstatSync(directory, { throwIfNoEntry: false })?.uid === uid) return () => undefined;
  const undo: (() => void)[] = [];
  const takeBack = (): void => {
    for (const step of undo.toReversed()) step();
  };
  try {
    if (!existsSync(directory)) {
      mkdirSync(directory, { mode: 0o700 });
      undo.push(() => rmdirSync(directory));
    }
    const { mode } = lstatSync(directory);
    chmodSync(directory, 0o700);
    undo.push(() => chmodSync(directory, mode & 0o7777));
    for (const path of [directory, ...everythingIn(directory)]) {
      const before = lstatSync(path);
      if (before.uid === uid && before.gid === gid) continue;
      lchownSync(path, uid, gid);
      undo.push(() => lchownSync(path, before.uid, before.gid));
    }
    return takeBack;
  } catch (error) {
    takeBack();
    throw error;
  }
}

function everythingIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((name) => join(directory, name));
}

/** Why the service sees nothing at a path, whatever is there; undefined where it may. */
export function hiddenFault(path: string): string | undefined {
  const hidden = HIDDEN.find((folder) => isWithin(path, folder));
  return hidden === undefined ? undefined : `lies in ${hidden}, which systemd hides from the service`;
}

/** Why other users cannot read or run a file; undefined where they can. */
export function sharedFault(path: string, needed: number): string | undefined {
  const hidden = hiddenFault(path);
  if (hidden !== undefined) return `${path} ${hidden}`;
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return `${path} is not there`;
  if ((found.mode & needed) !== needed) return `${path} is not for other users to read or run`;
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if ((lstatSync(folder).mode & 0o001) === 0) return `${path} lies in ${folder}, which is closed to other users`;
    if (folder === dirname(folder)) return undefined;
  }
}
