import { createHash, createPublicKey, ECDH, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { createSigningRequest, LARGEST_CSR_BYTES, readPublicKey, readSigningRequest } from '../../../certs/csr.js';
import { TAG, writeElement } from '../../../certs/der.js';
import { readPem, writePem } from '../../../certs/pem.js';
import { Problem } from '../../../lib/problem.js';
import { countCalls } from '../../support/count-calls.js';

const ec = (namedCurve: string): KeyObject => generateKeyPairSync('ec', { namedCurve }).privateKey;
const rsa = (modulusLength: number, publicExponent = 65_537): KeyObject =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey;
const spki = (key: KeyObject): Buffer => createPublicKey(key).export({ type: 'spki', format: 'der' });

/** A request whose parts a test chooses; `signer` may be another key than the one that is named. */
function forgeRequest(parts: { spkiDer: Buffer; signer: KeyObject; hash: string | null; algorithm: string }): string {
  const info = writeElement(
    TAG.sequence,
    Buffer.from('020100', 'hex'),
    Buffer.from('3000', 'hex'),
    parts.spkiDer,
    Buffer.from('a000', 'hex'),
  );
  const signature = writeElement(TAG.bitString, Buffer.from([0]), sign(parts.hash, info, parts.signer));
  const der = writeElement(TAG.sequence, info, Buffer.from(parts.algorithm, 'hex'), signature);
  return writePem('CERTIFICATE REQUEST', der);
}

const ECDSA_SHA256 = '300a06082a8648ce3d040302';
const RSA_SHA256 = '300d06092a864886f70d01010b0500';
const RSA_SHA1 = '300d06092a864886f70d0101050500';

function refused(pem: string): boolean {
  try {
    readSigningRequest(pem);
    return false;
  } catch (error) {
    if (error instanceof Problem && error.code === 'csr-invalid') return true;
    throw error;
  }
}

function refusalOf(pem: string): string | undefined {
  try {
    readSigningRequest(pem);
    return undefined;
  } catch (error) {
    return (error as Problem).facts.detail;
  }
}

/** How many pieces are cut out of the request while it is read. */
function stepsOf(pem: string): number {
  return countCalls(Buffer.prototype, 'subarray', () => void refused(pem));
}

describe('signing requests', () => {
  const keys: [string, () => KeyObject][] = [
    ['P-256', () => ec('prime256v1')],
    ['P-384', () => ec('secp384r1')],
    ['P-521', () => ec('secp521r1')],
    ['RSA of 2048 bits', () => rsa(2048)],
    ['Ed25519', () => generateKeyPairSync('ed25519').privateKey],
  ];
  for (const [name, make] of keys)
    it(`give back the ${name} key that signed them`, () => {
      const key = make();
      const { spkiDer, publicKey, keyDigest } = readSigningRequest(createSigningRequest(key));
      expect(spkiDer.equals(spki(key))).to.equal(true);
      expect(publicKey.equals(createPublicKey(key))).to.equal(true);
      expect(keyDigest).to.equal(createHash('sha256').update(spki(key)).digest('hex'));
    });

  const weak: [string, () => KeyObject, string | null, string][] = [
    ['RSA of 1024 bits', () => rsa(1024), 'sha256', RSA_SHA256],
    ['RSA with exponent 3', () => rsa(2048, 3), 'sha256', RSA_SHA256],
    ['P-224', () => ec('secp224r1'), 'sha256', ECDSA_SHA256],
    ['secp256k1', () => ec('secp256k1'), 'sha256', ECDSA_SHA256],
    ['Ed448', () => generateKeyPairSync('ed448').privateKey, null, '300506032b6571'],
    ['P-256 with explicit parameters', explicitCurve, 'sha256', ECDSA_SHA256],
  ];
  for (const [name, make, hash, algorithm] of weak)
    it(`with a key of ${name} are refused`, () => {
      const signer = make();
      expect(refused(forgeRequest({ spkiDer: spki(signer), signer, hash, algorithm }))).to.equal(true);
    });

  it('take a P-256 key only on its curve, and its coordinates only below the prime', () => {
    const [x, y] = pointOfSmallX();
    expect(readPublicKey(p256Spki(x, y)).equals(createPublicKey(spkiPem(p256Spki(x, y))))).to.equal(true);
    const points: Record<string, readonly [bigint, bigint]> = {
      'beside the curve': [x, y ^ 1n],
      'at nought': [0n, 0n],
      'with an x above the prime': [x + P256_PRIME, y],
      'with x and y above the field': [2n ** 256n - 1n, 2n ** 256n - 1n],
    };
    for (const [name, [px, py]] of Object.entries(points))
      expect(() => readPublicKey(p256Spki(px, py)), name)
        .to.throw(Problem)
        .with.property('code', 'csr-invalid');
  });

  it('signed with SHA-1 are refused', () => {
    const signer = rsa(2048);
    const request = { spkiDer: spki(signer), signer, hash: 'sha1', algorithm: RSA_SHA1 };
    expect(refused(forgeRequest(request))).to.equal(true);
  });

  it('signed by another key than they name are refused', () => {
    const request = { spkiDer: spki(ec('prime256v1')), hash: 'sha256', algorithm: ECDSA_SHA256 };
    expect(refused(forgeRequest({ ...request, signer: ec('prime256v1') }))).to.equal(true);
  });

  it('are refused when they are not one PEM request', () => {
    const pem = createSigningRequest(ec('prime256v1'));
    const [block] = readPem(pem);
    const texts = [
      '',
      'no PEM',
      pem + pem,
      writePem('CERTIFICATE', block!.der),
      writePem('CERTIFICATE REQUEST', Buffer.concat([block!.der, Buffer.from([0])])),
      writePem('CERTIFICATE REQUEST', block!.der.subarray(0, -1)),
      '-----BEGIN CERTIFICATE REQUEST-----\n'.repeat(400),
      `${pem}${' '.repeat(LARGEST_CSR_BYTES)}`,
    ];
    expect(texts.map(refused)).to.deep.equal(texts.map(() => true));
  });

  it('are refused when nested, wide or oddly long, after work that is bounded by their bytes', () => {
    const wrapped = (der: Buffer, times: number): Buffer =>
      Array.from({ length: times }).reduce<Buffer>((inner) => writeElement(TAG.sequence, inner), der);
    const hostile = [
      Buffer.concat(Array.from({ length: 5000 }, () => Buffer.from([0x30, 0x80]))),
      Buffer.from('3084ffffffff30', 'hex'),
      wrapped(Buffer.alloc(0), 3000),
      writeElement(TAG.sequence, Buffer.alloc(11_000, Buffer.from('0500', 'hex'))),
    ];
    for (const der of hostile) {
      const pem = writePem('CERTIFICATE REQUEST', der);
      expect(refusalOf(pem)).to.equal('The signing request must be a well-formed PKCS#10 request (RFC 2986).');
      expect(stepsOf(pem)).to.be.at.most(2 * der.length);
    }
  });

  it('with a key that makes verification slow are refused before anything is verified', () => {
    const modulus = writeElement(TAG.integer, Buffer.alloc(4096, 0x7f));
    const key = writeElement(TAG.sequence, modulus, modulus);
    const rsaSpki = writeElement(
      TAG.sequence,
      Buffer.from('300d06092a864886f70d0101010500', 'hex'),
      writeElement(TAG.bitString, Buffer.from([0]), key),
    );
    const signer = ec('prime256v1');
    const pem = forgeRequest({ spkiDer: rsaSpki, signer, hash: 'sha256', algorithm: RSA_SHA256 });
    expect(refusalOf(pem)).to.contain('must hold');
  });

  it('longer than a request ever is are refused unread', () => {
    const der = writeElement(TAG.sequence, Buffer.alloc(LARGEST_CSR_BYTES, Buffer.from('0500', 'hex')));
    const pem = writePem('CERTIFICATE REQUEST', der);
    expect(refusalOf(pem)).to.contain('at most');
    expect(stepsOf(pem)).to.equal(0);
  });

  it('with mutated bytes are refused as csr-invalid or name the same key, after bounded work', () => {
    for (const key of [ec('prime256v1'), rsa(2048), generateKeyPairSync('ed25519').privateKey]) {
      const der = readPem(createSigningRequest(key))[0]!.der;
      fc.assert(
        fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (mutations) => {
          const mutated = mutations.reduce(mutate, der);
          const pem = writePem('CERTIFICATE REQUEST', mutated);
          if (!refused(pem)) expect(readSigningRequest(pem).spkiDer.equals(spki(key))).to.equal(true);
          expect(stepsOf(pem)).to.be.at.most(2 * mutated.length + 8);
        }),
        { numRuns: 400 },
      );
    }
  });

  it('that are any text at all are refused as csr-invalid', () => {
    const body = fc.uint8Array({ maxLength: 200 }).map((bytes) => writePem('CERTIFICATE REQUEST', bytes));
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), body), (text) => {
        expect(refused(text)).to.equal(true);
      }),
    );
  });
});

const P256_PRIME = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const hex = (coordinate: bigint): string => coordinate.toString(16).padStart(64, '0');

function p256Spki(x: bigint, y: bigint): Buffer {
  return Buffer.from(`3059301306072a8648ce3d020106082a8648ce3d03010703420004${hex(x)}${hex(y)}`, 'hex');
}

function spkiPem(der: Buffer): string {
  return writePem('PUBLIC KEY', der);
}

/** Small enough that its x and the prime fit into 32 octets together. */
function pointOfSmallX(): readonly [bigint, bigint] {
  for (let x = 1n; ; x += 1n)
    try {
      const point = ECDH.convertKey(`02${hex(x)}`, 'prime256v1', 'hex', 'hex', 'uncompressed') as string;
      return [x, BigInt(`0x${point.slice(66)}`)];
    } catch {
      // No point of the curve has this x.
    }
}

function explicitCurve(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1', paramEncoding: 'explicit' }).privateKey;
}

type Mutation = { kind: 'set' | 'insert' | 'delete' | 'repeat'; at: number; byte: number };
const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom('set' as const, 'insert' as const, 'delete' as const, 'repeat' as const),
  at: fc.nat({ max: 2000 }),
  byte: fc.integer({ min: 0, max: 255 }),
});

function mutate(der: Buffer, { kind, at, byte }: Mutation): Buffer {
  const index = der.length === 0 ? 0 : at % der.length;
  const [head, tail] = [der.subarray(0, index), der.subarray(index)];
  if (kind === 'set') return Buffer.concat([head, Buffer.from([byte]), tail.subarray(1)]);
  if (kind === 'insert') return Buffer.concat([head, Buffer.from([byte]), tail]);
  if (kind === 'delete') return Buffer.concat([head, tail.subarray(1 + (byte % 16))]);
  return Buffer.concat([head, tail.subarray(0, byte), tail]);
}
