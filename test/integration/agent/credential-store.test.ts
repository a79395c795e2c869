import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import fs, { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { expect } from 'chai';
import { openAuthority, type CertificateAuthority } from '../../../certs/certificate-authority.js';
import { readSigningRequest } from '../../../certs/csr.js';
import { CredentialStore, UnusableCertificate } from '../../../agent/credential-store.js';
import { dataDirectory, readIdentity, writeIdentity, type DataDirectory } from '../../../agent/data-directory.js';
import { ownerOf } from '../../../agent/identity-check.js';
import { lifeOf } from '../../../agent/renewal-rules.js';
import { createSystemClock } from '../../../lib/clock.js';
import { writeDurably } from '../../../lib/durable-file.js';
import { createSystemRandom } from '../../../lib/random.js';
import { temporaryFolder } from '../../support/agent-process.js';

const COMPUTER = '3b9a2f0e-6f6b-4a5e-8f39-0c0c0c0c0c0c';
const OTHER = '4b9a2f0e-6f6b-4a5e-8f39-0c0c0c0c0c0c';

describe('the credentials of an agent', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let authority: CertificateAuthority;
  let directory: DataDirectory;
  let restoreFs = (): void => undefined;

  const issue = (spkiDer: Buffer, computerId = COMPUTER): string[] => {
    const { pem } = authority.issueComputer({ computerId, spkiDer, lifetimeDays: 30 });
    return [pem, authority.intermediatePem, authority.rootPem];
  };
  const answer = (csr: string, computerId = COMPUTER): string[] => issue(readSigningRequest(csr).spkiDer, computerId);
  const open = (at = directory): CredentialStore => new CredentialStore(at, readIdentity(at)!);
  const serialOf = (pem: string): string => lifeOf(pem).serial;
  const keyDigest = (csr: string): string => readSigningRequest(csr).keyDigest;

  before(async () => {
    folder = temporaryFolder();
    const clock = createSystemClock();
    const dir = join(folder.path, 'authority');
    authority = await openAuthority({ dir, trustDomain: 'test.wardbeat', clock, random: createSystemRandom() });
  });
  after(() => folder.remove());

  beforeEach(() => {
    directory = dataDirectory(join(folder.path, 'agent'));
    fs.mkdirSync(directory.path, { mode: 0o700 });
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const [leaf, intermediate] = issue(publicKey.export({ type: 'spki', format: 'der' })) as [string, string];
    writeDurably(directory.keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    writeIdentity(directory, {
      computerId: COMPUTER,
      name: 'web1',
      policy: { id: OTHER, name: 'Base' },
      trustDomain: 'test.wardbeat',
      managerUrls: ['https://127.0.0.1:4120'],
      certificatePem: leaf + intermediate,
      rootPem: authority.rootPem,
    });
  });
  afterEach(() => {
    restoreFs();
    rmSync(directory.path, { recursive: true });
  });

  /** A copy of the folder for each moment at which a kill could leave it so. */
  const takeStills = (): DataDirectory[] => {
    const stills: DataDirectory[] = [];
    const { renameSync, rmSync: remove } = fs;
    const still = (): void => {
      const path = join(folder.path, `still-${stills.length}`);
      remove(path, { recursive: true, force: true });
      cpSync(directory.path, path, { recursive: true });
      stills.push(dataDirectory(path));
    };
    restoreFs = () => {
      Object.assign(fs, { renameSync, rmSync: remove });
      syncBuiltinESMExports();
      restoreFs = () => undefined;
    };
    const around =
      <Words extends readonly unknown[]>(action: (...words: Words) => void) =>
      (...words: Words): void => {
        still();
        action(...words);
      };
    Object.assign(fs, { renameSync: around(renameSync), rmSync: around(remove) });
    syncBuiltinESMExports();
    return stills;
  };

  it('are one whole identity after a kill at any step of a renewal, which goes on from there', async () => {
    const stills = takeStills();
    const store = open();
    const before = store.current;
    const owner = ownerOf(readIdentity(directory)!);
    const issued = answer(await store.request());
    expect(store.adopt(issued)).to.equal(true);
    const renewed = store.current;
    expect(store.proven(renewed)).to.equal(true);
    restoreFs();
    expect(stills.length).to.be.at.least(10);
    const seen = new Set<string>();
    for (const still of stills) {
      const found = readIdentity(still)!;
      const serial = serialOf(found.certificatePem);
      seen.add(serial);
      expect([before, renewed].map(({ certificatePem }) => serialOf(certificatePem))).to.include(serial);
      expect(new X509Certificate(found.certificatePem).checkPrivateKey(createPrivateKey(found.keyPem))).to.equal(true);
      expect(ownerOf(found), 'whose state it is').to.equal(owner);
      const next = open(still);
      const isRenewed = serial === serialOf(renewed.certificatePem);
      if (!isRenewed) expect(next.adopt(answer(await next.request()))).to.equal(true);
      else if (next.isUnproven && next.swap()) next.swap();
      next.proven(next.current);
      expect(existsSync(still.renewalFile)).to.equal(false);
      expect(serialOf(readIdentity(still)!.certificatePem)).to.equal(serialOf(next.current.certificatePem));
      expect(readFileSync(still.keyFile, 'utf8')).to.equal(next.current.keyPem);
      expect(readdirSync(still.path).filter((name) => name.endsWith('.tmp'))).to.have.length.at.most(1);
    }
    expect(seen.size).to.equal(2);
    for (const { path } of stills) rmSync(path, { recursive: true });
  });

  it('ask for the same key until it was answered, also after a restart, and then for another', async () => {
    const store = open();
    const first = await store.request();
    expect(await store.request()).to.equal(first);
    expect(keyDigest(await open().request())).to.equal(keyDigest(first));
    const again = open();
    again.adopt(answer(await again.request()));
    again.proven(again.current);
    expect(keyDigest(await again.request())).not.to.equal(keyDigest(first));
    again.forgetKey();
    expect(existsSync(directory.renewalFile)).to.equal(false);
  });

  it('take nothing that is for another computer, another key or of another authority, and change nothing then', async () => {
    const store = open();
    const { current } = store;
    const csr = await store.request();
    const strange = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
      type: 'spki',
      format: 'der',
    });
    const dir = join(folder.path, 'stranger');
    const clock = createSystemClock();
    const stranger = await openAuthority({ dir, trustDomain: 'test.wardbeat', clock, random: createSystemRandom() });
    const { spkiDer } = readSigningRequest(csr);
    const forged = stranger.issueComputer({ computerId: COMPUTER, spkiDer, lifetimeDays: 30 }).pem;
    for (const pems of [answer(csr, OTHER), issue(strange), [forged, stranger.intermediatePem, stranger.rootPem], []])
      expect(() => store.adopt(pems)).to.throw(UnusableCertificate);
    expect(store.current).to.equal(current);
    expect(serialOf(readIdentity(directory)!.certificatePem)).to.equal(serialOf(current.certificatePem));
    expect(store.adopt(answer(csr))).to.equal(true);
  });

  it('take the same answer twice as one', async () => {
    const store = open();
    const issued = answer(await store.request());
    expect(store.adopt(issued)).to.equal(true);
    expect(store.adopt(issued)).to.equal(false);
    store.proven(store.current);
    expect(store.adopt(issued)).to.equal(false);
  });

  it('are the ones before where the new ones are refused, and stay those once they came through', async () => {
    const store = open();
    const before = store.current;
    expect(store.swap(), 'there is nothing to go back to').to.equal(false);
    store.adopt(answer(await store.request()));
    const renewed = store.current;
    expect(store.proven(before), 'an exchange of before').to.equal(false);
    expect(store.swap()).to.equal(true);
    expect(store.current).to.equal(before);
    expect(store.swap()).to.equal(true);
    expect(store.current).to.equal(renewed);
    store.swap();
    expect(store.proven(before)).to.equal(false);
    expect(store.isUnproven).to.equal(false);
    expect(serialOf(readIdentity(directory)!.certificatePem)).to.equal(serialOf(before.certificatePem));
    expect(existsSync(directory.renewalFile)).to.equal(false);
  });

  it('go back after a restart too', async () => {
    const first = open();
    const before = first.current;
    first.adopt(answer(await first.request()));
    const store = open();
    expect(serialOf(store.current.certificatePem)).to.equal(serialOf(first.current.certificatePem));
    expect(store.swap()).to.equal(true);
    expect(serialOf(store.current.certificatePem)).to.equal(serialOf(before.certificatePem));
    expect(store.current.keyPem).to.equal(before.keyPem);
  });

  it('keep their key where what had expired is renewed', () => {
    const store = open();
    const { keyPem } = store.current;
    const csr = store.requestAgain();
    const spki = createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
    expect(readSigningRequest(csr).spkiDer.equals(spki)).to.equal(true);
    expect(store.adopt(answer(csr))).to.equal(true);
    store.proven(store.current);
    expect(readIdentity(directory)!.keyPem).to.equal(keyPem);
  });
});
