import { createPrivateKey, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type ConnectionOptions, type Server, type TlsOptions, type TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { openAuthority, type CertificateAuthority } from '../../../certs/certificate-authority.js';
import { createSigningRequest, readSigningRequest } from '../../../certs/csr.js';
import { openManagerIdentity } from '../../../certs/manager-identity.js';
import { certificatesOf, sha256Fingerprint } from '../../../certs/pem.js';
import { TLS_OPTIONS } from '../../../certs/tls-profile.js';
import { peerCertificates, verifyPeerPath, type PathVerdict } from '../../../certs/verify-path.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { countCalls } from '../../support/count-calls.js';
import {
  forgeAuthority,
  forgeCertificate,
  leafExtensions,
  newKey,
  validAround,
} from '../../support/forged-certificates.js';

const ID = '0b5f7c1e-6c1c-4f0e-9d9a-0123456789ab';
const clock = createSystemClock();
const DAY = 86_400_000;

describe('mutual TLS between a manager and a computer', () => {
  let dir: string;
  let authority: CertificateAuthority;
  let server: Server;
  let verdicts: (PathVerdict | 'no certificate')[];

  function judge(
    socket: TLSSocket,
    role: 'computer' | 'manager',
    roots: X509Certificate[],
  ): PathVerdict | 'no certificate' {
    const peer = peerCertificates(socket);
    if (!peer) return 'no certificate';
    const own = role === 'computer' ? [authority.intermediate] : [];
    const intermediates = [...own, ...peer.intermediates];
    const { leafDer } = peer;
    return verifyPeerPath({ leafDer, intermediates, roots, trustDomain: 'wardbeat', role, at: clock.wall() });
  }

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'mtls-'));
    authority = await openAuthority({ dir, trustDomain: 'wardbeat', clock, random: createSystemRandom() });
    const hosts = ['localhost', '127.0.0.1'];
    const { keyPem, certPem, chainPem } = await openManagerIdentity({ dir, authority, node: 'node-1', hosts, clock });
    const identity = { key: keyPem, cert: certPem + chainPem, ca: authority.rootPem };
    server = createServer({ ...TLS_OPTIONS, ...identity, requestCert: true, rejectUnauthorized: false });
    server.on('secureConnection', (socket) => {
      verdicts.push(judge(socket, 'computer', [authority.root]));
      socket.on('error', () => socket.destroy());
      socket.end('ok');
    });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  beforeEach(() => {
    verdicts = [];
  });
  after(() => {
    server.close();
    rmSync(dir, { recursive: true, force: true });
  });

  interface Handshake {
    readonly protocol: string | null;
    readonly cipher: string;
    readonly chain: Buffer[];
    readonly manager: PathVerdict | 'no certificate';
    readonly computer: PathVerdict | 'no certificate' | undefined;
  }

  async function handshake(options: ConnectionOptions = {}): Promise<Handshake> {
    const { port } = server.address() as AddressInfo;
    const socket = connect({ ...TLS_OPTIONS, host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
    await once(socket, 'secureConnect');
    const peer = peerCertificates(socket)!;
    const facts = { protocol: socket.getProtocol(), cipher: socket.getCipher().name };
    const manager = judge(socket, 'manager', [authority.root]);
    socket.resume();
    await once(socket, 'close');
    return { ...facts, chain: [peer.leafDer, ...peer.intermediates], manager, computer: verdicts[0] };
  }

  function enroll(key: KeyObject): { key: string; cert: string } {
    const { spkiDer } = readSigningRequest(createSigningRequest(key));
    const { pem } = authority.issueComputer({ computerId: ID, spkiDer, lifetimeDays: 30 });
    return { key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: pem };
  }

  const keys: [string, () => KeyObject][] = [
    ['P-256', newKey],
    ['P-384', () => generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey],
    ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
    ['Ed25519', () => generateKeyPairSync('ed25519').privateKey],
  ];
  for (const [name, make] of keys)
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
      it(`names both ends over ${version} with a ${name} key`, async () => {
        const { protocol, manager, computer } = await handshake({ ...enroll(make()), maxVersion: version });
        expect(protocol).to.equal(version);
        expect(manager).to.include({ ok: true, id: 'node-1' });
        expect(computer).to.include({ ok: true, id: ID });
      });

  it('shows a computer that has only the fingerprint the root that bears it', async () => {
    const { chain } = await handshake();
    const root = chain.find((der) => sha256Fingerprint(der) === authority.rootFingerprint);
    const [leafDer, ...intermediates] = chain;
    const request = {
      leafDer: leafDer!,
      intermediates,
      trustDomain: 'wardbeat',
      role: 'manager' as const,
      at: clock.wall(),
    };
    expect(verifyPeerPath({ ...request, roots: [new X509Certificate(root!)] })).to.include({ ok: true, id: 'node-1' });
  });

  it('lets a stranger without certificate in for enrollment, unnamed', async () => {
    expect((await handshake()).computer).to.equal('no certificate');
  });

  it('accepts the intermediate and root sent along', async () => {
    const { key, cert } = enroll(newKey());
    expect((await handshake({ key, cert: cert + authority.chainPem })).computer).to.include({ ok: true, id: ID });
  });

  it("refuses an attacker's authority with any SPIFFE id, expired, future or valid, as unknown", async () => {
    const { intermediate, root } = forgeAuthority(clock.wall());
    const now = Math.floor(clock.wall() / 1000) * 1000;
    const periods = [validAround(now), { notBefore: now - 9 * DAY, notAfter: now - DAY }];
    for (const period of [...periods, { notBefore: now + DAY, notAfter: now + 9 * DAY }]) {
      const extensions = Object.values(leafExtensions(`spiffe://wardbeat/computer/${ID}`));
      const leaf = forgeCertificate({ name: ID, issuer: intermediate, ...period, extensions });
      verdicts = [];
      const { computer } = await handshake({ key: leaf.keyPem, cert: leaf.pem + intermediate.pem + root.pem });
      expect(computer).to.include({ ok: false, reason: 'tls-unknown-ca' });
    }
  });

  it("refuses a manager's certificate where a computer's is due", async () => {
    const key = newKey();
    const { spkiDer } = readSigningRequest(createSigningRequest(key));
    const { pem } = authority.issueManager({ node: 'node-2', hosts: [], spkiDer, lifetimeDays: 1 });
    const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
    const { computer } = await handshake({ key: keyPem, cert: pem });
    expect(computer).to.include({ ok: false, reason: 'profile' });
  });

  const refusedOffers: [string, ConnectionOptions][] = [
    ['TLS 1.1', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }],
    ['AES-CBC suites', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA' }],
    ['suites without forward secrecy', { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256:AES256-GCM-SHA384' }],
    ['SHA-1 signatures', { maxVersion: 'TLSv1.2', sigalgs: 'ECDSA+SHA1', ciphers: 'DEFAULT:@SECLEVEL=0' }],
  ];
  for (const [name, offer] of refusedOffers)
    it(`refuses ${name}`, async () => {
      const refusal = await handshake(offer).then(
        ({ cipher }) => cipher,
        (error: Error) => error,
      );
      expect(refusal).to.be.instanceOf(Error);
    });

  it('does not renegotiate, which plain Node does', async () => {
    expect(await renegotiate(TLS_OPTIONS)).to.equal('refused');
    expect(await renegotiate({})).to.equal('renegotiated');
  });

  it('verifies a path by two signatures, however often it is asked', () => {
    const leafDer = certificatesOf(enroll(newKey()).cert)[0]!;
    const intermediates = [authority.intermediate];
    const request = { leafDer, intermediates, roots: [authority.root], trustDomain: 'wardbeat', at: clock.wall() };
    const verify = () => expect(verifyPeerPath({ ...request, role: 'computer' }).ok).to.equal(true);
    expect([1, 2].map(() => countCalls(X509Certificate.prototype, 'verify', verify))).to.deep.equal([2, 2]);
  });

  it('keeps the key of an identity in a form that Node reads', async () => {
    const { keyPem } = await openManagerIdentity({ dir, authority, node: 'node-1', hosts: ['localhost'], clock });
    expect(createPrivateKey(keyPem).asymmetricKeyType).to.equal('ec');
  });
});

/** Asks a server that keeps the connection open for a second TLS 1.2 handshake. */
async function renegotiate(options: TlsOptions): Promise<string> {
  const extensions = Object.values(leafExtensions('spiffe://wardbeat/manager/node-1'));
  const { pem, keyPem } = forgeCertificate({ name: 'node-1', ...validAround(clock.wall()), extensions });
  const server = createServer({ ...options, key: keyPem, cert: pem }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
  try {
    await once(socket, 'secureConnect');
    return await new Promise<string>((resolve) => {
      socket.on('error', () => resolve('refused'));
      socket.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error ? 'refused' : 'renegotiated'));
    });
  } finally {
    socket.destroy();
    server.close();
  }
}
