import { createHash, createPublicKey, sign, verify, type AsymmetricKeyDetails, type KeyObject } from 'node:crypto';
import { Problem } from '../lib/problem.js';
import { TAG, expectTag, readElement, readSequence, readWholeBits, writeElement } from './der.js';
import { readPem, writePem } from './pem.js';

/** The one thing that is taken from a signing request: its public key. */
export interface SigningRequest {
  /** SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), byte for byte as requested. */
  readonly spkiDer: Buffer;
  readonly publicKey: KeyObject;
  /** Lower-case hex SHA-256 of `spkiDer`. */
  readonly keyDigest: string;
}

export const LARGEST_CSR_BYTES = 16 * 1024;

const LABELS: readonly string[] = ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'];
/** The AlgorithmIdentifiers of keys in DER: named curves only, for a stranger's own curve could be anything. */
const KEY_ALGORITHMS: ReadonlyMap<string, 'ec' | 'rsa' | 'ed25519'> = new Map([
  ['301306072a8648ce3d020106082a8648ce3d030107', 'ec'],
  ['301006072a8648ce3d020106052b81040022', 'ec'],
  ['301006072a8648ce3d020106052b81040023', 'ec'],
  ['300d06092a864886f70d0101010500', 'rsa'],
  ['300506032b6570', 'ed25519'],
]);
/** SubjectPublicKeyInfo of a point on P-256, uncompressed (RFC 5480 section 2.2), up to its coordinates. */
const P256_HEAD = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');
const P256_COORDINATE_BYTES = 32;
const SHORTEST_RSA_BITS = 2048;
/** Larger keys and exponents let a stranger choose how long a verification takes. */
const LONGEST_RSA_BITS = 8192;
const SMALLEST_RSA_EXPONENT = 65_537n;
const LARGEST_RSA_EXPONENT = 2n ** 33n;
const ATTRIBUTES_TAG = 0xa0;
const VERSION_1 = Buffer.from([0]);

interface SignatureAlgorithm {
  readonly keyType: 'ec' | 'rsa' | 'ed25519';
  readonly hash: string | null;
  /** AlgorithmIdentifier in DER. */
  readonly identifier: string;
}

const PREFERRED = {
  ec: { keyType: 'ec', hash: 'sha256', identifier: '300a06082a8648ce3d040302' },
  rsa: { keyType: 'rsa', hash: 'sha256', identifier: '300d06092a864886f70d01010b0500' },
  ed25519: { keyType: 'ed25519', hash: null, identifier: '300506032b6570' },
} as const satisfies Record<string, SignatureAlgorithm>;

const ALGORITHMS: readonly SignatureAlgorithm[] = [
  PREFERRED.ec,
  PREFERRED.rsa,
  PREFERRED.ed25519,
  { keyType: 'ec', hash: 'sha384', identifier: '300a06082a8648ce3d040303' },
  { keyType: 'ec', hash: 'sha512', identifier: '300a06082a8648ce3d040304' },
  { keyType: 'rsa', hash: 'sha384', identifier: '300d06092a864886f70d01010c0500' },
  { keyType: 'rsa', hash: 'sha512', identifier: '300d06092a864886f70d01010d0500' },
];

/** A PKCS#10 request (RFC 2986) in PEM with an empty subject and no attributes: the profile names, not the requester. */
export function createSigningRequest(privateKey: KeyObject): string {
  const algorithm = Object.values(PREFERRED).find(({ keyType }) => keyType === privateKey.asymmetricKeyType);
  if (!algorithm) throw new TypeError(`A key of type ${privateKey.asymmetricKeyType ?? 'secret'} signs no request`);
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const info = writeElement(
    TAG.sequence,
    writeElement(TAG.integer, VERSION_1),
    writeElement(TAG.sequence),
    spki,
    writeElement(ATTRIBUTES_TAG),
  );
  const signature = writeElement(TAG.bitString, Buffer.from([0]), sign(algorithm.hash, info, privateKey));
  const identifier = Buffer.from(algorithm.identifier, 'hex');
  return writePem('CERTIFICATE REQUEST', writeElement(TAG.sequence, info, identifier, signature));
}

/**
 * Takes the public key from a PKCS#10 request after its proof of possession is verified; subject, attributes and
 * requested extensions are ignored. Throws `csr-invalid` and nothing else.
 */
export function readSigningRequest(pem: string): SigningRequest {
  if (typeof pem !== 'string' || Buffer.byteLength(pem) > LARGEST_CSR_BYTES)
    throw refusal(`must be PEM text of at most ${LARGEST_CSR_BYTES} bytes`);
  try {
    return readRequest(soleRequestOf(pem));
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw refusal('must be a well-formed PKCS#10 request (RFC 2986)', cause);
  }
}

/** The key of a SubjectPublicKeyInfo: P-256, P-384, P-521, RSA from 2048 bits, Ed25519; else throws `csr-invalid`. */
export function readPublicKey(spkiDer: Buffer): KeyObject {
  const key = parseKey(spkiDer);
  if (key.asymmetricKeyType === 'rsa' && !isStrongRsa(key.asymmetricKeyDetails ?? {}))
    throw refusal(`must hold an RSA key of ${SHORTEST_RSA_BITS} to ${LONGEST_RSA_BITS} bits with a usual exponent`);
  return key;
}

function soleRequestOf(pem: string): Buffer {
  const [block, ...others] = readPem(pem);
  if (!block || others.length > 0 || !LABELS.includes(block.label))
    throw refusal('must be one PEM certificate request');
  return block.der;
}

function readRequest(der: Buffer): SigningRequest {
  const [info, identifier, signature, ...others] = readSequence(readElement(der, TAG.sequence));
  const [version, subject, spki, attributes, ...more] = readSequence(info);
  if (!info || others.length > 0 || more.length > 0) throw refusal('must have the members of RFC 2986 and no more');
  if (!expectTag(version, TAG.integer).content.equals(VERSION_1)) throw refusal('must be of version 1');
  expectTag(subject, TAG.sequence);
  if (attributes) expectTag(attributes, ATTRIBUTES_TAG);
  const spkiDer = Buffer.from(expectTag(spki, TAG.sequence).whole);
  const publicKey = readPublicKey(spkiDer);
  const algorithm = algorithmOf(expectTag(identifier, TAG.sequence).whole, publicKey);
  if (!verify(algorithm.hash, info.whole, publicKey, readWholeBits(signature)))
    throw refusal('must be signed with the key that it names');
  return { spkiDer, publicKey, keyDigest: createHash('sha256').update(spkiDer).digest('hex') };
}

function algorithmOf(identifier: Buffer, key: KeyObject): SignatureAlgorithm {
  const hex = identifier.toString('hex');
  const algorithm = ALGORITHMS.find((known) => known.identifier === hex && known.keyType === key.asymmetricKeyType);
  if (!algorithm) throw refusal('must be signed by ECDSA or RSA with SHA-256, SHA-384 or SHA-512, or by Ed25519');
  return algorithm;
}

function parseKey(spkiDer: Buffer): KeyObject {
  const type = KEY_ALGORITHMS.get(keyAlgorithm(spkiDer));
  if (!type) throw refusal('must hold a P-256, P-384, P-521, Ed25519 or RSA key');
  try {
    const key = importKey(spkiDer);
    if (key.asymmetricKeyType === type && key.export({ type: 'spki', format: 'der' }).equals(spkiDer)) return key;
  } catch (cause) {
    throw refusal('must hold a well-formed public key', cause);
  }
  throw refusal('must hold a public key in its one DER form');
}

/**
 * The usual key goes in by its coordinates, since OpenSSL takes several times as long over the same key in DER; either way
 * it refuses what is no point of the curve.
 */
function importKey(spkiDer: Buffer): KeyObject {
  const [x, y] = [P256_HEAD.length, P256_HEAD.length + P256_COORDINATE_BYTES];
  const end = y + P256_COORDINATE_BYTES;
  if (spkiDer.length !== end || spkiDer.compare(P256_HEAD, 0, x, 0, x) !== 0)
    return createPublicKey({ key: spkiDer, format: 'der', type: 'spki' });
  const point = { x: spkiDer.toString('base64url', x, y), y: spkiDer.toString('base64url', y, end) };
  return createPublicKey({ key: { kty: 'EC', crv: 'P-256', ...point }, format: 'jwk' });
}

function keyAlgorithm(spkiDer: Buffer): string {
  try {
    const [identifier] = readSequence(readElement(spkiDer, TAG.sequence));
    return expectTag(identifier, TAG.sequence).whole.toString('hex');
  } catch (cause) {
    throw refusal('must hold a well-formed public key', cause);
  }
}

function isStrongRsa({ modulusLength = 0, publicExponent = 0n }: AsymmetricKeyDetails): boolean {
  if (modulusLength < SHORTEST_RSA_BITS || modulusLength > LONGEST_RSA_BITS) return false;
  return publicExponent >= SMALLEST_RSA_EXPONENT && publicExponent <= LARGEST_RSA_EXPONENT;
}

function refusal(what: string, cause?: unknown): Problem {
  const detail = `The signing request ${what}.`;
  return new Problem('csr-invalid', { detail }, cause);
}
