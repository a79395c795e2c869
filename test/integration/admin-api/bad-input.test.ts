import { expect } from 'chai';
import { useDatabase } from '../../support/database.js';
import { startAdminWorld, type AdminWorld, type RawRequest } from './admin-world.js';

const ID = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';
const JSON_TYPE = { 'content-type': 'application/json' };

interface Expected {
  readonly status: number;
  readonly pointer?: string;
}

describe('bad input on the admin port', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let world: AdminWorld;
  let admin: Record<string, string>;
  before(async () => {
    world = await startAdminWorld(database);
    admin = await world.bearer('administrator');
  });
  after(() => world.close());

  async function expectRefused(request: RawRequest, expected: Expected): Promise<void> {
    const answer = await world.raw({ ...request, headers: { ...admin, ...request.headers } });
    expect(answer.status, answer.text).to.equal(expected.status);
    expect(answer.headers['content-type']).to.equal('application/problem+json');
    const problem = JSON.parse(answer.text);
    expect(problem).to.include({ status: expected.status });
    expect(problem.instance).to.equal(`urn:uuid:${String(answer.headers['x-request-id'])}`);
    if (expected.pointer)
      expect(problem.errors.map(({ pointer }: { pointer: string }) => pointer)).to.include(expected.pointer);
    expect(({} as Record<string, unknown>)['polluted']).to.equal(undefined);
  }

  const key = (members: unknown) => JSON.stringify(members);
  const good = { name: 'x', role: 'auditor' };
  const bodies: readonly (readonly [string, string | Buffer, Expected])[] = [
    ['nothing', '', { status: 400 }],
    ['no JSON', '{"name":', { status: 400 }],
    ['an array', '[]', { status: 400, pointer: '#' }],
    ['null', 'null', { status: 400, pointer: '#' }],
    ['a string', '"x"', { status: 400, pointer: '#' }],
    ['65 levels', `{"name":${'['.repeat(65)}${']'.repeat(65)}}`, { status: 400 }],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d]), { status: 400 }],
    ['missing members', '{}', { status: 400, pointer: '#/role' }],
    ['a number for text', key({ ...good, name: 7 }), { status: 400, pointer: '#/name' }],
    ['an object for text', key({ ...good, name: { toString: 1 } }), { status: 400 }],
    ['null for text', key({ ...good, name: null }), { status: 400, pointer: '#/name' }],
    ['an array for text', key({ ...good, name: ['x'] }), { status: 400, pointer: '#/name' }],
    ['too long a text', key({ ...good, name: 'x'.repeat(129) }), { status: 400, pointer: '#/name' }],
    ['an unknown role', key({ ...good, role: 'root' }), { status: 400, pointer: '#/role' }],
    ['text for a number', key({ ...good, expiresInSeconds: '60' }), { status: 400, pointer: '#/expiresInSeconds' }],
    ['a fraction', key({ ...good, expiresInSeconds: 1.5 }), { status: 400, pointer: '#/expiresInSeconds' }],
    [
      'an infinite number',
      '{"name":"x","role":"auditor","expiresInSeconds":1e999}',
      { status: 400, pointer: '#/expiresInSeconds' },
    ],
    [
      'null for an optional number',
      key({ ...good, expiresInSeconds: null }),
      { status: 400, pointer: '#/expiresInSeconds' },
    ],
    ['an unknown member', key({ ...good, 'a/b': 1 }), { status: 400, pointer: '#/a~1b' }],
    ['NUL', key({ ...good, name: 'a\0b' }), { status: 400, pointer: '#/name' }],
    ['a lone surrogate', '{"name":"a\\ud800","role":"auditor"}', { status: 400, pointer: '#/name' }],
    ['a line break in a name', key({ ...good, name: 'a\r\nb' }), { status: 400, pointer: '#/name' }],
    ['__proto__', '{"name":"x","role":"auditor","__proto__":{"polluted":1}}', { status: 400 }],
    ['an escaped __proto__', '{"name":"x","role":"auditor","\\u005f_proto__":{"polluted":1}}', { status: 400 }],
    ['constructor.prototype', key({ ...good, constructor: { prototype: { polluted: 1 } } }), { status: 400 }],
    ['hasOwnProperty', key({ ...good, hasOwnProperty: 1 }), { status: 400 }],
  ];
  for (const [name, body, expected] of bodies) {
    it(`refuses a body with ${name}`, () =>
      expectRefused({ method: 'POST', path: '/api/v1/api-keys', headers: JSON_TYPE, body }, expected));
  }

  it('names every bad member at once', async () => {
    const body = key({ name: '', role: 'x', expiresInSeconds: -1, more: 1 });
    const answer = await world.raw({
      method: 'POST',
      path: '/api/v1/api-keys',
      headers: { ...admin, ...JSON_TYPE },
      body,
    });
    const pointers = JSON.parse(answer.text).errors.map(({ pointer }: { pointer: string }) => pointer);
    expect(pointers).to.have.members(['#/name', '#/role', '#/expiresInSeconds', '#/more']);
  });

  const freeBodies: readonly (readonly [string, string])[] = [
    ['a nested __proto__', '{"a":{"__proto__":{"polluted":1}}}'],
    ['a nested constructor', '{"a":[{"constructor":{"prototype":{"polluted":1}}}]}'],
    ['a nested NUL', '{"a":{"b":["\\u0000"]}}'],
    ['a nested lone surrogate', '{"a":{"b":"\\udc00"}}'],
    ['a malformed key', '{"a":{"\\ud800":1}}'],
    ['an array at the top', '[1]'],
  ];
  for (const [name, body] of freeBodies) {
    it(`refuses free data with ${name}`, () =>
      expectRefused(
        { method: 'PATCH', path: `/api/v1/test-things/${ID}`, headers: { ...JSON_TYPE, 'if-match': '"1"' }, body },
        { status: 400 },
      ));
  }

  it('refuses a body that is announced as too large before reading it', () =>
    expectRefused(
      { method: 'POST', path: '/api/v1/api-keys', headers: JSON_TYPE, body: Buffer.alloc(1024 * 1024 + 1, 0x20) },
      { status: 413 },
    ));

  it('refuses a chunked body once it is too large', () =>
    expectRefused(
      {
        method: 'POST',
        path: '/api/v1/api-keys',
        headers: { ...JSON_TYPE, 'transfer-encoding': 'chunked' },
        body: Buffer.alloc(1024 * 1024 + 1, 0x20),
      },
      { status: 413 },
    ));

  for (const [name, headers] of [
    ['another type', { 'content-type': 'text/plain' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['no type', {}],
    ['a merge patch where nothing is patched', { 'content-type': 'application/merge-patch+json' }],
    ['another charset', { 'content-type': 'application/json; charset=utf-16' }],
    ['gzip', { ...JSON_TYPE, 'content-encoding': 'gzip' }],
  ] as const) {
    it(`answers 415 to ${name}`, () =>
      expectRefused(
        { method: 'POST', path: '/api/v1/api-keys', headers: headers as Record<string, string>, body: key(good) },
        { status: 415 },
      ));
  }

  const paths: readonly (readonly [string, string, Expected])[] = [
    ['an id that is none', '/users/1', { status: 400, pointer: '#/id' }],
    ['an encoded NUL', '/users/%00', { status: 400 }],
    ['a broken escape', '/users/%ff', { status: 400 }],
    ['an unknown parameter', '/users?x=1', { status: 400, pointer: '#/x' }],
    ['a repeated parameter', '/users?q=a&q=b', { status: 400, pointer: '#/q' }],
    ['a limit of 0', '/users?limit=0', { status: 400, pointer: '#/limit' }],
    ['a limit of 501', '/users?limit=501', { status: 400, pointer: '#/limit' }],
    ['a limit that is none', '/users?limit=ten', { status: 400, pointer: '#/limit' }],
    ['an unknown sort', '/users?sort=password', { status: 400, pointer: '#/sort' }],
    ['a made-up cursor', '/users?cursor=abc', { status: 400, pointer: '#/cursor' }],
    ['__proto__ in the query', '/users?__proto__=1', { status: 400 }],
    ['constructor in the query', '/users?constructor=1', { status: 400 }],
    ['NUL in the query', '/users?q=%00', { status: 400, pointer: '#/q' }],
    ['invalid UTF-8 in the query', '/users?q=%ff', { status: 400 }],
    ['a query where none is taken', `/users/${ID}?a=1`, { status: 400 }],
    ['no such user', `/users/${ID}`, { status: 404 }],
    ['no such route', '/nothing', { status: 404 }],
    ['another case', '/Users', { status: 404 }],
  ];
  for (const [name, path, expected] of paths) {
    it(`answers ${expected.status} to ${name}`, () =>
      expectRefused({ method: 'GET', path: `/api/v1${path}` }, expected));
  }

  describe('If-Match', () => {
    for (const [name, value, status] of [
      ['absent', undefined, 428],
      ['not quoted', '1', 400],
      ['weak', 'W/"1"', 400],
      ['any', '*', 400],
      ['a list', '"1", "2"', 400],
      ['no number', '"x"', 400],
    ] as const) {
      it(`answers ${status} when it is ${name}`, () =>
        expectRefused(
          {
            method: 'PATCH',
            path: `/api/v1/test-things/${ID}`,
            headers: { ...JSON_TYPE, ...(value === undefined ? {} : { 'if-match': value }) },
            body: '{}',
          },
          { status },
        ));
    }

    it('hands the revision on and answers the new one, for both content types', async () => {
      for (const type of ['application/json', 'application/merge-patch+json; charset=utf-8']) {
        const headers = { ...admin, 'content-type': type, 'if-match': '"4"' };
        const answer = await world.raw({
          method: 'PATCH',
          path: `/api/v1/test-things/${ID}`,
          headers,
          body: '{"a":null}',
        });
        expect(answer.status, answer.text).to.equal(200);
        expect(answer.headers['etag']).to.equal('"5"');
        expect(JSON.parse(answer.text)).to.deep.equal({ got: { a: null } });
      }
    });
  });

  describe('other methods', () => {
    it('answers 405 with what is allowed', async () => {
      const answer = await world.raw({ method: 'PUT', path: '/api/v1/users', headers: admin });
      expect(answer.status).to.equal(405);
      expect(answer.headers['allow']).to.equal('GET, HEAD, OPTIONS, POST');
    });

    it('answers OPTIONS without inviting other origins', async () => {
      const answer = await world.raw({
        method: 'OPTIONS',
        path: '/api/v1/users',
        headers: { origin: 'http://evil.example' },
      });
      expect(answer.status).to.equal(204);
      expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).to.deep.equal([]);
    });

    it('answers HEAD like GET without a body', async () => {
      const answer = await world.raw({ method: 'HEAD', path: '/api/v1/users', headers: admin });
      expect(answer).to.include({ status: 200, text: '' });
      expect((await world.raw({ method: 'HEAD', path: '/api/v1/users' })).status).to.equal(401);
    });

    it('refuses a target that is no path', async () => {
      expect((await world.raw({ method: 'OPTIONS', path: '*' })).status).to.equal(400);
      expect((await world.raw({ method: 'GET', path: 'http://evil.example/healthz' })).status).to.equal(400);
    });
  });

  it('tells nothing of a bug but where to look for it', async () => {
    const answer = await world.raw({ method: 'GET', path: '/api/v1/test-bug', headers: admin });
    expect(answer.status).to.equal(500);
    const { detail, ...rest } = JSON.parse(answer.text);
    expect(rest).to.have.all.keys('type', 'title', 'status', 'instance');
    expect(detail).to.equal('The manager failed; its log tells more under this instance.');
  });

  it('answers 503 with Retry-After while the database is away', async () => {
    const answer = await world.raw({ method: 'GET', path: '/api/v1/test-database-away', headers: admin });
    expect(answer.status).to.equal(503);
    expect(Number(answer.headers['retry-after'])).to.be.greaterThan(0);
    expect(answer.text).not.to.contain('ECONNREFUSED');
  });

  it('passes a problem on with its Retry-After', async () => {
    const answer = await world.raw({ method: 'GET', path: '/api/v1/test-overloaded', headers: admin });
    expect(answer.status).to.equal(429);
    expect(answer.headers['retry-after']).to.equal('7');
  });
});
