import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeDurably } from '../lib/durable-file.js';
import { ExpectedFailure } from '../lib/expected-failure.js';
import type { Random } from '../lib/random.js';
import { certificatesOf, writePem } from './pem.js';

/** A private key and its certificate, which live in one file so that no crash can part them. */
export interface KeyAndCertificate {
  readonly key: KeyObject;
  readonly certificateDer: Buffer;
}

export interface KeyPair {
  readonly key: KeyObject;
  readonly spkiDer: Buffer;
}

const RESTORE = 'restore the key folder from the backup.';
const OTHERS = 0o077;
const PRIVATE_FILE = 0o600;
const PRIVATE_FOLDER = 0o700;
const SECRET_BYTES = 32;
const SECRET_HEX = /^[0-9a-f]{64}\n?$/;
const LEFT_OVER = /\.\d+\.tmp$/;
const generate = promisify(generateKeyPair);

/** Makes the folder when absent (0700) and removes what an interrupted write left; one process owns a folder. */
export function openKeyFolder(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: PRIVATE_FOLDER });
  for (const name of readdirSync(dir)) if (LEFT_OVER.test(name)) rmSync(join(dir, name));
}

export async function generateKey(): Promise<KeyPair> {
  const { privateKey, publicKey } = await generate('ec', { namedCurve: 'prime256v1' });
  return { key: privateKey, spkiDer: publicKey.export({ type: 'spki', format: 'der' }) };
}

export function exportKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** Reads a file of `writeKeyAndCertificate`; undefined when absent. Throws when the two do not belong together. */
export function readKeyAndCertificate(path: string): KeyAndCertificate | undefined {
  const text = readPrivateFile(path);
  if (text === undefined) return undefined;
  const [certificateDer, ...others] = certificatesOf(text);
  if (!certificateDer || others.length > 0)
    throw new ExpectedFailure(`${path} does not hold one certificate: ${RESTORE}`);
  return { key: readKey(path, text), certificateDer };
}

function readKey(path: string, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    throw new ExpectedFailure(`${path} does not hold a private key: ${RESTORE}`, error);
  }
}

/** Replaces the file in one step, mode 0600. */
export function writeKeyAndCertificate(path: string, { key, certificateDer }: KeyAndCertificate): void {
  writeDurably(path, exportKey(key) + writePem('CERTIFICATE', certificateDer), PRIVATE_FILE);
}

/** True when the certificate's SubjectPublicKeyInfo is the private key's. */
export function isKeyOf(key: KeyObject, spkiDer: Buffer): boolean {
  return createPublicKey(key).export({ type: 'spki', format: 'der' }).equals(spkiDer);
}

/** The secret of 32 bytes called `name` in `dir`, made when absent; never replaced, also when it cannot be read. */
export function openSecret(dir: string, name: string, random: Random): Buffer {
  openKeyFolder(dir);
  const path = join(dir, name);
  const text = readPrivateFile(path);
  if (text !== undefined) {
    if (!SECRET_HEX.test(text))
      throw new ExpectedFailure(`${path} does not hold a secret of ${SECRET_BYTES} bytes in hex: ${RESTORE}`);
    return Buffer.from(text.trim(), 'hex');
  }
  const secret = random.bytes(SECRET_BYTES);
  writeDurably(path, `${secret.toString('hex')}\n`, PRIVATE_FILE);
  return secret;
}

function readPrivateFile(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) return undefined;
  if ((stats.mode & OTHERS) !== 0) chmodSync(path, PRIVATE_FILE);
  return readFileSync(path, 'latin1');
}
