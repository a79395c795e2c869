import { expect } from 'chai';
import { connect } from 'node:tls';
import { openAuthority } from '../../../certs/certificate-authority.js';
import { exportKey, generateKey } from '../../../certs/key-store.js';
import { openManagerIdentity } from '../../../certs/manager-identity.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { useDatabase } from '../../support/database.js';
import { makeDataDir, removeDataDir } from '../../support/manager-process.js';
import { ADMIN_PASSWORD, startAdminWorld, type AdminWorld, type RawRequest } from './admin-world.js';

const COMPUTER = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';

describe('the admin port over TLS', function () {
  this.timeout(30_000);
  const database = useDatabase();
  const dir = makeDataDir();
  let world: AdminWorld;
  let ca: string;
  let agent: { cert: string; key: string };
  before(async () => {
    const clock = createSystemClock();
    const authority = await openAuthority({ dir, trustDomain: 'wardbeat', clock, random: createSystemRandom() });
    const manager = await openManagerIdentity({
      dir,
      authority,
      node: 'm1',
      hosts: ['127.0.0.1', 'wardbeat.example'],
      clock,
    });
    ca = authority.rootPem;
    const { key, spkiDer } = await generateKey();
    const { pem } = authority.issueComputer({ computerId: COMPUTER, spkiDer, lifetimeDays: 1 });
    agent = { key: exportKey(key), cert: pem };
    const tls = { cert: `${manager.certPem}\n${manager.chainPem}`, key: manager.keyPem };
    world = await startAdminWorld(database, { tls });
  });
  after(async () => {
    await world.close();
    removeDataDir(dir);
  });

  const send = (request: RawRequest, more: object = {}) => world.raw({ ...request, clientTls: { ca, ...more } });
  async function signIn() {
    const body = JSON.stringify({ name: 'admin', password: ADMIN_PASSWORD });
    const headers = { 'content-type': 'application/json', host: 'wardbeat.example' };
    const answer = await send({ method: 'POST', path: '/api/v1/sessions', headers, body });
    return {
      answer,
      cookie: answer.headers['set-cookie']?.[0] ?? '',
      token: JSON.parse(answer.text).csrfToken as string,
    };
  }

  it('binds the cookie to the host and to TLS', async () => {
    const { answer, cookie } = await signIn();
    expect(answer.status).to.equal(201);
    expect(cookie).to.match(/^__Host-wardbeat=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Secure$/);
    expect(answer.headers['strict-transport-security']).to.match(/^max-age=\d{8}$/);
  });

  it("takes an agent's certificate for nobody, and for nothing beside a cookie", async () => {
    const path = '/api/v1/users';
    expect((await send({ method: 'GET', path }, agent)).status).to.equal(401);
    const cookie = (await signIn()).cookie.split(';')[0]!;
    const change = { method: 'POST', path, headers: { cookie, 'content-type': 'application/json' }, body: '{}' };
    expect((await send(change, agent)).status).to.equal(403);
  });

  it('shows metrics only to a caller who may read everything', async () => {
    expect((await send({ method: 'GET', path: '/metrics' })).status).to.equal(401);
    const { cookie, token } = await signIn();
    const headers = { cookie: cookie.split(';')[0]!, 'x-csrf-token': token, 'content-type': 'application/json' };
    const body = JSON.stringify({ name: 'prometheus', role: 'auditor' });
    const made = await send({ method: 'POST', path: '/api/v1/api-keys', headers, body });
    const authorization = `Bearer ${String(JSON.parse(made.text).key)}`;
    const metrics = () => send({ method: 'GET', path: '/metrics', headers: { authorization } });
    expect((await metrics()).status).to.equal(200);
    // They are of the whole manager.
    await database.pool.query(
      `WITH site AS (
         INSERT INTO policies (id, name, description, settings, locks, revision, created_at, updated_at, verdict_rules_fleet_ms)
         VALUES ($1, 'Site', '', '{}', '{}', 1, $2, $2, 0) RETURNING policies.id)
       UPDATE api_keys SET policy_id = site.id FROM site WHERE api_keys.name = 'prometheus'`,
      [COMPUTER, new Date()],
    );
    const refused = await metrics();
    expect([refused.status, JSON.parse(refused.text).type]).to.deep.equal([403, '/problems/beyond-scope']);
  });

  it('refuses a foreign origin, that of plain HTTP too', async () => {
    for (const origin of ['https://evil.example', 'http://wardbeat.example'] as const) {
      const headers = { host: 'wardbeat.example', origin, 'content-type': 'application/json' };
      expect((await send({ method: 'POST', path: '/api/v1/sessions', headers, body: '{}' })).status).to.equal(403);
    }
  });

  for (const version of ['TLSv1', 'TLSv1.1'] as const) {
    it(`refuses ${version}`, async () => {
      const { port } = new URL(world.url);
      const options = { host: '127.0.0.1', port: Number(port), ca, minVersion: version, maxVersion: version } as const;
      const socket = connect({ ...options, ciphers: 'DEFAULT:@SECLEVEL=0' });
      const failure = await new Promise((resolve) => socket.once('error', resolve).once('secureConnect', resolve));
      expect(failure).to.be.instanceOf(Error);
    });
  }
});
