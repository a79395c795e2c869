import { readFile, stat } from 'node:fs/promises';

import { createBreather } from '../../lib/breather.js';
import type { Clock } from '../../lib/clock.js';
import { MOST_ITEMS, type PackageItem } from '../../protocol/inventory-messages.js';
import type { Collector } from '../collectors/collector.js';
import { runChild } from '../collectors/run-child.js';
import { APK_FIELDS, DPKG_FIELDS, readBlocks, readRpmLines, RPM_FORMAT } from './package-lists.js';

/** What was found, and how many there are in all. */
export interface Found<Item> {
  readonly items: readonly Item[];
  readonly total: number;
}

export interface PackagePaths {
  readonly dpkg: string;
  readonly apk: string;
  /** Where rpm keeps its database; the first one that is there tells of changes. */
  readonly rpm: readonly string[];
  /** Found on PATH. */
  readonly rpmCommand: string;
}

export const SYSTEM_PACKAGE_PATHS: PackagePaths = {
  dpkg: '/var/lib/dpkg/status',
  apk: '/lib/apk/db/installed',
  rpm: ['/var/lib/rpm', '/usr/lib/sysimage/rpm'].flatMap((folder) =>
    ['rpmdb.sqlite', 'Packages.db', 'Packages'].map((file) => `${folder}/${file}`),
  ),
  rpmCommand: 'rpm',
};

const MOST_RPM_OUTPUT = 16 * 1024 * 1024;
const MOST_LIST_BYTES = 64 * 1024 * 1024;

/** Installed packages of dpkg, apk and rpm; the databases are read again only once they have changed. */
export function createPackagesCollector(
  clock: Pick<Clock, 'monotonic'>,
  paths: PackagePaths = SYSTEM_PACKAGE_PATHS,
): Collector<Found<PackageItem>> {
  let last: { readonly mark: string; readonly found: Found<PackageItem> } | undefined;
  return {
    name: 'packages',
    async collect(signal) {
      const marks = await Promise.all([paths.dpkg, paths.apk, ...paths.rpm].map(markOf));
      const mark = marks.join();
      if (last?.mark === mark) return last.found;
      const isRpmThere = marks.slice(2).some((one) => one !== '');
      const found = new Gathered(clock, signal);
      if (marks[0] !== '') await found.take(readBlocks(await readList(paths.dpkg, signal), DPKG_FIELDS));
      if (marks[1] !== '') await found.take(readBlocks(await readList(paths.apk, signal), APK_FIELDS));
      if (isRpmThere) await found.take(readRpmLines(await askRpm(paths.rpmCommand, signal)));
      last = { mark, found: found.result() };
      return last.found;
    },
  };
}

/** Thousands of packages, without holding up the event loop. */
class Gathered {
  readonly #breather;
  readonly #signal: AbortSignal;
  readonly #items: PackageItem[] = [];
  #total = 0;

  constructor(clock: Pick<Clock, 'monotonic'>, signal: AbortSignal) {
    this.#breather = createBreather(clock);
    this.#signal = signal;
  }

  async take(packages: Iterable<PackageItem>): Promise<void> {
    for (const item of packages) {
      this.#total += 1;
      if (this.#items.length < MOST_ITEMS.packages) this.#items.push(item);
      if (!this.#breather.isDue()) continue;
      await this.#breather.turn();
      this.#signal.throwIfAborted();
    }
  }

  result(): Found<PackageItem> {
    return { items: this.#items, total: this.#total };
  }
}

/** What tells one state of a file from another; empty where there is none. */
async function markOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${path}:${mtimeMs}:${size}:${ino}`;
  } catch (error) {
    if (isAbsent(error)) return '';
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

async function readList(path: string, signal: AbortSignal): Promise<string> {
  const { size } = await stat(path);
  if (size > MOST_LIST_BYTES) throw new Error(`${path} has ${size} bytes, more than are read`);
  return readFile(path, { encoding: 'utf8', signal });
}

async function askRpm(command: string, signal: AbortSignal): Promise<string> {
  const call = {
    command,
    args: ['-qa', '--qf', RPM_FORMAT],
    maxOutput: MOST_RPM_OUTPUT,
    absent: 'rpm is not installed',
  };
  const ran = await runChild(call, signal);
  if ('failed' in ran) throw new Error(ran.failed);
  if (ran.stdout === '' && ran.stderr !== '') throw new Error(`rpm: ${ran.stderr.slice(0, 256)}`);
  return ran.stdout;
}
