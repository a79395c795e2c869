import { isIP } from 'node:net';

/** Who a certificate speaks for. What its bearer may do is decided by the manager's records, never by the certificate. */
export type CertificateRole = 'computer' | 'manager';

export interface SpiffeId {
  readonly trustDomain: string;
  readonly role: CertificateRole;
  /** A computer's UUID or a manager's node name. */
  readonly id: string;
}

/** What a leaf certificate says; instants in milliseconds, whole seconds as X.509 has them. */
export interface LeafProfile {
  readonly spiffeId: string;
  readonly commonName: string;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface LeafRequest {
  readonly trustDomain: string;
  readonly role: CertificateRole;
  readonly id: string;
  /** DNS names and IP addresses that stand beside the SPIFFE id; for managers only. */
  readonly hosts?: readonly string[];
  readonly lifetimeDays: number;
  /** The instant of issue, in milliseconds. */
  readonly at: number;
  /** The issuer's own end, which no leaf outlives. */
  readonly issuerNotAfter: number;
}

export const DAY_MS = 86_400_000;
export const BACKDATE_MS = 5 * 60_000;
export const ROOT_LIFETIME_DAYS = 20 * 365;
export const INTERMEDIATE_LIFETIME_DAYS = 5 * 365;
export const MANAGER_LIFETIME_DAYS = 397;
/** Bounds of the setting `certificateLifetimeDays`. */
export const SHORTEST_LIFETIME_DAYS = 1;
export const LONGEST_LIFETIME_DAYS = 397;

/** Object identifiers of X.509 (RFC 5280) that the profile speaks of. */
export const OID = {
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  subjectAltName: '2.5.29.17',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** Bits of KeyUsage (RFC 5280 section 4.2.1.3) in the first octet of the bit string. */
export const KEY_USAGE = { digitalSignature: 0x80, keyCertSign: 0x04, crlSign: 0x02 } as const;

/**
 * The extended key usages of every leaf: managers dial computers that listen and computers dial managers, so each is
 * client and server. The roles part by the SPIFFE id's path.
 */
export const LEAF_KEY_PURPOSES: readonly string[] = [OID.serverAuth, OID.clientAuth];

const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NODE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const SPIFFE = /^spiffe:\/\/([^/]+)\/(computer|manager)\/([^/]+)$/;
const DNS_LABEL = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/** `spiffe://<trust-domain>/computer/<uuid>`; throws a TypeError when a part is malformed. */
export function computerSpiffeId(trustDomain: string, id: string): string {
  return spiffeIdOf({ trustDomain, role: 'computer', id });
}

/** `spiffe://<trust-domain>/manager/<node>`; throws a TypeError when a part is malformed. */
export function managerSpiffeId(trustDomain: string, node: string): string {
  return spiffeIdOf({ trustDomain, role: 'manager', id: node });
}

/** Reads a SPIFFE id of this profile; undefined for anything that is not letter by letter what the profile writes. */
export function parseSpiffeId(uri: string): SpiffeId | undefined {
  const [, trustDomain, role, id] = SPIFFE.exec(uri) ?? [];
  if (trustDomain === undefined || id === undefined || (role !== 'computer' && role !== 'manager')) return undefined;
  const parsed: SpiffeId = { trustDomain, role, id };
  return isWellFormed(parsed) ? parsed : undefined;
}

/** Builds and checks what a leaf will say; throws a TypeError or RangeError for what no leaf may say. */
export function leafProfile(request: LeafRequest): LeafProfile {
  const { role, id, hosts = [], lifetimeDays, at, issuerNotAfter } = request;
  if (!(lifetimeDays >= SHORTEST_LIFETIME_DAYS && lifetimeDays <= LONGEST_LIFETIME_DAYS))
    throw new RangeError(`A leaf lives ${SHORTEST_LIFETIME_DAYS} to ${LONGEST_LIFETIME_DAYS} days`);
  if (role === 'computer' && hosts.length > 0) throw new TypeError('A computer has no host names in its certificate');
  const refused = hosts.find((host) => !isHost(host));
  if (refused !== undefined) throw new TypeError(`"${refused}" is neither a host name nor an IP address`);
  const period = validityFrom(at, lifetimeDays);
  if (period.notBefore >= issuerNotAfter) throw new RangeError('The issuing certificate has expired');
  return {
    spiffeId: spiffeIdOf(request),
    commonName: id,
    dnsNames: hosts.filter((host) => isIP(host) === 0),
    ipAddresses: hosts.filter((host) => isIP(host) !== 0),
    notBefore: period.notBefore,
    notAfter: Math.min(period.notAfter, issuerNotAfter),
  };
}

/** A validity of whole seconds that begins five minutes before `at`, for clocks that are slow. */
export function validityFrom(at: number, lifetimeDays: number): { notBefore: number; notAfter: number } {
  const second = Math.floor(at / 1000) * 1000;
  return { notBefore: second - BACKDATE_MS, notAfter: second + Math.floor(lifetimeDays * DAY_MS) };
}

/** True for a DNS name without wildcard (up to 253 characters) and for an IP address without zone. */
export function isHost(host: string): boolean {
  if (host.includes('%')) return false;
  return isIP(host) !== 0 || (host.length <= 253 && host.split('.').every((label) => DNS_LABEL.test(label)));
}

function spiffeIdOf({ trustDomain, role, id }: SpiffeId): string {
  if (!isWellFormed({ trustDomain, role, id }))
    throw new TypeError(`"${id}" in "${trustDomain}" cannot be a ${role}'s SPIFFE id`);
  return `spiffe://${trustDomain}/${role}/${id}`;
}

function isWellFormed({ trustDomain, role, id }: SpiffeId): boolean {
  return TRUST_DOMAIN.test(trustDomain) && (role === 'computer' ? UUID : NODE).test(id);
}
