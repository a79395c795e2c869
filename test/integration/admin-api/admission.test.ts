import { expect } from 'chai';
import { useDatabase } from '../../support/database.js';
import { startAdminWorld, statusOfBytes, type AdminWorld } from './admin-world.js';

const ID = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';

describe('who may call the admin API', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let world: AdminWorld;
  before(async () => void (world = await startAdminWorld(database, { adminOrigin: 'https://wardbeat.example' })));
  after(() => world.close());

  describe('by role', () => {
    const roles = ['auditor', 'operator', 'administrator'] as const;
    const headers: Record<string, Record<string, string>> = {};
    before(async () => {
      for (const role of roles) headers[role] = await world.bearer(role);
    });

    it('admits to every route exactly those whose role includes its permission', async () => {
      for (const route of world.api.routes) {
        if (route.permission === 'public') continue;
        const path = `/api/v1${route.path.replaceAll(/:\w+/g, ID)}`;
        const send = (more: Record<string, string>) =>
          world.raw({ method: route.method.toUpperCase(), path, headers: { ...more } });
        expect((await send({})).status, `nobody: ${route.method} ${path}`).to.equal(401);
        for (const role of roles) {
          const { status } = await send(headers[role]!);
          const admitted = roles.indexOf(role) >= roles.indexOf(route.permission);
          expect(status === 403 || status === 401, `${role}: ${route.method} ${path} ${status}`).to.equal(
            !admitted || route.proof === 'person' || (route.path === '/users/current/password' && status === 403),
          );
        }
      }
    });
  });

  const badCredentials: readonly (readonly [string, Record<string, string>])[] = [
    ['no credential', {}],
    ['an unknown key', { authorization: `Bearer wbk_${'A'.repeat(43)}` }],
    ['a malformed key', { authorization: 'Bearer wbk_short' }],
    ['another scheme', { authorization: 'Basic YWRtaW46YWRtaW4=' }],
    ['an unknown cookie', { cookie: `wardbeat=${'A'.repeat(43)}` }],
    ['a malformed cookie', { cookie: "wardbeat=' OR 1=1" }],
    ["the other scheme's cookie", { cookie: `__Host-wardbeat=${'A'.repeat(43)}` }],
  ];
  for (const [name, headers] of badCredentials) {
    it(`answers 401 to ${name}`, async () => {
      const answer = await world.raw({ method: 'GET', path: '/api/v1/users', headers });
      expect(answer.status).to.equal(401);
      expect(answer.headers['www-authenticate']).to.contain('Bearer');
      expect(JSON.parse(answer.text).type).to.equal('/problems/not-authenticated');
    });
  }

  describe('with a cookie', () => {
    async function cookieAndToken() {
      const body = JSON.stringify({ name: 'admin', password: 'correct horse battery' });
      const answer = await world.raw({
        method: 'POST',
        path: '/api/v1/sessions',
        headers: { 'content-type': 'application/json' },
        body,
      });
      const [setCookie = ''] = answer.headers['set-cookie'] ?? [];
      return { setCookie, cookie: setCookie.split(';')[0]!, token: String(JSON.parse(answer.text).csrfToken) };
    }

    it('sets one that scripts and other sites cannot use', async () => {
      const { setCookie } = await cookieAndToken();
      expect(setCookie).to.match(/^wardbeat=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
    });

    for (const [name, change, status] of [
      ['without the token', () => ({}), 403],
      ['with a wrong token', () => ({ 'x-csrf-token': 'x' }), 403],
      ['with the token', (token: string) => ({ 'x-csrf-token': token }), 400],
      [
        'with the token, but from a foreign page',
        (token: string) => ({ 'x-csrf-token': token, origin: 'http://evil.example' }),
        403,
      ],
    ] as const) {
      it(`a change ${name} answers ${status}`, async () => {
        const { cookie, token } = await cookieAndToken();
        const headers = { cookie, 'content-type': 'application/json', ...change(token) } as Record<string, string>;
        const answer = await world.raw({ method: 'POST', path: '/api/v1/api-keys', headers, body: '{}' });
        expect(answer.status).to.equal(status);
      });
    }

    it('reads without the token', async () => {
      const { cookie } = await cookieAndToken();
      expect((await world.raw({ method: 'GET', path: '/api/v1/users', headers: { cookie } })).status).to.equal(200);
    });

    it('lets a wrong API key decide, not the cookie beside it', async () => {
      const { cookie } = await cookieAndToken();
      const headers = { cookie, authorization: 'Bearer wbk_none' };
      expect((await world.raw({ method: 'GET', path: '/api/v1/users', headers })).status).to.equal(401);
    });
  });

  describe('by Host and Origin', () => {
    for (const [host, status] of [
      ['localhost', 200],
      ['localhost:4119', 200],
      ['127.0.0.1:80', 200],
      ['[::1]:4119', 200],
      ['wardbeat.example', 200],
      ['evil.example', 403],
      ['localhost.evil.example', 403],
      ['user@localhost', 403],
      ['localhost/path', 403],
      ['localhost,evil.example', 403],
    ] as const) {
      it(`answers ${status} to Host "${host}"`, async () => {
        const answer = await world.raw({ method: 'GET', path: '/healthz', headers: { host } });
        expect(answer.status).to.equal(status);
      });
    }

    for (const [name, lines] of [
      ['an empty one', 'Host: \r\n'],
      ['two', 'Host: localhost\r\nHost: evil.example\r\n'],
      ['none', ''],
    ] as const) {
      it(`refuses ${name}`, async () => {
        expect(await statusOfBytes(world.url, `GET /healthz HTTP/1.1\r\n${lines}\r\n`)).to.be.oneOf([400, 403]);
      });
    }

    for (const [name, headers, status] of [
      ['no page', {}, 401],
      ['our own page', { origin: 'http://localhost:4119', host: 'localhost:4119' }, 401],
      ['the configured origin', { origin: 'https://wardbeat.example', host: 'wardbeat.example' }, 401],
      ['a foreign page', { origin: 'http://evil.example' }, 403],
      ['a page on another port', { origin: 'http://localhost:1', host: 'localhost:2' }, 403],
      ['a sandboxed page', { origin: 'null' }, 403],
      ['a foreign page without Origin', { 'sec-fetch-site': 'cross-site' }, 403],
    ] as const) {
      it(`answers ${status} to signing in from ${name}`, async () => {
        const answer = await world.raw({
          method: 'POST',
          path: '/api/v1/sessions',
          headers: { 'content-type': 'application/json', ...headers },
          body: JSON.stringify({ name: `nobody ${name}`, password: 'x' }),
        });
        expect(answer.status).to.equal(status);
      });
    }
  });
});
