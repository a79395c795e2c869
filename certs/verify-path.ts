import { createHash, X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { KEY_USAGE, LEAF_KEY_PURPOSES, parseSpiffeId, type CertificateRole } from './certificate-profile.js';
import { readCertificate, type CertificateFacts } from './certificate-reader.js';

export interface PathRequest {
  readonly leafDer: Buffer;
  /**
   * Candidates, the peer's and one's own; untrusted. Only the first eight are looked at, so put one's own first, parsed
   * already: that takes a quarter of the time of a verification.
   */
  readonly intermediates: readonly (Buffer | X509Certificate)[];
  readonly roots: readonly X509Certificate[];
  readonly trustDomain: string;
  readonly role: CertificateRole;
  /** The trusted instant by which the dates are judged, in milliseconds. */
  readonly at: number;
}

export type PathRefusal = 'tls-unknown-ca' | 'tls-expired' | 'tls-not-yet-valid' | 'profile';

export interface VerifiedPeer {
  readonly ok: true;
  /** The computer's UUID or the manager's node. */
  readonly id: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Lower-case hex SHA-256 of the SubjectPublicKeyInfo. */
  readonly publicKeyDigest: string;
}

export interface RefusedPeer {
  readonly ok: false;
  readonly reason: PathRefusal;
  /** For a log; says nothing that the peer wrote. */
  readonly detail: string;
  /** What the certificate says, proven by its signatures: only where nothing but a date is wrong. */
  readonly proven?: VerifiedPeer;
}

export type PathVerdict = VerifiedPeer | RefusedPeer;

interface Element {
  readonly x509: X509Certificate;
  readonly facts: CertificateFacts;
}

/** An issuer whose signatures lead up to a root of ours: itself first, the root last. */
type IssuerPath = readonly [Element, ...Element[]];

const MOST_INTERMEDIATES = 8;
const MOST_LEVELS = 3;

/**
 * Verifies a peer's certificate as RFC 5280 section 6 does for this profile: every signature up to a root of ours, CA
 * flags, key usage and path lengths, then the leaf's profile and role, and only when all that holds the dates of every
 * element. A certificate of another authority is therefore `tls-unknown-ca`, whatever its dates. Never throws.
 */
export function verifyPeerPath(request: PathRequest): PathVerdict {
  const leaf = readElementOf(request.leafDer);
  if (!leaf) return refuse('tls-unknown-ca', 'the certificate cannot be read as X.509 version 3');
  const paths = issuerPaths(request).filter(([issuer]) => isIssuedBy(leaf, issuer));
  if (paths.length === 0) return refuse('tls-unknown-ca', 'no signatures lead up to a trusted root');
  const verdicts = paths.map((path) => judge(leaf, path, request));
  return verdicts.find(({ ok }) => ok) ?? verdicts.find(isRefusedByDate) ?? (verdicts[0] as PathVerdict);
}

/**
 * The certificates that a TLS peer presented, leaf first, or undefined when it presented none. Read them once, at the
 * handshake: a resumed or reused socket may no longer know them.
 */
export function peerCertificates(socket: TLSSocket): { leafDer: Buffer; intermediates: Buffer[] } | undefined {
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  const ders: Buffer[] = [];
  while (certificate?.raw && ders.length <= MOST_INTERMEDIATES) {
    ders.push(certificate.raw);
    const issuer: DetailedPeerCertificate | undefined = certificate.issuerCertificate;
    certificate = issuer === certificate ? undefined : issuer;
  }
  const [leafDer, ...intermediates] = ders;
  return leafDer && { leafDer, intermediates };
}

/** Grows the set of proven issuers from the roots downwards, so that a stranger's certificates cost one look each. */
function issuerPaths({ roots, intermediates }: PathRequest): IssuerPath[] {
  const found: IssuerPath[] = roots.map(toRoot).filter((root) => root !== undefined);
  let pending = candidates(intermediates, roots);
  let frontier: readonly IssuerPath[] = found;
  for (let level = 0; level < MOST_LEVELS && frontier.length > 0 && pending.length > 0; level += 1) {
    const grown = pending.flatMap((element) => pathsThrough(element, frontier));
    const proven = new Set(grown.map(([element]) => element));
    pending = pending.filter((element) => !proven.has(element));
    found.push(...grown);
    frontier = grown;
  }
  return found;
}

function pathsThrough(element: Element, issuers: readonly IssuerPath[]): IssuerPath[] {
  return issuers.filter(([issuer]) => isIssuedBy(element, issuer)).map((path) => [element, ...path]);
}

function toRoot(x509: X509Certificate): IssuerPath | undefined {
  const element = readElementOf(x509);
  return element && [element];
}

function candidates(given: PathRequest['intermediates'], roots: readonly X509Certificate[]): Element[] {
  const known = new Set(roots.map(({ raw }) => raw.toString('latin1')));
  const fresh = given.slice(0, MOST_INTERMEDIATES).filter((certificate) => {
    const der = Buffer.isBuffer(certificate) ? certificate : certificate.raw;
    const key = der.toString('latin1');
    return !known.has(key) && known.add(key);
  });
  return fresh.map(readElementOf).filter((element) => element !== undefined);
}

function readElementOf(certificate: Buffer | X509Certificate): Element | undefined {
  try {
    const x509 = Buffer.isBuffer(certificate) ? new X509Certificate(certificate) : certificate;
    return { x509, facts: readCertificate(x509.raw) };
  } catch {
    return undefined;
  }
}

function isIssuedBy(child: Element, issuer: Element): boolean {
  if (!child.facts.issuerDer.equals(issuer.facts.subjectDer)) return false;
  try {
    return child.x509.checkIssued(issuer.x509) && child.x509.verify(issuer.x509.publicKey);
  } catch {
    return false;
  }
}

function judge(leaf: Element, path: IssuerPath, request: PathRequest): PathVerdict {
  const profileFault = authorityFault(path) ?? leafFault(leaf.facts);
  if (profileFault) return refuse('profile', profileFault);
  const [uri = ''] = leaf.facts.uris;
  const spiffe = leaf.facts.uris.length === 1 ? parseSpiffeId(uri) : undefined;
  if (!spiffe) return refuse('profile', 'the leaf has not exactly one URI that is a SPIFFE id');
  if (spiffe.trustDomain !== request.trustDomain) return refuse('profile', 'the leaf is of another trust domain');
  if (spiffe.role !== request.role) return refuse('profile', `the leaf is not a ${request.role}'s`);
  const fault = dateFault([leaf, ...path], request.at);
  const proven = accept(leaf.facts, spiffe.id);
  return fault ? { ...fault, proven } : proven;
}

function authorityFault(path: IssuerPath): string | undefined {
  for (const [below, { facts }] of path.entries()) {
    if (!facts.isAuthority) return 'an issuer is not a certificate authority';
    if (!mayUse(facts, KEY_USAGE.keyCertSign)) return 'an issuer may not sign certificates';
    if (facts.pathLength !== undefined && below > facts.pathLength) return 'the path is longer than an issuer allows';
    if (facts.keyPurposes.length > 0 && !hasPurposes(facts)) return 'an issuer may not issue for TLS';
    if (facts.unknownCritical.length > 0) return 'an issuer has a critical extension that is not understood';
  }
  return undefined;
}

function leafFault(facts: CertificateFacts): string | undefined {
  if (facts.isAuthority) return 'the leaf is marked as a certificate authority';
  if (!mayUse(facts, KEY_USAGE.digitalSignature)) return 'the leaf may not sign digitally';
  if (mayUse(facts, KEY_USAGE.keyCertSign | KEY_USAGE.crlSign)) return 'the leaf may sign certificates or lists';
  if (!hasPurposes(facts)) return 'the leaf lacks an extended key usage';
  if (facts.unknownCritical.length > 0) return 'the leaf has a critical extension that is not understood';
  return undefined;
}

/** True when the key usage is stated and contains one of the bits. */
function mayUse({ keyUsage = 0 }: CertificateFacts, bits: number): boolean {
  return (keyUsage & bits) !== 0;
}

function hasPurposes({ keyPurposes }: CertificateFacts): boolean {
  return LEAF_KEY_PURPOSES.every((purpose) => keyPurposes.includes(purpose));
}

function dateFault(elements: readonly Element[], at: number): RefusedPeer | undefined {
  for (const [index, { facts }] of elements.entries()) {
    const which = index === 0 ? 'the leaf' : 'an issuer';
    if (at > facts.notAfter) return refuse('tls-expired', `${which} has expired`);
    if (!(at >= facts.notBefore)) return refuse('tls-not-yet-valid', `${which} is not valid yet`);
  }
  return undefined;
}

function accept(facts: CertificateFacts, id: string): VerifiedPeer {
  const { serial, notBefore, notAfter, spkiDer } = facts;
  const publicKeyDigest = createHash('sha256').update(spkiDer).digest('hex');
  return { ok: true, id, serial, notBefore, notAfter, publicKeyDigest };
}

function refuse(reason: PathRefusal, detail: string): RefusedPeer {
  return { ok: false, reason, detail };
}

function isRefusedByDate(verdict: PathVerdict): boolean {
  return !verdict.ok && verdict.reason !== 'profile';
}
