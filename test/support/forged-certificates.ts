import { createPublicKey, generateKeyPairSync, randomBytes, X509Certificate, type KeyObject } from 'node:crypto';
import {
  authorityKeyIdentifier,
  basicConstraints,
  encodeName,
  extendedKeyUsage,
  keyUsage,
  signCertificate,
  subjectAltName,
  subjectKeyIdentifier,
  type Extension,
} from '../../certs/certificate-encoder.js';
import { DAY_MS, KEY_USAGE, LEAF_KEY_PURPOSES } from '../../certs/certificate-profile.js';
import { readCertificate } from '../../certs/certificate-reader.js';
import { writePem } from '../../certs/pem.js';

/** Certificates that say whatever a test wants, signed by whomever it wants. Not a part of the product. */
export interface Forged {
  readonly key: KeyObject;
  readonly der: Buffer;
  readonly pem: string;
  readonly keyPem: string;
  readonly x509: X509Certificate;
}

export interface Forgery {
  readonly name: string;
  /** Self-signed when absent. */
  readonly issuer?: Pick<Forged, 'key' | 'der'>;
  /** Around the instant `at`, in milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly extensions: readonly Extension[];
  readonly key?: KeyObject;
  /** The subject of another certificate, to pose as it. */
  readonly subjectDer?: Buffer;
}

export const AUTHORITY_BITS = KEY_USAGE.keyCertSign | KEY_USAGE.crlSign;

export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
}

export function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' });
}

export function forgeCertificate(forgery: Forgery): Forged {
  const { key = newKey(), issuer, notBefore, notAfter, extensions } = forgery;
  const spkiDer = spkiOf(key);
  const subjectDer = forgery.subjectDer ?? encodeName(forgery.name);
  const issuerFacts = issuer && readCertificate(issuer.der);
  const identifiers = [
    subjectKeyIdentifier(spkiDer),
    ...(issuerFacts ? [authorityKeyIdentifier(issuerFacts.spkiDer)] : []),
  ];
  const serial = Buffer.concat([Buffer.from([0x41]), randomBytes(15)]);
  const issuerDer = issuerFacts?.subjectDer ?? subjectDer;
  const body = { serial, issuerDer, subjectDer, notBefore, notAfter, spkiDer };
  const der = signCertificate({ ...body, extensions: [...extensions, ...identifiers] }, issuer?.key ?? key);
  const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { key, der, pem: writePem('CERTIFICATE', der), keyPem, x509: new X509Certificate(der) };
}

export function authorityExtensions(pathLength?: number): Extension[] {
  return [basicConstraints(pathLength === undefined ? {} : { pathLength }), keyUsage(AUTHORITY_BITS)];
}

/** What a leaf of the profile carries, by name, so that a test can leave out or replace one. */
export function leafExtensions(uri: string): Record<'constraints' | 'usage' | 'purposes' | 'names', Extension> {
  return {
    constraints: basicConstraints(false),
    usage: keyUsage(KEY_USAGE.digitalSignature),
    purposes: extendedKeyUsage(LEAF_KEY_PURPOSES),
    names: subjectAltName({ uris: [uri] }),
  };
}

/** A period of `days` that began a day before `at`. */
export function validAround(at: number, days = 30): { notBefore: number; notAfter: number } {
  const second = Math.floor(at / 1000) * 1000;
  return { notBefore: second - DAY_MS, notAfter: second + days * DAY_MS };
}

/** A whole authority of an attacker, or of a test: a root and an intermediate that path length 0 ends. */
export function forgeAuthority(at: number, name = 'Forged'): { root: Forged; intermediate: Forged } {
  const period = validAround(at, 3650);
  const root = forgeCertificate({ name: `${name} Root`, ...period, extensions: authorityExtensions() });
  const intermediate = forgeCertificate({
    name: `${name} Issuing`,
    issuer: root,
    ...period,
    extensions: authorityExtensions(0),
  });
  return { root, intermediate };
}
