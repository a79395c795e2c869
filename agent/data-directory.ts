import { chmodSync, existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { writeDurably } from '../lib/durable-file.js';
import { array, object, readBy, string, uuid, type TypeOf } from '../lib/schema.js';

/** Where everything of one agent lives. */
export interface DataDirectory {
  readonly path: string;
  readonly identityFile: string;
  readonly keyFile: string;
  readonly certificateFile: string;
  readonly rootFile: string;
  readonly store: string;
  readonly socketName: string;
}

const identitySchema = object({
  computerId: uuid,
  name: string({ min: 1, max: 253 }),
  policy: object({ id: uuid, name: string({ max: 1000 }) }),
  trustDomain: string({ min: 1, max: 255 }),
  managerUrls: array(string({ max: 2048 }), 16),
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
    store: join(absolute, 'store'),
    socketName: 'agent.sock',
  };
}

/** Makes the directory, or tightens it; refuses what is no directory, or a link to one. */
export function prepareDirectory({ path }: DataDirectory): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (!lstatSync(path).isDirectory()) throw new Error(`${path} is not a directory`);
  chmodSync(path, 0o700);
}

/** The identity of an enrolled agent; undefined where the enrollment never came to its end. */
export function readIdentity(directory: DataDirectory): Identity | undefined {
  const files = [directory.identityFile, directory.keyFile, directory.certificateFile, directory.rootFile];
  if (!files.every((file) => existsSync(file))) return undefined;
  const file = readBy(identitySchema, JSON.parse(readFileSync(directory.identityFile, 'utf8')));
  return {
    ...file,
    keyPem: readFileSync(directory.keyFile, 'utf8'),
    certificatePem: readFileSync(directory.certificateFile, 'utf8'),
    rootPem: readFileSync(directory.rootFile, 'utf8'),
  };
}

/** Writes certificate, root and at last `identity.json`; a crash in between leaves a directory that enrolls again. */
export function writeIdentity(directory: DataDirectory, identity: Omit<Identity, 'keyPem'>): void {
  const { certificatePem, rootPem, ...file } = identity;
  writeDurably(directory.certificateFile, certificatePem);
  writeDurably(directory.rootFile, rootPem);
  writeDurably(directory.identityFile, `${JSON.stringify(file, undefined, 2)}\n`);
}
