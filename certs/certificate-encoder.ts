import { createHash, sign, type KeyObject } from 'node:crypto';
import { isIPv4 } from 'node:net';
import forge from 'node-forge';
import { OID } from './certificate-profile.js';
import { TAG, readElement, readSequence, readWholeBits } from './der.js';

const { asn1 } = forge;
const { UNIVERSAL, CONTEXT_SPECIFIC } = asn1.Class;
const { Type } = asn1;
type Node = forge.asn1.Asn1;

/** One extension of RFC 5280 section 4.2. */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Node;
}

/** A certificate before it is signed; instants in milliseconds. */
export interface CertificateBody {
  /** Octets of a positive integer. */
  readonly serial: Buffer;
  readonly issuerDer: Buffer;
  readonly subjectDer: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spkiDer: Buffer;
  readonly extensions: readonly Extension[];
}

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const ORGANIZATION = '2.5.4.10';
const COMMON_NAME = '2.5.4.3';
const VERSION_3 = '\u0002';
const TRUE = '\u00ff';
/** From 2050 on RFC 5280 section 4.1.2.5 wants GeneralizedTime. */
const GENERALIZED_TIME_FROM = Date.UTC(2050, 0, 1);

/** Signs a body with an EC key (ECDSA with SHA-256) and answers the certificate's DER. */
export function signCertificate(body: CertificateBody, issuerKey: KeyObject): Buffer {
  const unsigned = toBeSigned(body);
  const signature = sign('sha256', toDer(unsigned), issuerKey);
  return toDer(sequence(unsigned, algorithm(), bitString(signature)));
}

/** A distinguished name `O=Wardbeat, CN=<commonName>` in DER. */
export function encodeName(commonName: string): Buffer {
  const attribute = (oid: string, text: string): Node =>
    asn1.create(UNIVERSAL, Type.SET, true, [sequence(identifier(oid), leaf(Type.UTF8, forge.util.encodeUtf8(text)))]);
  return toDer(sequence(attribute(ORGANIZATION, 'Wardbeat'), attribute(COMMON_NAME, commonName)));
}

export function basicConstraints(authority: { pathLength?: number } | false): Extension {
  if (authority === false) return { oid: OID.basicConstraints, critical: true, value: sequence() };
  const { pathLength } = authority;
  const limit = pathLength === undefined ? [] : [leaf(Type.INTEGER, String.fromCharCode(pathLength))];
  return { oid: OID.basicConstraints, critical: true, value: sequence(leaf(Type.BOOLEAN, TRUE), ...limit) };
}

/** `bits` is the first octet of the bit string, see KEY_USAGE. */
export function keyUsage(bits: number): Extension {
  const unused = 31 - Math.clz32(bits & -bits);
  return { oid: OID.keyUsage, critical: true, value: leaf(Type.BITSTRING, String.fromCharCode(unused, bits)) };
}

export function extendedKeyUsage(purposes: readonly string[]): Extension {
  return { oid: OID.extendedKeyUsage, critical: false, value: sequence(...purposes.map(identifier)) };
}

export interface AlternativeNames {
  readonly uris: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
}

export function subjectAltName({ uris, dnsNames = [], ipAddresses = [] }: AlternativeNames): Extension {
  const name = (tag: number, bytes: string): Node => asn1.create(CONTEXT_SPECIFIC, tag, false, bytes);
  const names = [
    ...uris.map((uri) => name(6, uri)),
    ...dnsNames.map((dnsName) => name(2, dnsName)),
    ...ipAddresses.map((address) => name(7, addressOctets(address).toString('latin1'))),
  ];
  return { oid: OID.subjectAltName, critical: false, value: sequence(...names) };
}

export function subjectKeyIdentifier(spkiDer: Buffer): Extension {
  const value = leaf(Type.OCTETSTRING, keyIdentifier(spkiDer));
  return { oid: OID.subjectKeyIdentifier, critical: false, value };
}

export function authorityKeyIdentifier(issuerSpkiDer: Buffer): Extension {
  const id = asn1.create(CONTEXT_SPECIFIC, 0, false, keyIdentifier(issuerSpkiDer));
  return { oid: OID.authorityKeyIdentifier, critical: false, value: sequence(id) };
}

/** The 4 or 16 octets of an IP address. */
export function addressOctets(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string): string => text.replace(/[^:]+:?/g, (group) => group.replace(':', '').padStart(4, '0'));
  return Buffer.from(groups(head) + groups(tail).padStart(32 - groups(head).length, '0'), 'hex');
}

/** Method 1 of RFC 7093 section 2: the leftmost 160 bits of the key's SHA-256. */
function keyIdentifier(spkiDer: Buffer): string {
  const key = readWholeBits(readSequence(readElement(spkiDer, TAG.sequence))[1]);
  return createHash('sha256').update(key).digest().toString('latin1', 0, 20);
}

function toBeSigned(body: CertificateBody): Node {
  const extensions = sequence(...body.extensions.map(toExtension));
  return sequence(
    asn1.create(CONTEXT_SPECIFIC, 0, true, [leaf(Type.INTEGER, VERSION_3)]),
    leaf(Type.INTEGER, body.serial.toString('latin1')),
    algorithm(),
    fromDer(body.issuerDer),
    sequence(time(body.notBefore), time(body.notAfter)),
    fromDer(body.subjectDer),
    fromDer(body.spkiDer),
    asn1.create(CONTEXT_SPECIFIC, 3, true, [extensions]),
  );
}

function toExtension({ oid, critical, value }: Extension): Node {
  const flag = critical ? [leaf(Type.BOOLEAN, TRUE)] : [];
  return sequence(identifier(oid), ...flag, leaf(Type.OCTETSTRING, asn1.toDer(value).getBytes()));
}

function algorithm(): Node {
  return sequence(identifier(ECDSA_WITH_SHA256));
}

function time(ms: number): Node {
  const date = new Date(ms);
  return ms < GENERALIZED_TIME_FROM
    ? leaf(Type.UTCTIME, asn1.dateToUtcTime(date))
    : leaf(Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(date));
}

function sequence(...members: Node[]): Node {
  return asn1.create(UNIVERSAL, Type.SEQUENCE, true, members);
}

function identifier(oid: string): Node {
  return leaf(Type.OID, asn1.oidToDer(oid).getBytes());
}

function bitString(bytes: Buffer): Node {
  return leaf(Type.BITSTRING, `\0${bytes.toString('latin1')}`);
}

function leaf(type: forge.asn1.Type, bytes: string): Node {
  return asn1.create(UNIVERSAL, type, false, bytes);
}

/** Bit strings are kept as they are: looking for structure inside them would re-write somebody's key. */
function fromDer(der: Buffer): Node {
  const options = { strict: true, parseAllBytes: true, decodeBitStrings: false };
  return asn1.fromDer(der.toString('latin1'), options as unknown as boolean);
}

function toDer(node: Node): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
}
