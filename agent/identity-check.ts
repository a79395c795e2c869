import { createHash, createPrivateKey, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';

import { certificatesOf } from '../certs/pem.js';
import { verifyPeerPath } from '../certs/verify-path.js';
import type { DataDirectory, Identity } from './data-directory.js';
import { parseManagerUrl } from './transport/tls-connection.js';
import { UnusableFile } from './unusable-file.js';

type Files = Pick<DataDirectory, 'identityFile' | 'keyFile' | 'certificateFile' | 'rootFile'>;

/** Throws `UnusableFile` with the file to blame, unless key, certificate, root and `identity.json` belong together. */
export function assertWhole(identity: Identity, files: Files): void {
  const key = readKey(identity.keyPem, files.keyFile);
  const [leaf, ...intermediates] = readCertificates(identity.certificatePem, files.certificateFile);
  const roots = readCertificates(identity.rootPem, files.rootFile);
  if (!leaf.checkPrivateKey(key))
    throw UnusableFile.damaged(files.keyFile, `is not the key of ${files.certificateFile}`);
  const verdict = verifyPeerPath({
    leafDer: leaf.raw,
    intermediates,
    roots,
    trustDomain: identity.trustDomain,
    role: 'computer',
    // Whether it has expired is another matter.
    at: Date.parse(leaf.validFrom),
  });
  if (!verdict.ok && verdict.reason !== 'profile')
    throw UnusableFile.damaged(files.rootFile, `is not the root of ${files.certificateFile}`);
  if (!verdict.ok || verdict.id !== identity.computerId)
    throw UnusableFile.damaged(files.identityFile, `names another computer than ${files.certificateFile}`);
  if (!identity.managerUrls.some((url) => parseManagerUrl(url)))
    throw UnusableFile.damaged(files.identityFile, 'names no manager');
}

/** Reads the private key of a PEM file; throws `UnusableFile` where it holds none. */
export function readKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw UnusableFile.damaged(path, 'holds no private key');
  }
}

function readCertificates(pem: string, path: string): [X509Certificate, ...X509Certificate[]] {
  try {
    const [first, ...others] = certificatesOf(pem).map((der) => new X509Certificate(der));
    if (first) return [first, ...others];
  } catch {
    // Told below.
  }
  throw UnusableFile.damaged(path, 'holds no certificate');
}

/** Whose durable state it is: another enrollment has another key, even under the same computer id; a renewal changes nothing. */
export function ownerOf({ computerId, keyPem, owner }: Pick<Identity, 'computerId' | 'keyPem' | 'owner'>): string {
  if (owner !== undefined) return owner;
  const spki = createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
  return `${computerId}/${createHash('sha256').update(spki).digest('hex')}`;
}

/** The end of the certificate's validity, Unix milliseconds. */
export function expiryOf({ certificatePem }: Pick<Identity, 'certificatePem'>): number {
  const [leaf] = certificatesOf(certificatePem);
  return leaf ? Date.parse(new X509Certificate(leaf).validTo) : Number.NEGATIVE_INFINITY;
}
