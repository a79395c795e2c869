import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.js';
import { ExpectedFailure } from '../lib/expected-failure.js';
import type { Random } from '../lib/random.js';
import {
  authorityKeyIdentifier,
  basicConstraints,
  encodeName,
  extendedKeyUsage,
  keyUsage,
  signCertificate,
  subjectAltName,
  subjectKeyIdentifier,
} from './certificate-encoder.js';
import {
  computerSpiffeId,
  INTERMEDIATE_LIFETIME_DAYS,
  KEY_USAGE,
  leafProfile,
  LEAF_KEY_PURPOSES,
  ROOT_LIFETIME_DAYS,
  validityFrom,
  type LeafRequest,
} from './certificate-profile.js';
import { readCertificate, type CertificateFacts } from './certificate-reader.js';
import { readPublicKey } from './csr.js';
import {
  generateKey,
  isKeyOf,
  openKeyFolder,
  readKeyAndCertificate,
  writeKeyAndCertificate,
  type KeyAndCertificate,
} from './key-store.js';
import { joinPemBundle, sha256Fingerprint, writePem } from './pem.js';
import { verifyPeerPath } from './verify-path.js';

export interface IssuedCertificate {
  readonly pem: string;
  /** Lower-case hex, 32 digits. */
  readonly serial: string;
  /** Milliseconds, five minutes before the issue. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface ComputerRequest {
  readonly computerId: string;
  readonly spkiDer: Buffer;
  readonly lifetimeDays: number;
}

export interface ManagerRequest {
  readonly node: string;
  /** DNS names and IP addresses. */
  readonly hosts: readonly string[];
  readonly spkiDer: Buffer;
  readonly lifetimeDays: number;
}

export interface CertificateAuthority {
  readonly trustDomain: string;
  readonly root: X509Certificate;
  readonly rootPem: string;
  /** Lower-case hex SHA-256 of the root's DER. */
  readonly rootFingerprint: string;
  readonly intermediate: X509Certificate;
  readonly intermediatePem: string;
  /** The intermediate, then the root: what follows a leaf in a handshake. */
  readonly chainPem: string;
  issueComputer(request: ComputerRequest): IssuedCertificate;
  issueManager(request: ManagerRequest): IssuedCertificate;
}

export interface AuthorityOptions {
  readonly dir: string;
  readonly trustDomain: string;
  readonly clock: Pick<Clock, 'wall'>;
  readonly random: Random;
}

interface Authority extends KeyAndCertificate {
  readonly facts: CertificateFacts;
  readonly x509: X509Certificate;
}

const ROOT_FILE = 'root.pem';
const RESTORE = 'restore the key folder from the backup.';
const SERIAL_BYTES = 16;
const AUTHORITY_USAGE = KEY_USAGE.keyCertSign | KEY_USAGE.crlSign;
const CHECKED_ID = '00000000-0000-4000-8000-000000000000';

/** The fingerprint of the root that a folder holds; undefined where it holds none. Makes nothing. */
export function findRootFingerprint(dir: string): string | undefined {
  const root = readAuthority(join(dir, ROOT_FILE));
  return root && sha256Fingerprint(root.x509);
}

/**
 * Opens the authority of a folder that this process alone uses: a root and an issuing intermediate, ECDSA P-256.
 * What is absent is made, the root first, each key with its certificate in one durable file of mode 0600; an opening
 * that was killed between the two is finished by the next. Throws ExpectedFailure when the files do not belong together.
 */
export async function openAuthority(options: AuthorityOptions): Promise<CertificateAuthority> {
  computerSpiffeId(options.trustDomain, CHECKED_ID);
  openKeyFolder(options.dir);
  const rootPath = join(options.dir, ROOT_FILE);
  const intermediatePath = join(options.dir, 'intermediate.pem');
  const storedIntermediate = readAuthority(intermediatePath);
  let root = readAuthority(rootPath);
  if (!root && storedIntermediate)
    throw new ExpectedFailure(`${rootPath} is missing, but ${intermediatePath} is there: ${RESTORE}`);
  root ??= store(rootPath, await makeRoot(options));
  const intermediate = storedIntermediate ?? store(intermediatePath, await makeIntermediate(root, options));
  if (!intermediate.x509.verify(root.x509.publicKey))
    throw new ExpectedFailure(`${intermediatePath} is not signed by ${rootPath}: ${RESTORE}`);
  return createAuthority(root.x509, intermediate, options);
}

function createAuthority(root: X509Certificate, issuer: Authority, options: AuthorityOptions): CertificateAuthority {
  const { trustDomain, clock } = options;
  const rootPem = writePem('CERTIFICATE', root.raw);
  const intermediatePem = writePem('CERTIFICATE', issuer.certificateDer);
  const issuerNotAfter = issuer.facts.notAfter;
  const issue = (request: Omit<LeafRequest, 'trustDomain' | 'at' | 'issuerNotAfter'>, spkiDer: Buffer) => {
    const leaf: LeafRequest = { ...request, trustDomain, at: clock.wall(), issuerNotAfter };
    const der = signLeaf(leaf, spkiDer, { issuer, random: options.random });
    return checkIssued(der, leaf, { root, intermediate: issuer.x509 });
  };
  return {
    trustDomain,
    root,
    rootPem,
    rootFingerprint: sha256Fingerprint(root),
    intermediate: issuer.x509,
    intermediatePem,
    chainPem: joinPemBundle([intermediatePem, rootPem]),
    issueComputer: ({ computerId, spkiDer, lifetimeDays }) =>
      issue({ role: 'computer', id: computerId, lifetimeDays }, spkiDer),
    issueManager: ({ node, hosts, spkiDer, lifetimeDays }) =>
      issue({ role: 'manager', id: node, hosts, lifetimeDays }, spkiDer),
  };
}

function signLeaf(request: LeafRequest, spkiDer: Buffer, by: { issuer: Authority; random: Random }): Buffer {
  const { notBefore, notAfter, commonName, spiffeId, dnsNames, ipAddresses } = leafProfile(request);
  readPublicKey(spkiDer);
  const body = {
    serial: newSerial(by.random),
    issuerDer: by.issuer.facts.subjectDer,
    subjectDer: encodeName(commonName),
    notBefore,
    notAfter,
    spkiDer,
    extensions: [
      basicConstraints(false),
      keyUsage(KEY_USAGE.digitalSignature),
      extendedKeyUsage(LEAF_KEY_PURPOSES),
      subjectAltName({ uris: [spiffeId], dnsNames, ipAddresses }),
      subjectKeyIdentifier(spkiDer),
      authorityKeyIdentifier(by.issuer.facts.spkiDer),
    ],
  };
  return signCertificate(body, by.issuer.key);
}

/** Nothing leaves that a peer would refuse: the certificate is verified as a peer verifies it. */
function checkIssued(
  leafDer: Buffer,
  { trustDomain, role, at }: LeafRequest,
  { root, intermediate }: { root: X509Certificate; intermediate: X509Certificate },
): IssuedCertificate {
  const verdict = verifyPeerPath({ leafDer, intermediates: [intermediate], roots: [root], trustDomain, role, at });
  if (!verdict.ok) throw new Error(`The authority cannot issue at this moment: ${verdict.detail}`);
  const { serial, notBefore, notAfter } = verdict;
  return { pem: writePem('CERTIFICATE', leafDer), serial, notBefore, notAfter };
}

async function makeRoot({ clock, random }: AuthorityOptions): Promise<KeyAndCertificate> {
  const { key, spkiDer } = await generateKey();
  const name = encodeName(`Wardbeat Root ${random.bytes(4).toString('hex')}`);
  const body = {
    serial: newSerial(random),
    issuerDer: name,
    subjectDer: name,
    ...validityFrom(clock.wall(), ROOT_LIFETIME_DAYS),
    spkiDer,
    extensions: [basicConstraints({}), keyUsage(AUTHORITY_USAGE), subjectKeyIdentifier(spkiDer)],
  };
  return { key, certificateDer: signCertificate(body, key) };
}

async function makeIntermediate(root: Authority, { clock, random }: AuthorityOptions): Promise<KeyAndCertificate> {
  const { key, spkiDer } = await generateKey();
  const { notBefore, notAfter } = validityFrom(clock.wall(), INTERMEDIATE_LIFETIME_DAYS);
  const body = {
    serial: newSerial(random),
    issuerDer: root.facts.subjectDer,
    subjectDer: encodeName(`Wardbeat Issuing ${random.bytes(4).toString('hex')}`),
    notBefore: Math.max(notBefore, root.facts.notBefore),
    notAfter: Math.min(notAfter, root.facts.notAfter),
    spkiDer,
    extensions: [
      basicConstraints({ pathLength: 0 }),
      keyUsage(AUTHORITY_USAGE),
      subjectKeyIdentifier(spkiDer),
      authorityKeyIdentifier(root.facts.spkiDer),
    ],
  };
  return { key, certificateDer: signCertificate(body, root.key) };
}

/** 126 random bits below 01: positive, and of sixteen octets always. */
function newSerial(random: Random): Buffer {
  const serial = Buffer.from(random.bytes(SERIAL_BYTES));
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0);
  return serial;
}

function readAuthority(path: string): Authority | undefined {
  const stored = readKeyAndCertificate(path);
  return stored && toAuthority(path, stored);
}

function store(path: string, made: KeyAndCertificate): Authority {
  writeKeyAndCertificate(path, made);
  return toAuthority(path, made);
}

function toAuthority(path: string, stored: KeyAndCertificate): Authority {
  const facts = readCertificate(stored.certificateDer);
  if (!facts.isAuthority || !isKeyOf(stored.key, facts.spkiDer))
    throw new ExpectedFailure(`${path} does not hold an authority's certificate with its own key: ${RESTORE}`);
  return { ...stored, facts, x509: new X509Certificate(stored.certificateDer) };
}
