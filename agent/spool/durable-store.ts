import { mkdirSync, readdirSync, renameSync, rmSync, lstatSync, statSync } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { ClassicLevel } from 'classic-level';

import type { Clock } from '../../lib/clock.js';
import { diskSizeOf } from './disk-room.js';
import { Findings, type Mended } from './findings.js';
import { findLogDamage, type LogDamage } from './log-damage.js';
import { assertOwnFolder, assertPlainEntries, tightenFolder } from '../own-files.js';
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

export interface OpenedStore {
  readonly store: DurableStore;
  readonly mended: Mended | undefined;
}

interface Queued {
  readonly operations: readonly StoreOperation[];
  readonly durable: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What spool and state need of the store. */
export type Store = Pick<DurableStore, 'failure' | 'write' | 'get' | 'scan' | 'recover'>;

export interface OpenOptions {
  /** Answers a store that refuses every write until `recover`, where the disk is full or fails. */
  readonly orWithoutDisk?: boolean;
}

type Database = ClassicLevel<string, string>;

const DATABASE_OPTIONS = { cacheSize: 1024 * 1024, maxOpenFiles: 64 };
const WRITE_BUFFER = { least: 64 * 1024, most: 1024 * 1024, shareOfDisk: 1 / 32 };
const MAX_BATCH_OPERATIONS = 5000;
const LOCK_PATIENCE_MS = 1500;
const LOCK_RETRY_MS = 50;

/**
 * One LevelDB with group commit: writes are applied in the order they were handed in, those that gather during a
 * sync share the next one. Its lock, which dies with the process, is the lock of the data directory.
 */
export class DurableStore {
  /** Undefined while it cannot be opened: then `failure` says why. */
  #database: Database | undefined;
  readonly #path: string;
  #queue: Queued[] = [];
  #pumping: Promise<void> | undefined;
  #failure: Error | undefined;
  /** Why no write is tried any more. */
  #writeFailure: Error | undefined;

  /** Never opened yet: it reads as empty. */
  #isUnread = false;

  private constructor(
    path: string,
    database: Database | Error,
    /** What is to be told of the database. */
    readonly findings: Findings,
  ) {
    this.#path = path;
    if (database instanceof ClassicLevel) {
      this.#database = database;
      return;
    }
    this.#failure = database;
    this.#isUnread = true;
  }

  /**
   * Opens or creates; throws `StoreInUse` when another process keeps it for longer than a `status` looks at it. A
   * database that cannot be read is repaired, or set aside: never fatal.
   */
  static async open(path: string, clock: Clock, { orWithoutDisk = false }: OpenOptions = {}): Promise<OpenedStore> {
    const findings = new Findings(path);
    const answer = (database: Database | Error, mended?: Mended): OpenedStore => ({
      store: new DurableStore(path, database, findings),
      mended,
    });
    try {
      prepareFolder(path);
      return answer(await openPatiently(path, clock, findings));
    } catch (error) {
      if (error instanceof UnusableFile) throw error;
      if (isLocked(error)) throw new StoreInUse(dirname(path));
      if (orWithoutDisk && isDiskFault(error)) return answer(toError(error));
      if (isEnvironment(error)) throw unusable(path, describe(error));
      const log = lookAtLog(path);
      const mended = await mend(path, clock, describe(error));
      findings.add({ mended, log: mended.setAside === undefined ? log : undefined });
      return answer(await openDatabase(path), mended);
    }
  }

  /** The last write or read that failed since the database was opened. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /**
   * Resolves when written; with `durable` when synced to disk. A write that failed may still be found, whole, when the
   * database is opened again; all behind it are refused untried until `recover`: LevelDB would append them to a log whose
   * end is torn, answer, and not find them again.
   */
  write(operations: readonly StoreOperation[], { durable }: { durable: boolean }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ operations, durable, resolve, reject });
      this.#pumping ??= this.#pump();
    });
  }

  async get(key: string): Promise<string | undefined> {
    if (this.#isUnread) return undefined;
    return this.#noticing((database) => database.get(key));
  }

  /** Calls `visit` with the entries of the range in order until it answers false. */
  async scan(range: KeyRange, visit: (key: string, value: string) => boolean): Promise<void> {
    if (this.#isUnread) return;
    await this.#noticing(async (database) => {
      const iterator = database.iterator({ ...range, fillCache: false });
      try {
        for (let more = true; more;) more = visitAll(await iterator.nextv(500), visit);
      } finally {
        await iterator.close();
      }
    });
  }

  /**
   * After a failure: opens the database again, and repairs a corrupt one, or sets it aside and begins anew: then the caller
   * writes again what it still knows. Where the disk cannot be written yet it stays open as it is, to be read.
   */
  async recover(clock: Clock): Promise<Mended | undefined> {
    const failure = this.#failure;
    if (!failure) return undefined;
    await this.#pumping;
    try {
      prepareFolder(this.#path);
      await assertWritable(this.#path);
      const before = this.#database;
      this.#database = undefined;
      await before?.close();
      const mended = isCorruption(failure) ? await mend(this.#path, clock, describe(failure)) : undefined;
      // What it lost since it was opened shows in what is known of it.
      this.#database = await openDatabase(this.#path, this.#isUnread ? this.findings : undefined);
      this.#failure = undefined;
      this.#writeFailure = undefined;
      this.#isUnread = false;
      return mended;
    } catch (error) {
      if (!isCorruption(failure)) this.#failure = toError(error);
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#pumping;
    await this.#database?.close();
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
      if (this.#writeFailure) throw this.#writeFailure;
      await this.#noticing((database) => database.batch(operations, { sync: batch.some((entry) => entry.durable) }));
      for (const entry of batch) entry.resolve();
    } catch (error) {
      this.#writeFailure = toError(error);
      for (const entry of batch) entry.reject(error);
    }
  }

  async #noticing<T>(action: (database: Database) => Promise<T>): Promise<T> {
    const database = this.#database;
    if (!database) throw this.#failure ?? new Error('The database is closed');
    try {
      return await action(database);
    } catch (error) {
      // One that was closed meanwhile says nothing of the one that was opened since.
      if (database === this.#database) this.#failure = toError(error);
      throw error;
    }
  }
}

/** What opening takes beside the table that it makes of the log. */
const OPENING_BYTES = 128 * 1024;
const PROBE_CHUNK = Buffer.alloc(64 * 1024, 1);

/** Throws as the disk does, where there is no room to open the database or nothing can be synced. Leaves nothing behind. */
async function assertWritable(folder: string): Promise<void> {
  const logs = readdirSync(folder).filter((name) => name.endsWith('.log'));
  const sizes = logs.map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0);
  const needed = sizes.reduce((sum, size) => sum + size, OPENING_BYTES);
  const path = join(folder, 'probe');
  const file = await open(path, 'w', 0o600);
  try {
    await unlink(path);
    for (let written = 0; written < needed;) written += (await file.write(PROBE_CHUNK)).bytesWritten;
    await file.sync();
  } finally {
    await file.close();
  }
}

function visitAll(entries: readonly [string, string][], visit: (key: string, value: string) => boolean): boolean {
  return entries.length > 0 && entries.every(([key, value]) => visit(key, value));
}

async function openPatiently(path: string, clock: Clock, findings: Findings): Promise<Database> {
  const end = clock.monotonic() + LOCK_PATIENCE_MS;
  for (;;) {
    try {
      return await openDatabase(path, findings);
    } catch (error) {
      if (!isLocked(error) || clock.monotonic() > end) throw error;
      await clock.sleep(LOCK_RETRY_MS);
    }
  }
}

/** Opening takes away what shows that the log is damaged: it is looked at before, and noted once the lock is held. */
async function openDatabase(path: string, findings?: Findings): Promise<Database> {
  const log = findings && lookAtLog(path);
  const { least, most, shareOfDisk } = WRITE_BUFFER;
  const writeBufferSize = Math.round(Math.min(most, Math.max(least, diskSizeOf(path) * shareOfDisk)));
  const database = new ClassicLevel<string, string>(path, { ...DATABASE_OPTIONS, writeBufferSize });
  await database.open();
  if (log) findings?.add({ log });
  return database;
}

/** A planted link would put the spool elsewhere: only a real folder of our own is used. */
function prepareFolder(path: string): void {
  if (!lstatSync(path, { throwIfNoEntry: false })) mkdirSync(path, { recursive: true, mode: 0o700 });
  assertOwnFolder(path);
  assertPlainEntries(path);
  tightenFolder(path);
}

function unusable(path: string, why: string): UnusableFile {
  return new UnusableFile(path, `cannot be used: ${why}`, 'give this user write access to it, and room on the disk');
}

/** Opening finds the disk's faults itself. */
function lookAtLog(path: string): LogDamage | undefined {
  try {
    return findLogDamage(path);
  } catch {
    return undefined;
  }
}

/** Keeps of a closed database what can be read; one that cannot be opened even then is set aside. */
async function mend(path: string, clock: Clock, reason: string): Promise<Mended> {
  try {
    await ClassicLevel.repair(path);
    await (await openDatabase(path)).close();
    // What it could not read.
    rmSync(join(path, 'lost'), { recursive: true, force: true });
    return { reason, setAside: undefined };
  } catch (error) {
    if (isEnvironment(error)) throw error;
    return { reason, setAside: setDatabaseAside(path, clock) };
  }
}

/** Keeps the newest unreadable database only, so that the disk stays bounded. */
function setDatabaseAside(path: string, clock: Clock): string {
  const folder = dirname(path);
  const prefix = `${basename(path)}.unreadable-`;
  for (const name of readdirSync(folder)) {
    if (name.startsWith(prefix)) rmSync(join(folder, name), { recursive: true, force: true });
  }
  const target = join(folder, `${prefix}${Math.floor(clock.wall())}`);
  renameSync(path, target);
  prepareFolder(path);
  return target;
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
  return isDiskFault(error) || /permission denied|not permitted/i.test(describe(error));
}

/** Such as passes by itself, or when somebody makes room. */
export function isDiskFault(error: unknown): boolean {
  return /no space|quota exceeded|read-only file system|input\/output error|i\/o error|too many open files/i.test(
    describe(error),
  );
}

function isCorruption(error: unknown): boolean {
  return codes(error).includes('LEVEL_CORRUPTION') || /corrupt|checksum/i.test(describe(error));
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** The chain of an error's messages, as the system told it. */
export function describe(error: unknown): string {
  const texts: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) texts.push(at.message);
  return texts.join(': ').slice(0, 500);
}
