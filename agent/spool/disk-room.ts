import { readdirSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.js';

/** How much the records of the spool may take on the disk as it is now. */
export interface DiskRoom {
  /** Bytes; `incoming` are about to be written. Infinite where the disk cannot be asked. */
  allowance(incoming: number): number;
}

const MEGABYTE = 1024 * 1024;
const MOST_RESERVE = 4 * MEGABYTE;
const RESERVE_SHARE = 1 / 8;
const LOOK_EVERY_MS = 250;
const SECTOR_BYTES = 512;
/** The database compacts by writing anew what lives before it removes the old. */
const COPIES = 2;

/**
 * Half of what the disk has beside other files, less a reserve: so the spool does not fill the disk that it lives on, and
 * the database has room to compact.
 */
export function createDiskRoom(folder: string, clock: Pick<Clock, 'monotonic'>): DiskRoom {
  let lookedAt = Number.NEGATIVE_INFINITY;
  let written = 0;
  let known = { allowance: Number.POSITIVE_INFINITY, free: 0 };
  return {
    allowance(incoming) {
      written += incoming;
      if (clock.monotonic() - lookedAt >= LOOK_EVERY_MS || written > known.free / 16) {
        known = measure(folder);
        lookedAt = clock.monotonic();
        written = incoming;
      }
      return known.allowance;
    },
  };
}

function measure(folder: string): { allowance: number; free: number } {
  try {
    const before = sizeOf(folder);
    const { bavail, blocks, bsize } = statfsSync(folder);
    const free = bavail * bsize;
    const reserve = Math.min(MOST_RESERVE, blocks * bsize * RESERVE_SHARE);
    // The database makes and removes files meanwhile.
    const own = Math.max(before, sizeOf(folder));
    return { free, allowance: Math.max(0, (free + own - reserve) / COPIES) };
  } catch {
    return { allowance: Number.POSITIVE_INFINITY, free: Number.POSITIVE_INFINITY };
  }
}

function sizeOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => {
    const facts = statSync(join(folder, name), { throwIfNoEntry: false });
    return sum + (facts?.blocks ?? 0) * SECTOR_BYTES;
  }, 0);
}

/** The size of the disk that a folder is on, bytes. */
export function diskSizeOf(folder: string): number {
  const { blocks, bsize } = statfsSync(folder);
  return blocks * bsize;
}
