import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  basicConstraints,
  extendedKeyUsage,
  keyUsage,
  subjectAltName,
  type Extension,
} from '../../../certs/certificate-encoder.js';
import { DAY_MS, KEY_USAGE, OID } from '../../../certs/certificate-profile.js';
import { readCertificate } from '../../../certs/certificate-reader.js';
import { sha256Fingerprint } from '../../../certs/pem.js';
import { verifyPeerPath, type PathRequest, type PathVerdict } from '../../../certs/verify-path.js';
import {
  authorityExtensions,
  forgeAuthority,
  forgeCertificate,
  leafExtensions,
  spkiOf,
  validAround,
  type Forged,
} from '../../support/forged-certificates.js';

const AT = Date.UTC(2026, 10, 21, 12);
const ID = '0b5f7c1e-6c1c-4f0e-9d9a-0123456789ab';
const URI = `spiffe://wardbeat/computer/${ID}`;
const ours = forgeAuthority(AT, 'Ours');
const theirs = forgeAuthority(AT, 'Theirs');
const good = leafExtensions(URI);

type Change = Partial<Parameters<typeof forgeCertificate>[0]>;

function leafOf(extensions: readonly Extension[], change: Change = {}): Forged {
  return forgeCertificate({ name: 'leaf', issuer: ours.intermediate, ...validAround(AT), extensions, ...change });
}

function verify(leaf: Forged | Buffer, change: Partial<PathRequest> = {}): PathVerdict {
  return verifyPeerPath({
    leafDer: Buffer.isBuffer(leaf) ? leaf : leaf.der,
    intermediates: [ours.intermediate.der],
    roots: [ours.root.x509],
    trustDomain: 'wardbeat',
    role: 'computer',
    at: AT,
    ...change,
  });
}

function reasonOf(verdict: PathVerdict): string {
  return verdict.ok ? 'ok' : verdict.reason;
}

describe('verifying a peer', () => {
  it('accepts a leaf of the profile and says who it is', () => {
    const leaf = leafOf(Object.values(good));
    expect(verify(leaf)).to.deep.equal({
      ok: true,
      id: ID,
      serial: leaf.x509.serialNumber.toLowerCase(),
      ...validAround(AT),
      publicKeyDigest: sha256Fingerprint(spkiOf(leaf.key)),
    });
  });

  it('finds the path whatever else stands between the intermediates', () => {
    const leaf = leafOf(Object.values(good));
    const { der: own } = ours.intermediate;
    const bundles = [
      [own, ours.root.der],
      [theirs.root.der, own, leaf.der],
      [Buffer.from('junk'), own, own],
    ];
    for (const intermediates of bundles) expect(reasonOf(verify(leaf, { intermediates }))).to.equal('ok');
  });

  it('accepts a path over any of several roots', () => {
    const roots = [theirs.root.x509, ours.root.x509];
    expect(reasonOf(verify(leafOf(Object.values(good)), { roots }))).to.equal('ok');
  });

  it('knows nobody without the intermediate, without roots, or with garbage for a leaf', () => {
    const leaf = leafOf(Object.values(good));
    const verdicts = [
      verify(leaf, { intermediates: [] }),
      verify(leaf, { roots: [] }),
      verify(Buffer.from('00', 'hex')),
    ];
    expect(verdicts.map(reasonOf)).to.deep.equal(['tls-unknown-ca', 'tls-unknown-ca', 'tls-unknown-ca']);
  });
});

describe('a forged path', () => {
  const dates: [string, Change][] = [
    ['valid', {}],
    ['expired', { notBefore: AT - 9 * DAY_MS, notAfter: AT - DAY_MS }],
    ['future', { notBefore: AT + DAY_MS, notAfter: AT + 9 * DAY_MS }],
  ];
  for (const [name, change] of dates)
    it(`of an attacker's authority is of an unknown one when the leaf is ${name}`, () => {
      const leaf = leafOf(Object.values(good), { issuer: theirs.intermediate, ...change });
      const intermediates = [theirs.intermediate.der, theirs.root.der, ours.intermediate.der];
      expect(reasonOf(verify(leaf, { intermediates }))).to.equal('tls-unknown-ca');
    });

  it("that copies our authority's names and key identifiers is of an unknown one", () => {
    const named = (original: Forged, issuer?: Forged): Forged =>
      forgeCertificate({
        name: '',
        subjectDer: readCertificate(original.der).subjectDer,
        ...validAround(AT, 3650),
        extensions: authorityExtensions(),
        ...(issuer ? { issuer } : {}),
      });
    const root = named(ours.root);
    const intermediate = named(ours.intermediate, root);
    // Names and key identifier are those of our intermediate, only the signature is the attacker's.
    const leaf = leafOf(Object.values(good), { issuer: { key: intermediate.key, der: ours.intermediate.der } });
    const intermediates = [intermediate.der, root.der, ours.intermediate.der];
    expect(reasonOf(verify(leaf, { intermediates }))).to.equal('tls-unknown-ca');
  });

  it('that is self-signed is of an unknown authority', () => {
    const leaf = forgeCertificate({ name: 'self', ...validAround(AT), extensions: Object.values(good) });
    expect(reasonOf(verify(leaf, { intermediates: [leaf.der] }))).to.equal('tls-unknown-ca');
  });

  it('below a genuine leaf is refused', () => {
    const stolen = leafOf(Object.values(good));
    const leaf = leafOf(Object.values(good), { issuer: stolen });
    expect(verify(leaf, { intermediates: [ours.intermediate.der, stolen.der] }).ok).to.equal(false);
  });
});

describe('the rules of a path', () => {
  function below(extensions: Extension[], issuer: Forged = ours.root): PathVerdict {
    const middle = forgeCertificate({ name: 'middle', issuer, ...validAround(AT), extensions });
    const leaf = leafOf(Object.values(good), { issuer: middle });
    return verify(leaf, { intermediates: [middle.der, ours.intermediate.der] });
  }
  const certSign = keyUsage(KEY_USAGE.keyCertSign);

  it('refuse an intermediate without the CA flag, whatever its key usage says', () => {
    expect(below([basicConstraints(false), certSign])).to.include({ ok: false });
    expect(below([certSign])).to.include({ ok: false });
  });

  it('refuse an intermediate that may not sign certificates', () => {
    expect(below([basicConstraints({}), keyUsage(KEY_USAGE.digitalSignature)])).to.include({ ok: false });
    expect(below([basicConstraints({})])).to.include({ ok: false, reason: 'profile' });
  });

  it('refuse a path longer than an intermediate allows', () => {
    expect(below([basicConstraints({}), certSign], ours.intermediate)).to.include({ ok: false, reason: 'profile' });
    expect(below([basicConstraints({}), certSign])).to.include({ ok: true });
  });

  it('refuse an intermediate for other purposes than TLS', () => {
    const codeSigning = extendedKeyUsage(['1.3.6.1.5.5.7.3.3']);
    expect(below([basicConstraints({}), certSign, codeSigning])).to.include({ ok: false, reason: 'profile' });
  });

  it('refuse critical extensions that nobody here understands', () => {
    const odd: Extension = { ...basicConstraints(false), oid: '1.2.3.4', critical: true };
    expect(below([basicConstraints({}), certSign, odd])).to.include({ ok: false });
    expect(reasonOf(verify(leafOf([...Object.values(good), odd])))).to.equal('profile');
    expect(reasonOf(verify(leafOf([...Object.values(good), { ...odd, critical: false }])))).to.equal('ok');
  });
});

describe('the profile of a leaf', () => {
  const without = (name: keyof typeof good): Extension[] =>
    Object.values({ ...good, [name]: undefined }).filter(Boolean);
  const names = (...uris: string[]): Extension[] => [...without('names'), subjectAltName({ uris })];
  const quoted = subjectAltName({ uris: [], dnsNames: [`x, URI:${URI}`, `x", URI:${URI}, "`] });
  const table: [string, () => Extension[]][] = [
    ['without a SAN', () => without('names')],
    ['without key purposes', () => without('purposes')],
    ['without key usage', () => without('usage')],
    ['for servers only', () => [...without('purposes'), extendedKeyUsage([OID.serverAuth])]],
    ['for clients only', () => [...without('purposes'), extendedKeyUsage([OID.clientAuth])]],
    ['marked as an authority', () => [...without('constraints'), basicConstraints({})]],
    [
      'that may sign certificates',
      () => [...without('usage'), keyUsage(KEY_USAGE.digitalSignature | KEY_USAGE.keyCertSign)],
    ],
    ['with two URIs', () => names(URI, URI)],
    ['with another URI beside the SPIFFE id', () => names(URI, 'https://example.com')],
    ['whose URI hides behind a NUL', () => names(`${URI}\0.example`)],
    ['of another trust domain', () => names(`spiffe://elsewhere/computer/${ID}`)],
    ['of a manager', () => names('spiffe://wardbeat/manager/node-1')],
    ['of no role', () => names(`spiffe://wardbeat/${ID}`)],
    ['whose URI is only quoted in a DNS name', () => [...without('names'), quoted]],
    ['without any extension', () => []],
  ];
  for (const [name, extensions] of table)
    it(`refuses one ${name}, and does so before its dates`, () => {
      const expired = { notBefore: AT - 9 * DAY_MS, notAfter: AT - DAY_MS };
      expect(reasonOf(verify(leafOf(extensions())))).to.equal('profile');
      expect(reasonOf(verify(leafOf(extensions(), expired)))).to.equal('profile');
    });

  it('takes a manager for a manager and a computer not for one', () => {
    const manager = leafOf(Object.values(leafExtensions('spiffe://wardbeat/manager/node-1')));
    expect(verify(manager, { role: 'manager' })).to.include({ ok: true, id: 'node-1' });
    expect(reasonOf(verify(leafOf(Object.values(good)), { role: 'manager' }))).to.equal('profile');
  });

  it('has each extension once', () => {
    expect(verify(leafOf([...Object.values(good), good.names])).ok).to.equal(false);
  });
});

describe('the dates of a path', () => {
  const { notBefore, notAfter } = validAround(AT);
  const leaf = leafOf(Object.values(good));
  const table: [string, number, string][] = [
    ['one millisecond before its first instant', notBefore - 1, 'tls-not-yet-valid'],
    ['at its first instant', notBefore, 'ok'],
    ['at its last instant', notAfter, 'ok'],
    ['one millisecond after its last instant', notAfter + 1, 'tls-expired'],
    ['at no instant', Number.NaN, 'tls-not-yet-valid'],
  ];
  for (const [name, at, expected] of table)
    it(`make a leaf ${expected} ${name}`, () => {
      expect(reasonOf(verify(leaf, { at }))).to.equal(expected);
    });

  it('count for the intermediate and for the root', () => {
    const past = { notBefore: AT - 9 * DAY_MS, notAfter: AT - DAY_MS };
    const middle = forgeCertificate({ name: 'old', issuer: ours.root, ...past, extensions: authorityExtensions(0) });
    const root = forgeCertificate({ name: 'old root', ...past, extensions: authorityExtensions() });
    const belowMiddle = leafOf(Object.values(good), { issuer: middle });
    const belowRoot = leafOf(Object.values(good), { issuer: root });
    expect(reasonOf(verify(belowMiddle, { intermediates: [middle.der] }))).to.equal('tls-expired');
    expect(reasonOf(verify(belowRoot, { roots: [root.x509] }))).to.equal('tls-expired');
  });

  it('prefer a renewed intermediate of the same key to an expired one', () => {
    const { key, der } = ours.intermediate;
    const past = { notBefore: AT - 9 * DAY_MS, notAfter: AT - DAY_MS };
    const { subjectDer } = readCertificate(der);
    const extensions = authorityExtensions(0);
    const old = forgeCertificate({ name: '', subjectDer, key, issuer: ours.root, ...past, extensions });
    expect(reasonOf(verify(leaf, { intermediates: [old.der] }))).to.equal('tls-expired');
    expect(reasonOf(verify(leaf, { intermediates: [old.der, der] }))).to.equal('ok');
  });

  it('are read in both of their encodings', () => {
    const until = { notBefore: AT, notAfter: Date.UTC(2051, 1, 28, 23, 59, 59) };
    expect(readCertificate(leafOf(Object.values(good), until).der)).to.deep.include(until);
    const since = { notBefore: Date.UTC(1951, 0, 1), notAfter: Date.UTC(2049, 11, 31, 23, 59, 59) };
    expect(readCertificate(leafOf(Object.values(good), since).der)).to.deep.include(since);
  });
});

describe('verification under fire', () => {
  it('never throws and never accepts a mutated leaf', () => {
    const { der } = leafOf(Object.values(good));
    const flip = fc.record({ at: fc.nat({ max: der.length - 1 }), bit: fc.integer({ min: 1, max: 255 }) });
    fc.assert(
      fc.property(fc.array(flip, { minLength: 1, maxLength: 3 }), fc.nat({ max: 3 }), (flips, cut) => {
        const mutated = Buffer.from(der.subarray(0, der.length - cut));
        for (const { at, bit } of flips) if (at < mutated.length) mutated[at]! ^= bit;
        fc.pre(!mutated.equals(der));
        expect(verify(mutated).ok).to.equal(false);
      }),
      { numRuns: 500 },
    );
  });

  it('never throws for any octets, as leaf or as intermediate', () => {
    const { der } = leafOf(Object.values(good));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(verify(Buffer.from(bytes)).ok).to.equal(false);
        expect(verify(der, { intermediates: [Buffer.from(bytes)] }).ok).to.equal(false);
      }),
    );
  });

  it('looks at eight intermediates at most', () => {
    const leaf = leafOf(Object.values(good));
    const many = Array.from({ length: 8 }, () => randomBytes(64));
    expect(reasonOf(verify(leaf, { intermediates: [...many, ours.intermediate.der] }))).to.equal('tls-unknown-ca');
    expect(reasonOf(verify(leaf, { intermediates: [ours.intermediate.der, ...many] }))).to.equal('ok');
  });
});
