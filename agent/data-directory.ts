import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { writeDurably } from '../lib/durable-file.js';
import { array, object, optional, readBy, sha256Hex, string, uuid, type TypeOf } from '../lib/schema.js';
import { settingsOrderSchema } from '../protocol/heartbeat-messages.js';
import { assertWhole, ownerOf } from './identity-check.js';
import { assertOwnFolder, readOwnFile, tightenFolder } from './own-files.js';
import { isPassingTrouble } from './passing-trouble.js';
import { dropRenewal, readRenewal } from './renewal-file.js';
import { UnusableFile } from './unusable-file.js';

/** Where everything of one agent lives. */
export interface DataDirectory {
  readonly path: string;
  readonly identityFile: string;
  readonly keyFile: string;
  readonly certificateFile: string;
  readonly rootFile: string;
  /** A key and certificate that are to take the place of the others. */
  readonly renewalFile: string;
  readonly store: string;
  readonly socketName: string;
}

const identitySchema = object({
  computerId: uuid,
  name: string({ min: 1, max: 253 }),
  policy: object({ id: uuid, name: string({ max: 1000 }) }),
  trustDomain: string({ min: 1, max: 255 }),
  managerUrls: array(string({ max: 2048 }), 16),
  /** What the operator enrolled with: the manager's URL and the SHA-256 of the token's secret. */
  /** The settings in force at the enrollment, for the first run. */
  settings: optional(settingsOrderSchema),
  enrolledWith: optional(object({ managerUrl: string({ max: 2048 }), tokenDigest: sha256Hex })),
  /** Of `ownerOf`, noted before the key it is of is replaced for the first time. */
  owner: optional(string({ max: 128 })),
});
/** `identity.json`: written last of all, so that its presence means that the enrollment is complete. */
export type IdentityFile = TypeOf<typeof identitySchema>;

export interface Identity extends IdentityFile {
  readonly keyPem: string;
  /** Leaf, then issuing intermediate. */
  readonly certificatePem: string;
  readonly rootPem: string;
}

export function dataDirectory(path: string): DataDirectory {
  const absolute = resolve(path);
  return {
    path: absolute,
    identityFile: join(absolute, 'identity.json'),
    keyFile: join(absolute, 'agent.key'),
    certificateFile: join(absolute, 'agent.crt'),
    rootFile: join(absolute, 'root.crt'),
    renewalFile: join(absolute, 'renewal.pem'),
    store: join(absolute, 'store'),
    socketName: 'agent.sock',
  };
}

/**
 * Where an enrolled directory keeps the identity that is to replace its own. Once `identity.json` stands in it, it is the
 * identity of the directory; `adoptNextIdentity` only tidies up.
 */
export function nextDirectory({ path }: DataDirectory): DataDirectory {
  return dataDirectory(join(path, 'next'));
}

/** Makes the directory, or tightens it; refuses what is no directory, a link to one, or another user's. */
export function prepareDirectory({ path }: DataDirectory): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    assertOwnFolder(path);
    tightenFolder(path);
  } catch (error) {
    if (error instanceof UnusableFile || isPassingTrouble(error)) throw error;
    throw unusableDirectory(path, error instanceof Error ? error.message : String(error));
  }
}

function unusableDirectory(path: string, why: string): UnusableFile {
  return new UnusableFile(path, `cannot be used: ${why}`, 'choose a --dir that this user can write');
}

/**
 * The identity of an enrolled agent; undefined where the enrollment never came to its end. Throws `UnusableFile` where a
 * file is damaged, or does not belong to the others.
 */
export function readIdentity(directory: DataDirectory): Identity | undefined {
  return readWhole(nextDirectory(directory)) ?? readWhole(directory);
}

/** The directory was never enrolled. */
export class NotEnrolled extends Error {}

/** Throws `NotEnrolled`, or `UnusableFile` where a file of it is damaged. */
export function getIdentity(directory: DataDirectory): Identity {
  const identity = readIdentity(directory);
  if (!identity) throw new NotEnrolled(`${directory.path} is not enrolled`);
  return identity;
}

function readWhole(directory: DataDirectory): Identity | undefined {
  const text = readOwnFile(directory.identityFile);
  const keyPem = readOwnFile(directory.keyFile);
  const certificatePem = readOwnFile(directory.certificateFile);
  const rootPem = readOwnFile(directory.rootFile);
  if (text === undefined || keyPem === undefined || certificatePem === undefined || rootPem === undefined)
    return undefined;
  const identity = { ...parseIdentity(directory.identityFile, text), keyPem, certificatePem, rootPem };
  const renewed = readRenewed(directory, identity);
  if (renewed) return renewed;
  assertWhole(identity, directory);
  return identity;
}

/** With what is to take the place of key and certificate, where it belongs to the others: it is the newer. */
function readRenewed(directory: DataDirectory, identity: Identity): Identity | undefined {
  const { keyPem, certificatePem } = readRenewal(directory.renewalFile) ?? {};
  if (keyPem === undefined || certificatePem === undefined) return undefined;
  const renewed = { ...identity, keyPem, certificatePem };
  try {
    assertWhole(renewed, directory);
    return renewed;
  } catch (error) {
    if (error instanceof UnusableFile) return undefined;
    throw error;
  }
}

/** Notes whose state the directory keeps, before another key takes the place of the one that it was told by. */
export function keepOwner(directory: DataDirectory, identity: Identity): void {
  if (readOwnFile(nextDirectory(directory).identityFile) !== undefined)
    throw new Error('Another identity is about to take the place of this one');
  const text = readOwnFile(directory.identityFile);
  if (text === undefined) return;
  const file = parseIdentity(directory.identityFile, text);
  if (file.owner === undefined) writeFile(directory, { ...file, owner: ownerOf(identity) });
}

function parseIdentity(path: string, text: string): IdentityFile {
  try {
    return readBy(identitySchema, JSON.parse(text));
  } catch {
    throw UnusableFile.damaged(path, 'is damaged');
  }
}

/** Writes certificate, root and at last `identity.json`; a crash in between leaves a directory that enrolls again. */
export function writeIdentity(directory: DataDirectory, identity: Omit<Identity, 'keyPem'>): void {
  const { certificatePem, rootPem, ...file } = identity;
  dropRenewal(directory.renewalFile);
  writeDurably(directory.certificateFile, certificatePem);
  writeDurably(directory.rootFile, rootPem);
  writeFile(directory, file);
}

function writeFile({ identityFile }: DataDirectory, file: IdentityFile): void {
  writeDurably(identityFile, `${JSON.stringify(file, undefined, 2)}\n`);
}

/**
 * Puts a complete next identity in the place of the directory's own, and removes what an incomplete one left but for its
 * key. At every moment `readIdentity` answers one whole identity. The directory's lock must be held.
 */
export function adoptNextIdentity(directory: DataDirectory): void {
  const next = nextDirectory(directory);
  const identity = readWhole(next);
  if (identity) {
    const { keyPem, ...others } = identity;
    writeDurably(directory.keyFile, keyPem);
    writeIdentity(directory, others);
    // Without its key the next identity counts no longer; what is left after a crash is removed here.
    rmSync(next.keyFile, { force: true });
  }
  for (const file of [next.identityFile, next.certificateFile, next.rootFile]) rmSync(file, { force: true });
  if (identity) rmSync(next.path, { recursive: true, force: true });
}
