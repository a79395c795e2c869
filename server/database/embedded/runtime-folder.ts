import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { writeDurably } from '../../../lib/durable-file.js';
import type { Account } from './launcher.js';

/** sun_path of unix(7) holds 108 bytes with the final NUL. */
const LONGEST_SOCKET_PATH = 107;
export const SOCKET_PORT = 5432;
const SOCKET_NAME = `.s.PGSQL.${SOCKET_PORT}`;
const PREFIX = 'wardbeat-';

/**
 * Makes a short private folder for the Unix socket and the library links, whatever the length of the data directory,
 * and removes the one that a killed process has left behind (`record` names it). Only this user, and the group of the
 * account that PostgreSQL runs under, may enter it.
 */
export function makeRuntimeFolder(record: string, account: Account | undefined): string {
  removeRecorded(record);
  const folder = makeFolder(account ? ['/run', tmpdir(), '/tmp'] : [tmpdir(), '/tmp']);
  writeDurably(record, folder);
  restoreRuntimeFolder(folder, account);
  return folder;
}

/** Makes the folder again, should a cleaner of temporary files have taken it, and removes an old socket. */
export function restoreRuntimeFolder(folder: string, account: Account | undefined): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (account) chownSync(folder, process.getuid?.() ?? 0, account.gid);
  chmodSync(folder, account ? 0o770 : 0o700);
  for (const name of [SOCKET_NAME, `${SOCKET_NAME}.lock`]) rmSync(join(folder, name), { force: true });
}

export function removeRuntimeFolder(record: string): void {
  removeRecorded(record);
  rmSync(record, { force: true });
}

/** The folder that a running server was given; undefined when none runs. */
export function readRuntimeFolder(record: string): string | undefined {
  try {
    return readFileSync(record, 'utf8');
  } catch {
    return undefined;
  }
}

function makeFolder(parents: readonly string[]): string {
  const refusals: unknown[] = [];
  for (const parent of parents) {
    const longest = join(parent, `${PREFIX}XXXXXX`, SOCKET_NAME);
    if (Buffer.byteLength(longest) > LONGEST_SOCKET_PATH) continue;
    try {
      return mkdtempSync(join(parent, PREFIX));
    } catch (error) {
      refusals.push(error);
    }
  }
  throw new AggregateError(refusals, `No folder for the PostgreSQL socket could be made in ${parents.join(', ')}`);
}

function removeRecorded(record: string): void {
  try {
    const folder = readFileSync(record, 'utf8');
    const isOurs = basename(folder).startsWith(PREFIX) && lstatSync(folder).uid === process.getuid?.();
    if (isOurs) rmSync(folder, { recursive: true, force: true });
  } catch {
    // Nothing is recorded, or it is gone: there is nothing to remove.
  }
}
