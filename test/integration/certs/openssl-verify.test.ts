import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openAuthority, type CertificateAuthority } from '../../../certs/certificate-authority.js';
import { createSigningRequest, readSigningRequest } from '../../../certs/csr.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { newKey, spkiOf } from '../../support/forged-certificates.js';

const ID = '0b5f7c1e-6c1c-4f0e-9d9a-0123456789ab';

describe('OpenSSL, as a second opinion', () => {
  let dir: string;
  let authority: CertificateAuthority;

  before(async function () {
    if (spawnSync('openssl', ['version']).status !== 0) this.skip();
    dir = mkdtempSync(join(tmpdir(), 'openssl-'));
    const clock = createSystemClock();
    authority = await openAuthority({ dir, trustDomain: 'wardbeat', clock, random: createSystemRandom() });
    writeFileSync(join(dir, 'ca.pem'), authority.rootPem);
    writeFileSync(join(dir, 'middle.pem'), authority.intermediatePem);
  });
  after(() => {
    if (dir) rmSync(dir, { recursive: true, force: true });
  });

  function openssl(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync('openssl', args, { cwd: dir, encoding: 'utf8' });
    return `${status} ${stdout}${stderr}`;
  }

  function verify(pem: string, purpose: 'sslserver' | 'sslclient', ...more: string[]): string {
    writeFileSync(join(dir, 'leaf.pem'), pem);
    const path = ['-CAfile', 'ca.pem', '-untrusted', 'middle.pem'];
    return openssl('verify', '-x509_strict', '-no-CApath', ...path, '-purpose', purpose, ...more, 'leaf.pem');
  }

  it('accepts computers and managers strictly, as client and as server', () => {
    const spkiDer = spkiOf(newKey());
    const hosts = ['localhost', '127.0.0.1', '::1'];
    const computer = authority.issueComputer({ computerId: ID, spkiDer, lifetimeDays: 30 }).pem;
    const manager = authority.issueManager({ node: 'node-1', hosts, spkiDer, lifetimeDays: 397 }).pem;
    for (const pem of [computer, manager])
      for (const purpose of ['sslserver', 'sslclient'] as const)
        expect(verify(pem, purpose)).to.equal('0 leaf.pem: OK\n');
    expect(verify(manager, 'sslserver', '-verify_hostname', 'localhost')).to.equal('0 leaf.pem: OK\n');
    expect(verify(manager, 'sslserver', '-verify_ip', '::1')).to.equal('0 leaf.pem: OK\n');
  });

  it('reads and verifies our signing requests, and we read its own', () => {
    for (const key of [newKey(), generateKeyPairSync('ed25519').privateKey]) {
      writeFileSync(join(dir, 'request.pem'), createSigningRequest(key));
      expect(openssl('req', '-verify', '-noout', '-in', 'request.pem')).to.match(/^0 .*verify OK/);
    }
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'];
    const wishes = ['-subj', '/CN=admin', '-addext', 'subjectAltName=URI:spiffe://wardbeat/manager/x'];
    expect(openssl('req', '-new', '-nodes', ...curve, ...wishes, '-keyout', 'key.pem', '-out', 'own.pem')).to.match(
      /^0/,
    );
    const { spkiDer } = readSigningRequest(readFileSync(join(dir, 'own.pem'), 'utf8'));
    const issued = authority.issueComputer({ computerId: ID, spkiDer, lifetimeDays: 1 }).pem;
    expect(verify(issued, 'sslclient')).to.equal('0 leaf.pem: OK\n');
    const text = openssl('x509', '-noout', '-text', '-in', 'leaf.pem');
    expect(text).to.contain(`URI:spiffe://wardbeat/computer/${ID}`);
    expect(text).to.not.contain('manager');
    expect(text).to.not.contain('admin');
  });
});
