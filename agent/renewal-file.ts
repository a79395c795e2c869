import { createPrivateKey } from 'node:crypto';
import { rmSync } from 'node:fs';

import { joinPemBundle, readPem, writePem } from '../certs/pem.js';
import { removeDurably, writeDurably } from '../lib/durable-file.js';
import { readOwnFile } from './own-files.js';

/** A key and the certificate that proves it, PEM: the leaf, then the issuing intermediate. */
export interface Credentials {
  readonly keyPem: string;
  readonly certificatePem: string;
}

/** A key that a certificate is asked for, and what was issued for it. */
export interface StoredRenewal {
  readonly keyPem: string;
  readonly certificatePem: string | undefined;
}

/**
 * `renewal.pem` beside the key and the certificate of a directory: key and certificate in one file, so that no crash can part
 * them. With a certificate in it, it is what the agent uses, until it has taken the place of the others. Undefined where
 * there is none, or one that makes no sense: then the key is asked for anew.
 */
export function readRenewal(path: string): StoredRenewal | undefined {
  const blocks = readPem(readOwnFile(path) ?? '');
  const [key, ...certificates] = blocks;
  if (key?.label !== 'PRIVATE KEY' || certificates.some(({ label }) => label !== 'CERTIFICATE')) return undefined;
  const keyPem = writePem(key.label, key.der);
  try {
    createPrivateKey(keyPem);
  } catch {
    return undefined;
  }
  const pems = certificates.map(({ label, der }) => writePem(label, der));
  return { keyPem, certificatePem: pems.length > 0 ? joinPemBundle(pems) : undefined };
}

export function writeRenewal(path: string, { keyPem, certificatePem }: StoredRenewal): void {
  writeDurably(path, joinPemBundle([keyPem, certificatePem ?? '']));
}

export function removeRenewal(path: string): void {
  removeDurably(path);
}

/** In a folder that may not be there. */
export function dropRenewal(path: string): void {
  rmSync(path, { force: true });
}
