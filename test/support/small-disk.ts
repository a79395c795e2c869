import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** What a disk of a test's own needs and this machine lacks; undefined where all is there. */
export function missingFor(...tools: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'root, to mount a disk';
  return tools.find((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
}

export interface MemoryDisk {
  unmount(): void;
  /** Read-only or not; nobody may have a file open for writing. */
  allow(how: 'ro' | 'rw'): void;
}

/** A disk in memory; `path` is made, and removed with it. */
export function mountMemory(path: string, megabytes: number): MemoryDisk {
  mkdirSync(path, { recursive: true });
  must(spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=700`, 'wardbeat-test', path]));
  return {
    unmount: () => unmount(path),
    allow: (how) => void must(spawnSync('mount', ['-o', `remount,${how}`, path])),
  };
}

/** Fills what is left of a disk, as other programs do, until the file is removed. */
export function fillDisk(path: string): { empty(): void } {
  const file = join(path, 'filler');
  const out = openSync(file, 'w');
  try {
    for (let size = 64 * 1024; size > 0; size = Math.floor(size / 2)) while (writes(out, size));
  } finally {
    closeSync(out);
  }
  return { empty: () => rmSync(file, { force: true }) };
}

function writes(file: number, size: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(size, 1)) === size;
  } catch {
    return false;
  }
}

/** FS_IOC_SHUTDOWN (_IOR('X', 125, __u32)) without a flush of the log: nothing that was not synced reaches the device any more. */
const LOSE_POWER = `my $how = pack("L", 2); sysopen(my $disk, $ARGV[0], 0) or die $!; ioctl($disk, 0x8004587d, $how) or die $!;`;

/** A disk with ext4 that can lose its power: what was not synced is gone. */
export interface MortalDisk {
  losePower(): void;
  /** After whoever used it has ended. */
  restorePower(): void;
  remove(): void;
}

/** Needs root, mkfs.ext4, losetup and perl. */
export function mountMortal(path: string, image: string, megabytes: number): MortalDisk {
  mkdirSync(path, { recursive: true });
  closeSync(openSync(image, 'w'));
  truncateSync(image, megabytes * 1024 * 1024);
  must(spawnSync('mkfs.ext4', ['-q', '-F', image]));
  const mount = (): void => void must(spawnSync('mount', ['-o', 'loop', image, path]));
  mount();
  return {
    losePower: () => void must(spawnSync('perl', ['-e', LOSE_POWER, path])),
    restorePower() {
      unmount(path);
      mount();
    },
    remove() {
      unmount(path);
      rmSync(image, { force: true });
    },
  };
}

function unmount(path: string): void {
  if (spawnSync('umount', [path]).status !== 0) spawnSync('umount', ['-l', path]);
}

function must(answer: SpawnSyncReturns<Buffer>): void {
  if (answer.status !== 0) throw new Error(`A disk of the test could not be made: ${answer.stderr.toString()}`);
}
