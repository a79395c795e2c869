import { expect } from 'chai';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { sendBytes, sendHead } from '../support/raw-http.js';
import { makeTlsFiles } from '../support/tls-files.js';

const UPGRADE = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];
const SIGN_IN = JSON.stringify({ name: 'nobody', password: 'wrong' });

function signInFrom(url: string, headers: readonly string[]) {
  const json = ['Content-Type: application/json', `Content-Length: ${SIGN_IN.length}`];
  return sendHead(url, ['POST /api/v1/sessions HTTP/1.1', ...headers, ...json], SIGN_IN);
}

function leafOf(url: string): Promise<X509Certificate> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false });
    socket.once('error', reject).once('secureConnect', () => {
      const leaf = socket.getPeerX509Certificate();
      socket.destroy();
      if (leaf) resolve(leaf);
      else reject(new Error('No certificate was presented'));
    });
  });
}

/** run.json stands there a moment before the lines do. */
function isPrinted(manager: ManagerProcess, text: string): Promise<boolean> {
  return eventually(`"${text}" is printed`, () => manager.output().includes(text));
}

const hexOf = (leaf: X509Certificate) => leaf.fingerprint256.replaceAll(':', '').toLowerCase();

describe('the doors of the admin port', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  after(() => removeDataDir(root));

  describe('on loopback, behind a proxy', () => {
    let manager: ManagerProcess;
    let own: string;
    before(async () => {
      const env = { WARDBEAT_ADMIN_ORIGIN: 'https://console.example:8443' };
      manager = await startManager({ dataDir: join(root, 'loopback'), env });
      own = new URL(manager.adminUrl).host;
    });
    after(() => manager.stop());

    const hosts: readonly (readonly [host: string, status: number])[] = [
      ['localhost', 200],
      ['LOCALHOST:4119', 200],
      ['127.0.0.1', 200],
      ['[::1]:1', 200],
      ['console.example', 200],
      ['console.example:8443', 200],
      ['evil.example', 403],
      ['127.0.0.1.nip.io', 403],
      ['localhost.evil.example', 403],
      ['localhost.', 403],
      ['127.0.0.2', 403],
      ['127.1', 403],
      ['2130706433', 403],
      ['0x7f000001', 403],
      ['0.0.0.0', 403],
      ['[::]', 403],
      ['[::ffff:127.0.0.1]', 403],
      ['[::1', 403],
      ['console.example.evil.example', 403],
      ['evil.example@localhost', 403],
      ['localhost@evil.example', 403],
      ['localhost/x', 403],
      ['localhost#x', 403],
      ['localhost, evil.example', 403],
      ['localhost:99999999', 403],
      ['lоcalhost', 403],
    ];
    for (const [host, status] of hosts) {
      it(`answers ${status} to Host "${host}", to an upgrade as well`, async () => {
        const request = ['GET /healthz HTTP/1.1', `Host: ${host}`];
        expect((await sendHead(manager.adminUrl, request)).status).to.equal(status);
        expect((await sendHead(manager.adminUrl, [...request, ...UPGRADE])).status).to.equal(status);
      });
    }

    const targets: readonly (readonly [name: string, lines: readonly string[]])[] = [
      ['no Host', ['GET /healthz HTTP/1.1']],
      ['an empty Host', ['GET /healthz HTTP/1.1', 'Host:']],
      ['two different Hosts', ['GET /healthz HTTP/1.1', 'Host: localhost', 'Host: evil.example']],
      ['the same Host twice', ['GET /healthz HTTP/1.1', 'Host: localhost', 'host: localhost']],
      ['absolute form', ['GET http://localhost/healthz HTTP/1.1', 'Host: localhost']],
      ['absolute form of another host', ['GET http://evil.example/healthz HTTP/1.1', 'Host: localhost']],
      ['absolute form with userinfo', ['GET http://a:b@localhost/healthz HTTP/1.1', 'Host: localhost']],
      ['asterisk form', ['OPTIONS * HTTP/1.1', 'Host: localhost']],
      ['authority form', ['GET localhost:4119 HTTP/1.1', 'Host: localhost']],
      ['CONNECT', ['CONNECT localhost:4119 HTTP/1.1', 'Host: localhost']],
    ];
    for (const [name, lines] of targets) {
      it(`serves nothing to ${name}, nor an upgrade by it`, async () => {
        for (const request of [lines, [...lines, ...UPGRADE]])
          expect((await sendHead(manager.adminUrl, request)).status).to.be.oneOf([0, 400, 403]);
      });
    }

    const origins: readonly (readonly [name: string, headers: (own: string) => readonly string[], served: boolean])[] =
      [
        ['no page', (host) => [`Host: ${host}`], true],
        ['a page of the port itself', (host) => [`Host: ${host}`, `Origin: http://${host}`], true],
        ['a page behind the proxy', () => ['Host: console.example', 'Origin: https://console.example:8443'], true],
        ['the proxy with another port', () => ['Host: console.example', 'Origin: https://console.example'], false],
        ['the proxy in plain text', () => ['Host: console.example', 'Origin: http://console.example:8443'], false],
        ['a foreign page', (host) => [`Host: ${host}`, 'Origin: https://evil.example'], false],
        ['another port of this machine', (host) => [`Host: ${host}`, 'Origin: http://localhost:1'], false],
        ['the same name over HTTPS', (host) => [`Host: ${host}`, `Origin: https://${host}`], false],
        ['a sandboxed page', (host) => [`Host: ${host}`, 'Origin: null'], false],
        ['an origin with a path', (host) => [`Host: ${host}`, `Origin: http://${host}/`], false],
        ['an origin with userinfo', (host) => [`Host: ${host}`, `Origin: http://a@${host}`], false],
        ['two origins', (host) => [`Host: ${host}`, `Origin: http://${host}`, 'Origin: https://evil.example'], false],
        ['a foreign page that hides its origin', (host) => [`Host: ${host}`, 'Sec-Fetch-Site: cross-site'], false],
        ['a page of the same site', (host) => [`Host: ${host}`, 'Sec-Fetch-Site: same-site'], false],
      ];
    for (const [name, headers, served] of origins) {
      it(`${served ? 'serves' : 'refuses'} changes and upgrades from ${name}`, async () => {
        const change = await signInFrom(manager.adminUrl, headers(own));
        expect(change.status).to.equal(served ? 401 : 403);
        const upgrade = await sendHead(manager.adminUrl, ['GET /healthz HTTP/1.1', ...headers(own), ...UPGRADE]);
        expect(upgrade.status).to.equal(served ? 200 : 403);
      });
    }

    it('needs no TLS headers and gives a cookie that stays on the host', async () => {
      expect((await sendHead(manager.adminUrl, ['GET /healthz HTTP/1.1', 'Host: localhost'])).head).not.to.match(
        /^strict-transport/im,
      );
      const { headers } = await manager.api.request('POST', '/sessions', {
        body: { name: 'admin', password: ADMIN_PASSWORD },
      });
      expect(headers.getSetCookie()[0]).to.match(/^wardbeat=[\w-]+; Path=\/; HttpOnly; SameSite=Strict$/);
    });
  });

  async function assertHttpsOnly({ adminUrl }: ManagerProcess): Promise<void> {
    const request = ['GET /healthz HTTP/1.1', 'Host: wardbeat.example', 'Connection: close'];
    const { status, head } = await sendHead(adminUrl, request);
    expect(status).to.equal(200);
    expect(head).to.match(/^strict-transport-security: max-age=31536000$/im);
    const plain = await sendBytes(
      adminUrl.replace('https:', 'http:'),
      'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n',
    );
    expect(plain.status).to.equal(0);
  }

  async function assertSecureCookie({ adminUrl }: ManagerProcess): Promise<void> {
    const body = JSON.stringify({ name: 'admin', password: ADMIN_PASSWORD });
    const headers = ['Host: wardbeat.example', 'Content-Type: application/json', `Content-Length: ${body.length}`];
    const { status, head } = await sendHead(adminUrl, ['POST /api/v1/sessions HTTP/1.1', ...headers], body);
    expect(status).to.equal(201);
    expect(head).to.match(/^set-cookie: __Host-wardbeat=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Secure$/im);
  }

  describe('off loopback', () => {
    let manager: ManagerProcess;
    before(async () => {
      const env = { WARDBEAT_ADMIN_HOST: '0.0.0.0', WARDBEAT_PUBLIC_HOSTS: 'wardbeat.example' };
      manager = await startManager({ dataDir: join(root, 'off-loopback'), env });
    });
    after(() => manager.stop());

    it('speaks HTTPS only', () => assertHttpsOnly(manager));
    it('binds the cookie to the host and to TLS', () => assertSecureCookie(manager));

    it('presents a leaf of its own authority and prints both fingerprints', async () => {
      const leaf = await leafOf(manager.adminUrl);
      expect(manager.adminUrl).to.match(/^https:\/\/localhost:\d+$/);
      await isPrinted(manager, `admin TLS    SHA-256 ${hexOf(leaf)}`);
      await isPrinted(manager, `authority    SHA-256 ${manager.caFingerprint}`);
      expect(leaf.checkHost('wardbeat.example')).to.equal('wardbeat.example');
      expect(leaf.issuer).to.include('ssuing');
    });

    for (const [name, headers, served] of [
      ['its own page', ['Host: wardbeat.example', 'Origin: https://wardbeat.example'], true],
      ['the same page in plain text', ['Host: wardbeat.example', 'Origin: http://wardbeat.example'], false],
      ['a foreign page', ['Host: wardbeat.example', 'Origin: https://evil.example'], false],
    ] as const) {
      it(`${served ? 'serves' : 'refuses'} changes and upgrades from ${name}`, async () => {
        expect((await signInFrom(manager.adminUrl, headers)).status).to.equal(served ? 401 : 403);
        const upgrade = await sendHead(manager.adminUrl, ['GET /healthz HTTP/1.1', ...headers, ...UPGRADE]);
        expect(upgrade.status).to.equal(served ? 200 : 403);
      });
    }

    it('shows metrics to callers who may read only', async () => {
      const request = ['GET /metrics HTTP/1.1', 'Host: wardbeat.example'];
      expect((await sendHead(manager.adminUrl, request)).status).to.equal(401);
    });
  });

  describe('with a certificate of one’s own', () => {
    let manager: ManagerProcess;
    let files: { readonly cert: string; readonly key: string };
    before(async () => {
      files = await makeTlsFiles(root, 'given');
      const env = { WARDBEAT_ADMIN_TLS_CERT: files.cert, WARDBEAT_ADMIN_TLS_KEY: files.key };
      manager = await startManager({ dataDir: join(root, 'given-certificate'), env });
    });
    after(() => manager.stop());

    it('presents it, on loopback too', async () => {
      const leaf = await leafOf(manager.adminUrl);
      expect(hexOf(leaf)).to.equal(hexOf(new X509Certificate(readFileSync(files.cert))));
      await isPrinted(manager, `admin TLS    SHA-256 ${hexOf(leaf)}`);
    });
    it('speaks HTTPS only', () => assertHttpsOnly(manager));
    it('binds the cookie to the host and to TLS', () => assertSecureCookie(manager));
  });
});
