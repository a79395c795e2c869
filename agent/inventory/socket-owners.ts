import { readdir, readFile, readlink } from 'node:fs/promises';

import { MAX_ITEM_TEXT } from '../../protocol/inventory-messages.js';
import { toStorableCut } from '../storable.js';

export interface SocketOwner {
  readonly pid: number;
  readonly name: string;
}

/** Few at a time: the other files of the agent are read by the same threads. */
const READS_AT_ONCE = 2;

/**
 * Finds the processes that have sockets, by the links in /proc/<pid>/fd. Those of other users are not for an agent without
 * privileges to see. What was looked for once, found or not, is not looked for again while its socket is there.
 */
export class SocketOwners {
  readonly #proc: string;
  #known = new Map<string, SocketOwner | undefined>();

  constructor(proc = '/proc') {
    this.#proc = proc;
  }

  async find(inodes: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlyMap<string, SocketOwner | undefined>> {
    const known = new Map([...this.#known].filter(([inode]) => inodes.has(inode)));
    const wanted = new Set([...inodes].filter((inode) => !known.has(inode)));
    if (wanted.size > 0) {
      const found = await this.#search(wanted, signal);
      for (const inode of wanted) known.set(inode, found.get(inode));
    }
    this.#known = known;
    return known;
  }

  async #search(wanted: ReadonlySet<string>, signal: AbortSignal): Promise<Map<string, SocketOwner>> {
    const pids = (await readdir(this.#proc)).filter((name) => /^\d+$/.test(name));
    const found = new Map<string, SocketOwner>();
    const work = async (): Promise<void> => {
      for (let pid = pids.pop(); pid !== undefined && found.size < wanted.size; pid = pids.pop()) {
        signal.throwIfAborted();
        await this.#searchIn(pid, wanted, found);
      }
    };
    await Promise.all(Array.from({ length: READS_AT_ONCE }, work));
    return found;
  }

  async #searchIn(pid: string, wanted: ReadonlySet<string>, found: Map<string, SocketOwner>): Promise<void> {
    try {
      const folder = `${this.#proc}/${pid}/fd`;
      for (const descriptor of await readdir(folder)) {
        const [, inode = ''] =
          /^socket:\[(\d+)\]$/.exec(await readlink(`${folder}/${descriptor}`).catch(() => '')) ?? [];
        // Of several that share it, such as a parent and its workers, the one found first.
        if (wanted.has(inode) && !found.has(inode)) found.set(inode, await this.#ownerOf(pid));
      }
    } catch {
      // It ended meanwhile, or is another user's.
    }
  }

  async #ownerOf(pid: string): Promise<SocketOwner> {
    const name = (await readFile(`${this.#proc}/${pid}/comm`, 'utf8')).trim();
    return { pid: Number(pid), name: toStorableCut(name, MAX_ITEM_TEXT) };
  }
}
