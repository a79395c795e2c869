import { mkdirSync, readdirSync, renameSync, rmSync, lstatSync, chmodSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { ClassicLevel } from 'classic-level';

import type { Clock } from '../../lib/clock.js';
import { UnusableFile } from '../unusable-file.js';

export type StoreOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'del'; readonly key: string };

export interface KeyRange {
  readonly gte: string;
  readonly lte: string;
}

/** The data directory is held by another process. */
export class StoreInUse extends Error {
  constructor(path: string) {
    super(`${path} is in use by a running agent; stop it first, or use another --dir`);
    this.name = 'StoreInUse';
  }
}

export interface SetAside {
  /** The folder the unreadable database was renamed to. */
  readonly path: string;
  readonly reason: string;
}

interface Queued {
  readonly operations: readonly StoreOperation[];
  readonly durable: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What spool and state need of the store. */
export type Store = Pick<DurableStore, 'failure' | 'write' | 'get' | 'scan' | 'recover'>;

type Database = ClassicLevel<string, string>;

const DATABASE_OPTIONS = { writeBufferSize: 1024 * 1024, cacheSize: 1024 * 1024, maxOpenFiles: 64 };
const MAX_BATCH_OPERATIONS = 5000;
const LOCK_PATIENCE_MS = 1500;
const LOCK_RETRY_MS = 50;

/**
 * One LevelDB with group commit: writes are applied in the order they were handed in, those that gather during a
 * sync share the next one. Its lock, which dies with the process, is the lock of the data directory.
 */
export class DurableStore {
  #database: Database;
  readonly #path: string;
  #queue: Queued[] = [];
  #pumping: Promise<void> | undefined;
  #failure: Error | undefined;

  private constructor(path: string, database: Database) {
    this.#path = path;
    this.#database = database;
  }

  /**
   * Opens or creates; throws `StoreInUse` when another process keeps it for longer than a `status` looks at it. A
   * database that cannot be read is set aside, never fatal.
   */
  static async open(path: string, clock: Clock): Promise<{ store: DurableStore; setAside: SetAside | undefined }> {
    prepareFolder(path);
    try {
      return { store: new DurableStore(path, await openPatiently(path, clock)), setAside: undefined };
    } catch (error) {
      if (isLocked(error)) throw new StoreInUse(dirname(path));
      if (isEnvironment(error)) throw unusable(path, describe(error));
      const setAside = setDatabaseAside(path, clock, describe(error));
      return { store: new DurableStore(path, await openDatabase(path)), setAside };
    }
  }

  /** The last write or read that failed since the database was opened. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Resolves when written; with `durable` when synced to disk. A rejected write changed nothing. */
  write(operations: readonly StoreOperation[], { durable }: { durable: boolean }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ operations, durable, resolve, reject });
      this.#pumping ??= this.#pump();
    });
  }

  async get(key: string): Promise<string | undefined> {
    return this.#noticing(() => this.#database.get(key));
  }

  /** Calls `visit` with the entries of the range in order until it answers false. */
  async scan(range: KeyRange, visit: (key: string, value: string) => boolean): Promise<void> {
    await this.#noticing(async () => {
      const iterator = this.#database.iterator({ ...range, fillCache: false });
      try {
        for (let more = true; more;) more = visitAll(await iterator.nextv(500), visit);
      } finally {
        await iterator.close();
      }
    });
  }

  /**
   * After a failure: opens the database again (LevelDB refuses all writes after one failed), or sets a corrupt one
   * aside and begins anew; the caller then writes again what it still knows.
   */
  async recover(clock: Clock): Promise<SetAside | undefined> {
    const failure = this.#failure;
    if (!failure) return undefined;
    await this.#pumping;
    await this.#database.close();
    const setAside = isCorruption(failure) ? setDatabaseAside(this.#path, clock, describe(failure)) : undefined;
    this.#database = await openDatabase(this.#path);
    this.#failure = undefined;
    return setAside;
  }

  async close(): Promise<void> {
    await this.#pumping;
    await this.#database.close();
  }

  async #pump(): Promise<void> {
    // Lets the writes of this turn of the event loop gather.
    await Promise.resolve();
    while (this.#queue.length > 0) await this.#commit(this.#takeBatch());
    this.#pumping = undefined;
  }

  #takeBatch(): Queued[] {
    let operations = 0;
    let taken = 0;
    for (const entry of this.#queue) {
      if (taken > 0 && operations + entry.operations.length > MAX_BATCH_OPERATIONS) break;
      operations += entry.operations.length;
      taken += 1;
    }
    return this.#queue.splice(0, taken);
  }

  async #commit(batch: readonly Queued[]): Promise<void> {
    const operations = batch.flatMap((entry) => [...entry.operations]);
    try {
      await this.#noticing(() => this.#database.batch(operations, { sync: batch.some((entry) => entry.durable) }));
      for (const entry of batch) entry.resolve();
    } catch (error) {
      for (const entry of batch) entry.reject(error);
    }
  }

  async #noticing<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }
}

function visitAll(entries: readonly [string, string][], visit: (key: string, value: string) => boolean): boolean {
  return entries.length > 0 && entries.every(([key, value]) => visit(key, value));
}

async function openPatiently(path: string, clock: Clock): Promise<Database> {
  const end = clock.monotonic() + LOCK_PATIENCE_MS;
  for (;;) {
    try {
      return await openDatabase(path);
    } catch (error) {
      if (!isLocked(error) || clock.monotonic() > end) throw error;
      await clock.sleep(LOCK_RETRY_MS);
    }
  }
}

async function openDatabase(path: string): Promise<Database> {
  const database = new ClassicLevel<string, string>(path, DATABASE_OPTIONS);
  await database.open();
  return database;
}

/** A planted link would put the spool elsewhere: only a real folder of our own is used. */
function prepareFolder(path: string): void {
  if (!lstatSync(path, { throwIfNoEntry: false })) mkdirSync(path, { recursive: true, mode: 0o700 });
  if (!lstatSync(path).isDirectory()) throw unusable(path, 'it is not a directory');
  chmodSync(path, 0o700);
}

function unusable(path: string, why: string): UnusableFile {
  return new UnusableFile(path, `cannot be used: ${why}`, 'give this user write access to it, and room on the disk');
}

/** Keeps the newest unreadable database only, so that the disk stays bounded. */
function setDatabaseAside(path: string, clock: Clock, reason: string): SetAside {
  const folder = dirname(path);
  const prefix = `${basename(path)}.unreadable-`;
  for (const name of readdirSync(folder)) {
    if (name.startsWith(prefix)) rmSync(join(folder, name), { recursive: true, force: true });
  }
  const target = join(folder, `${prefix}${Math.floor(clock.wall())}`);
  renameSync(path, target);
  prepareFolder(path);
  return { path: target, reason };
}

function codes(error: unknown): string[] {
  const found: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) found.push(String((at as { code?: unknown }).code));
  return found;
}

function isLocked(error: unknown): boolean {
  return codes(error).includes('LEVEL_LOCKED');
}

/** The machine's fault, not the database's: what is on disk must stay where it is. */
function isEnvironment(error: unknown): boolean {
  return /no space|quota exceeded|permission denied|read-only|too many open files|not permitted/i.test(describe(error));
}

function isCorruption(error: unknown): boolean {
  return codes(error).includes('LEVEL_CORRUPTION') || /corrupt|checksum/i.test(describe(error));
}

function describe(error: unknown): string {
  const texts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) texts.push(at.message);
  return texts.join(': ').slice(0, 500);
}
