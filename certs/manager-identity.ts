import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.js';
import type { CertificateAuthority } from './certificate-authority.js';
import { addressOctets } from './certificate-encoder.js';
import { MANAGER_LIFETIME_DAYS } from './certificate-profile.js';
import { readCertificate } from './certificate-reader.js';
import {
  exportKey,
  generateKey,
  isKeyOf,
  openKeyFolder,
  readKeyAndCertificate,
  writeKeyAndCertificate,
  type KeyAndCertificate,
} from './key-store.js';
import { certificatesOf, writePem } from './pem.js';
import { verifyPeerPath } from './verify-path.js';

export interface ManagerIdentity {
  readonly keyPem: string;
  /** The leaf alone. */
  readonly certPem: string;
  /** What follows the leaf in a handshake: the intermediate, then the root (agents check the token's fingerprint by it). */
  readonly chainPem: string;
  /** Milliseconds. */
  readonly notAfter: number;
}

export interface ManagerIdentityOptions {
  readonly dir: string;
  readonly authority: CertificateAuthority;
  readonly node: string;
  readonly hosts: readonly string[];
  readonly clock: Pick<Clock, 'wall'>;
}

/**
 * The manager's key and leaf, kept in `manager.pem` of the folder. A new key and leaf are made when the file is absent
 * or unusable, when authority, node or hosts changed, or when less than a third of the leaf's life remains.
 */
export async function openManagerIdentity(options: ManagerIdentityOptions): Promise<ManagerIdentity> {
  openKeyFolder(options.dir);
  const path = join(options.dir, 'manager.pem');
  const stored = readUsable(path, options);
  if (stored) return toIdentity(stored, options);
  const made = await makeIdentity(options);
  writeKeyAndCertificate(path, made);
  return toIdentity(made, options);
}

async function makeIdentity({ authority, node, hosts }: ManagerIdentityOptions): Promise<KeyAndCertificate> {
  const { key, spkiDer } = await generateKey();
  const { pem } = authority.issueManager({ node, hosts, spkiDer, lifetimeDays: MANAGER_LIFETIME_DAYS });
  const [certificateDer] = certificatesOf(pem);
  if (!certificateDer) throw new Error('The authority issued nothing');
  return { key, certificateDer };
}

function readUsable(path: string, options: ManagerIdentityOptions): KeyAndCertificate | undefined {
  try {
    const stored = readKeyAndCertificate(path);
    return stored && isUsable(stored, options) ? stored : undefined;
  } catch (error) {
    // A file that may not be read is the operator's to mend; one that makes no sense is replaced.
    if (error instanceof Error && 'syscall' in error) throw error;
    return undefined;
  }
}

function isUsable({ key, certificateDer }: KeyAndCertificate, options: ManagerIdentityOptions): boolean {
  const { authority, node, hosts, clock } = options;
  const at = clock.wall();
  const verdict = verifyPeerPath({
    leafDer: certificateDer,
    intermediates: [authority.intermediate],
    roots: [authority.root],
    trustDomain: authority.trustDomain,
    role: 'manager',
    at,
  });
  if (!verdict.ok || verdict.id !== node) return false;
  if ((verdict.notAfter - at) * 3 < verdict.notAfter - verdict.notBefore) return false;
  const facts = readCertificate(certificateDer);
  const named = [...facts.dnsNames, ...facts.ipAddresses];
  return isKeyOf(key, facts.spkiDer) && named.toSorted().join() === hosts.map(asNamed).toSorted().join();
}

function asNamed(host: string): string {
  return isIP(host) !== 0 ? addressOctets(host).toString('hex') : host;
}

function toIdentity(stored: KeyAndCertificate, { authority }: ManagerIdentityOptions): ManagerIdentity {
  return {
    keyPem: exportKey(stored.key),
    certPem: writePem('CERTIFICATE', stored.certificateDer),
    chainPem: authority.chainPem,
    notAfter: readCertificate(stored.certificateDer).notAfter,
  };
}
