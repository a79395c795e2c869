import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openAuthority, type CertificateAuthority } from '../../../certs/certificate-authority.js';
import { DAY_MS } from '../../../certs/certificate-profile.js';
import { readCertificate } from '../../../certs/certificate-reader.js';
import { createSigningRequest, readSigningRequest } from '../../../certs/csr.js';
import { openSecret } from '../../../certs/key-store.js';
import { openManagerIdentity } from '../../../certs/manager-identity.js';
import { certificatesOf, sha256Fingerprint, splitPemBundle } from '../../../certs/pem.js';
import { verifyPeerPath, type PathVerdict } from '../../../certs/verify-path.js';
import { createSystemRandom } from '../../../lib/random.js';
import { Problem } from '../../../lib/problem.js';
import { newKey, spkiOf } from '../../support/forged-certificates.js';

const ID = '0b5f7c1e-6c1c-4f0e-9d9a-0123456789ab';
const START = Date.UTC(2026, 10, 21, 12, 0, 0, 250);
const random = createSystemRandom();

describe('the certificate authority', () => {
  let dir: string;
  let now: number;
  const clock = { wall: () => now };
  const open = (folder = dir): Promise<CertificateAuthority> =>
    openAuthority({ dir: folder, trustDomain: 'wardbeat', clock, random });

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'certs-'));
    now = START;
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  function judge(authority: CertificateAuthority, pem: string, role: 'computer' | 'manager'): PathVerdict {
    const [leafDer] = certificatesOf(pem);
    const intermediates = certificatesOf(authority.chainPem);
    const roots = [new X509Certificate(authority.rootPem)];
    return verifyPeerPath({ leafDer: leafDer!, intermediates, roots, trustDomain: 'wardbeat', role, at: now });
  }

  it('is made once and is the same at every opening', async () => {
    const first = await open();
    const second = await open();
    expect(second.chainPem).to.equal(first.chainPem);
    expect(splitPemBundle(first.chainPem)).to.deep.equal([first.intermediatePem, first.rootPem]);
    expect(first.rootFingerprint).to.equal(createHash('sha256').update(first.root.raw).digest('hex'));
    expect(first.rootFingerprint).to.match(/^[0-9a-f]{64}$/);
  });

  it('has a root for twenty years and an intermediate for five, which may issue leaves only', async () => {
    const { root, intermediate } = await open();
    const [top, issuing] = [readCertificate(root.raw), readCertificate(intermediate.raw)];
    expect([top.isAuthority, top.pathLength, issuing.isAuthority, issuing.pathLength]).to.deep.equal([
      true,
      undefined,
      true,
      0,
    ]);
    expect(Math.round((top.notAfter - START) / DAY_MS)).to.equal(7300);
    expect(Math.round((issuing.notAfter - START) / DAY_MS)).to.equal(1825);
  });

  it('keeps its folder and its files from others, and takes back what was opened to them', async () => {
    const folder = join(dir, 'keys', 'authority');
    await open(folder);
    const modes = (): string[] =>
      readdirSync(folder).map((name) => (statSync(join(folder, name)).mode & 0o777).toString(8));
    expect((statSync(folder).mode & 0o777).toString(8)).to.equal('700');
    expect(modes()).to.deep.equal(['600', '600']);
    chmodSync(join(folder, 'root.pem'), 0o644);
    await open(folder);
    expect(modes()).to.deep.equal(['600', '600']);
  });

  it('is finished by the next opening when it was killed between its files', async () => {
    const { rootFingerprint } = await open();
    rmSync(join(dir, 'intermediate.pem'));
    writeFileSync(join(dir, 'intermediate.pem.4711.tmp'), 'half a key', { mode: 0o600 });
    const mended = await open();
    expect(mended.rootFingerprint).to.equal(rootFingerprint);
    expect(readdirSync(dir).toSorted()).to.deep.equal(['intermediate.pem', 'root.pem']);
    const { pem } = mended.issueComputer({ computerId: ID, spkiDer: spkiOf(newKey()), lifetimeDays: 1 });
    expect(judge(mended, pem, 'computer').ok).to.equal(true);
  });

  it('makes no second root above an intermediate that is there', async () => {
    await open();
    rmSync(join(dir, 'root.pem'));
    expect(await failure(open())).to.match(/root\.pem is missing/);
    expect(readdirSync(dir)).to.deep.equal(['intermediate.pem']);
  });

  it('refuses files that do not belong together, and leaves them as they are', async () => {
    const other = join(dir, 'other');
    await open();
    await open(other);
    const foreign = readFileSync(join(other, 'intermediate.pem'), 'latin1');
    writeFileSync(join(dir, 'intermediate.pem'), foreign);
    expect(await failure(open())).to.match(/is not signed by/);
    expect(readFileSync(join(dir, 'intermediate.pem'), 'latin1')).to.equal(foreign);
    const [root] = certificatesOf(readFileSync(join(dir, 'root.pem'), 'latin1'));
    writeFileSync(join(dir, 'intermediate.pem'), newKey().export({ type: 'pkcs8', format: 'pem' }) + pemOf(root!));
    expect(await failure(open())).to.match(/own key/);
  });

  it('issues to a signing request what a peer accepts, by key, serial and dates', async () => {
    const authority = await open();
    for (const key of [newKey(), generateKeyPairSync('ed25519').privateKey]) {
      const { spkiDer, keyDigest } = readSigningRequest(createSigningRequest(key));
      const issued = authority.issueComputer({ computerId: ID, spkiDer, lifetimeDays: 30 });
      expect(judge(authority, issued.pem, 'computer')).to.deep.equal({
        ok: true,
        id: ID,
        serial: issued.serial,
        notBefore: issued.notBefore,
        notAfter: issued.notAfter,
        publicKeyDigest: keyDigest,
      });
      expect(issued.serial).to.match(/^[4-7][0-9a-f]{31}$/);
      expect([issued.notBefore, issued.notAfter]).to.deep.equal([START - 250 - 300_000, START - 250 + 30 * DAY_MS]);
      expect(judge(authority, issued.pem, 'manager')).to.include({ ok: false, reason: 'profile' });
    }
  });

  it('issues no leaf for weak keys, malformed ids, or beyond its own end', async () => {
    const authority = await open();
    const request = { computerId: ID, spkiDer: spkiOf(newKey()), lifetimeDays: 30 };
    const weak = spkiOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey);
    expect(() => authority.issueComputer({ ...request, spkiDer: weak })).to.throw(Problem);
    expect(() => authority.issueComputer({ ...request, computerId: '../manager/node-1' })).to.throw(TypeError);
    now = START + 1824 * DAY_MS;
    expect(authority.issueComputer(request).notAfter).to.equal(readCertificate(authority.intermediate.raw).notAfter);
    now = START + 1826 * DAY_MS;
    expect(() => authority.issueComputer(request)).to.throw(RangeError);
  });

  describe('and its manager identity', () => {
    const hosts = ['localhost', '127.0.0.1', '::1', '2001:db8::ffff:1.2.3.4'];
    const identity = (authority: CertificateAuthority, change: { node?: string; hosts?: string[] } = {}) =>
      openManagerIdentity({ dir, authority, node: 'node-1', hosts, clock, ...change });

    it('is kept while nothing changed, in a private file', async () => {
      const authority = await open();
      const first = await identity(authority);
      expect(await identity(await open(), { hosts: hosts.toReversed() })).to.deep.equal(first);
      expect(statSync(join(dir, 'manager.pem')).mode & 0o777).to.equal(0o600);
      expect(judge(authority, first.certPem, 'manager')).to.include({
        ok: true,
        id: 'node-1',
        notAfter: first.notAfter,
      });
      const leaf = new X509Certificate(first.certPem);
      expect(leaf.checkHost('localhost')).to.equal('localhost');
      for (const address of hosts.slice(1)) expect(leaf.checkIP(address)).to.not.equal(undefined);
    });

    it('is made anew for other hosts, another node, another authority, or a file that makes no sense', async () => {
      const authority = await open();
      const seen = [(await identity(authority)).certPem];
      const renewed = async (made: ReturnType<typeof identity>): Promise<void> => {
        const { certPem } = await made;
        expect(seen).to.not.include(certPem);
        seen.push(certPem);
      };
      await renewed(identity(authority, { hosts: [...hosts, 'manager.example'] }));
      await renewed(identity(authority, { node: 'node-2' }));
      writeFileSync(join(dir, 'manager.pem'), 'no key');
      await renewed(identity(authority));
      await renewed(identity(await open(join(dir, 'other'))));
    });

    it('is made anew when less than a third of its life remains', async () => {
      const authority = await open();
      const { certPem, notAfter } = await identity(authority);
      now = notAfter - 133 * DAY_MS;
      expect((await identity(authority)).certPem).to.equal(certPem);
      now = notAfter - 132 * DAY_MS;
      expect((await identity(authority)).certPem).to.not.equal(certPem);
    });
  });

  describe('and its secrets', () => {
    it('are made once, of 32 bytes, in a private file', () => {
      const secret = openSecret(join(dir, 'secrets'), 'fleet.secret', random);
      expect(secret).to.have.length(32);
      expect(openSecret(join(dir, 'secrets'), 'fleet.secret', random).equals(secret)).to.equal(true);
      expect(openSecret(join(dir, 'secrets'), 'other.secret', random).equals(secret)).to.equal(false);
      expect(statSync(join(dir, 'secrets', 'fleet.secret')).mode & 0o777).to.equal(0o600);
    });

    it('are never replaced when damaged', () => {
      writeFileSync(join(dir, 'fleet.secret'), 'abc');
      expect(() => openSecret(dir, 'fleet.secret', random)).to.throw(/32 bytes/);
      expect(readFileSync(join(dir, 'fleet.secret'), 'latin1')).to.equal('abc');
    });
  });

  it('fingerprints its root as its PEM does', async () => {
    const { rootPem, rootFingerprint } = await open();
    expect(sha256Fingerprint(certificatesOf(rootPem)[0]!)).to.equal(rootFingerprint);
  });
});

function pemOf(der: Buffer): string {
  return new X509Certificate(der).toString();
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'nothing failed',
    (error: unknown) => String(error),
  );
}
