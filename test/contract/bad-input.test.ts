import { expect } from 'chai';
import type { Request } from 'express';
import { Readable } from 'node:stream';
import { Problem } from '../../lib/problem.js';
import { Scope } from '../../server/access/scope.js';
import { composeAdminRoutes, type AdminRoutesDeps } from '../../server/admin-api/compose-admin-api.js';
import { schemasOfDtos } from '../../server/admin-api/dto-schemas.js';
import { PlainPageQuery } from '../../server/admin-api/page.js';
import { readRequest } from '../../server/admin-api/read-request.js';
import type { AdminRequest, RouteDefinition } from '../../server/admin-api/route.js';
import { composeRoutes, type RoutesDeps } from '../../server/compose-routes.js';
import { describeRoutes } from '../../server/describe-routes.js';
import { inert } from '../../server/inert.js';
import { createRoutingService, type RoutingServiceDeps } from '../../server/notifications/routing-service.js';

const NOW = Date.UTC(2030, 0, 15);
const ID = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';
const BAD_ID = 'A'.repeat(36);
const PAST = '2029-12-31T00:00:00Z';
const SOON = '2030-02-01T00:00:00Z';
const CALLER = { actor: inert<AdminRequest['actor']>('actor'), scope: Scope.all };

/** Members of the object that stand for those of an inert one. */
function over<T extends object>(name: string, members: Readonly<Record<string, unknown>>): T {
  const rest = inert<Record<string, unknown>>(name);
  return new Proxy(members, {
    get: (known, member) => (member in known ? known[String(member)] : rest[String(member)]),
  }) as T;
}

/** The routes of a manager whose database holds nothing and whose clock stands still. */
function routesOfNothing(): readonly RouteDefinition[] {
  const empty = { query: () => Promise.resolve([]) };
  const storage = over('storage', {
    fleetClock: { fleet: () => NOW, toWall: (instant: number) => instant },
    sql: empty,
    dataSource: { manager: empty },
  });
  const routings = createRoutingService(over<RoutingServiceDeps>('routings', { sql: empty }));
  const core = over('core', { notifications: over('notifications', { routings }) });
  const { routes } = composeRoutes(over<RoutesDeps>('routes', { storage, core }));
  return composeAdminRoutes(over<AdminRoutesDeps>('admin', { secure: false, dataDir: '.', routes, sql: empty })).routes;
}

const ROUTES = routesOfNothing();

interface Sent {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly ifMatch?: string;
}

function requestOf({ params = {}, query = {}, body, ifMatch }: Sent): Request {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body === undefined ? '' : JSON.stringify(body));
  const headers = {
    ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(bytes.length) }),
    ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }),
  };
  return Object.assign(Readable.from(bytes.length > 0 ? [bytes] : []), { params, query, headers, url: '/' }) as never;
}

/** The pointers that one answer names. */
async function named(route: RouteDefinition, sent: Sent): Promise<readonly string[]> {
  const problem = await readRequest(route, requestOf(sent), CALLER).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(problem instanceof Problem)) throw problem ?? new Error('Nothing was refused');
  expect(problem.code).to.equal('request-invalid');
  return (problem.facts.errors ?? []).map(({ pointer }) => pointer);
}

const SCHEMAS = schemasOfDtos() as Readonly<Record<string, { readonly properties?: Readonly<Record<string, object>> }>>;

/** Members that a class declares, its own and those of the classes above it. */
function membersOf(dto: { readonly name: string } | null): readonly string[] {
  if (!dto || dto.name === '') return [];
  const own = Object.keys(SCHEMAS[dto.name]?.properties ?? {});
  return [...new Set([...own, ...membersOf(Object.getPrototypeOf(dto) as { readonly name: string } | null)])];
}

const nameOf = ({ method, path }: RouteDefinition): string => `${method} ${path}`;
const unless = (query: object | undefined, known: readonly string[]) =>
  known.filter((name) => query === undefined || !membersOf(query as never).includes(name));

describe('bad input of any shape is named in one answer', () => {
  for (const route of describeRoutes())
    it(nameOf(route), async () => {
      const { path, body, query, needsIfMatch } = route;
      const ofBody = typeof body === 'function' ? membersOf(body) : [];
      const ofQuery = query ? membersOf(query) : [];
      const params = [...path.matchAll(/:([A-Za-z]*[iI]d)\b/g)].map(([, name = '']) => name);
      // Nothing that a member may be: neither text, nor number, nor list, nor an object of strings or settings.
      const wrong = { nonsense: [true] };
      const sent = {
        params: Object.fromEntries(params.map((name) => [name, BAD_ID])),
        query: Object.fromEntries([...ofQuery, 'zz-q'].map((name) => [name, '\0'])),
        body: Object.fromEntries([...ofBody, 'zz-b'].map((name) => [name, wrong])),
        ...(needsIfMatch ? { ifMatch: 'x' } : {}),
      };
      const errors = await named({ ...route, check: () => [] } as RouteDefinition, sent);
      const expected = [...params, ...ofQuery, 'zz-q', 'zz-b', ...ofBody, ...(needsIfMatch ? ['If-Match'] : [])];
      // Free arguments of a command are judged by its type.
      for (const member of expected.filter((one) => one !== 'args'))
        expect(
          errors.some((pointer) => `${pointer}/`.startsWith(`#/${member}/`)),
          `#/${member} among ${errors.join(' ')}`,
        ).to.equal(true);
    });

  it('judges sort and cursor of every list with the rest of its query', () => {
    for (const route of ROUTES.filter(({ query }) => query && membersOf(query).includes('cursor')))
      expect(route.list, nameOf(route)).to.include.keys('keys', 'default');
    expect(unless(PlainPageQuery, ['limit', 'cursor', 'sort'])).to.deep.equal([]);
  });
});

/** Bodies of which each field is bad in its own way; what they must be named by. */
const MEANINGLESS: Readonly<Record<string, Sent & { readonly named: string }>> = {
  'post /sessions': { body: { name: '', password: 7, more: 1 }, named: 'name password more' },
  'post /sessions/current/proof': { body: { password: '', code: '1', more: 1 }, named: 'password code more' },
  'post /users/current/second-factor/confirm': { body: { code: 123456 }, named: 'code' },
  'post /users': { body: { name: ' x', role: 'root', password: 'short' }, named: 'name role password' },
  'patch /users/:id': {
    params: { id: 'x' },
    body: { role: 'root', password: 'short', disabled: 'no', mustChangePassword: null },
    ifMatch: '1',
    named: 'id role password disabled mustChangePassword If-Match',
  },
  'post /users/current/password': {
    body: { currentPassword: '', newPassword: 'short' },
    named: 'currentPassword newPassword',
  },
  'post /api-keys': { body: { name: 'a\nb', role: 1, expiresInSeconds: 0 }, named: 'name role expiresInSeconds' },
  'post /policies': {
    body: {
      name: '',
      parentId: ID,
      settings: {
        heartbeatIntervalSeconds: 1,
        heartBeatGraceSeconds: 1,
        managerUrls: ['https://a', 'http://b', 'https://a'],
        proxies: [{ url: 'ftp://x', credentials: 'y' }],
        maintenanceWindows: [{ cron: '61 * * * *', durationMinutes: 0, timeZone: 'Mars/Olympus' }],
        listenerAllowedSources: ['10.0.0.0/33'],
      },
      comment: 'a\0',
    },
    named:
      'name parentId comment settings/heartbeatIntervalSeconds settings/heartBeatGraceSeconds settings/managerUrls/1 ' +
      'settings/managerUrls/2 settings/proxies/0/url settings/proxies/0/credentials settings/maintenanceWindows/0/cron ' +
      'settings/maintenanceWindows/0/durationMinutes settings/maintenanceWindows/0/timeZone ' +
      'settings/listenerAllowedSources/0',
  },
  'patch /policies/:id': {
    body: { name: '', parentId: ID, description: 7 },
    ifMatch: '*',
    named: 'name parentId description If-Match',
  },
  'patch /policies/:id/settings': {
    params: { id: ID },
    query: { comment: '\u0007', more: '1' },
    body: { heartbeatIntervalSeconds: 1, nothing: 2, listenerPort: 'x' },
    ifMatch: 'x',
    named: 'comment more heartbeatIntervalSeconds nothing listenerPort If-Match',
  },
  'put /policies/:id/locks/:key': {
    params: { id: 'x', key: 'connectionMode' },
    query: { comment: '\u0007' },
    body: { mode: 'tightenOnly', more: 1 },
    named: 'id comment mode more',
  },
  'post /policies/:id/rollback': { body: { revision: 0, comment: 7 }, named: 'revision comment' },
  'post /policies/:id/preview': {
    body: { settings: { heartbeatGraceSeconds: -1, x: 1 }, parentId: 'x' },
    named: 'settings/heartbeatGraceSeconds settings/x parentId',
  },
  'post /policies/:id/rehearse': {
    body: { settings: { heartbeatGraceSeconds: -1, listenerPort: 4118, x: 1 }, days: 0 },
    named: 'settings/heartbeatGraceSeconds settings/listenerPort settings/x days',
  },
  'post /computers': {
    body: { name: '', kind: 'toaster', address: 'a b', policyId: ID, labels: { '-': 'x', good: 7 }, powerState: 'on' },
    named: 'name kind address policyId labels/- labels/good powerState',
  },
  'patch /computers/:id': {
    params: { id: 'x' },
    body: { name: '', policyId: ID, labels: { '-': 'x' }, address: 'host:99999', comment: 7 },
    named: 'id name policyId labels/- address comment',
  },
  'patch /computers/:id/settings': {
    params: { id: 'x' },
    query: { comment: '\u0007' },
    body: { heartbeatIntervalSeconds: 1, nothing: 2 },
    named: 'id comment heartbeatIntervalSeconds nothing',
  },
  'post /computers/:id/preview': {
    body: { settings: { pingIntervalSeconds: 1 }, policyId: 'x' },
    named: 'settings/pingIntervalSeconds policyId',
  },
  'put /computers/:id/power-state': { body: { state: 'on', expiresAt: PAST, more: 1 }, named: 'state expiresAt more' },
  'post /computers/:id/commands': {
    body: {
      type: 'set-log-level',
      args: { level: 'loud', seconds: 1, more: 1 },
      notBefore: '2031-01-01T00:00:00Z',
      expiresAt: PAST,
      priority: 10,
      idempotencyKey: '',
    },
    named: 'args/level args/seconds args/more notBefore expiresAt priority idempotencyKey',
  },
  'post /computers/bulk': {
    body: {
      filter: {
        status: ['asleep', 'online', 7],
        flag: ['isolated', 'lost'],
        policyId: 'x',
        label: ['a=b', '-'],
        package: ['a@1', '@1'],
        computerIds: [ID, 'x'],
        q: '',
      },
      action: { command: { type: 'ping', args: { level: 1 }, notBefore: 'noon', expiresAt: PAST } },
      dryRun: 'no',
      perSecond: 0,
    },
    named:
      'filter/status/0 filter/status/2 filter/flag/1 filter/policyId filter/label/1 filter/package/1 ' +
      'filter/computerIds/1 filter/q ' +
      'action/command/args/level action/command/notBefore action/command/expiresAt dryRun perSecond',
  },
  'post /maintenance-windows': {
    body: { computerId: ID, label: 'a', startsAt: 'noon', endsAt: PAST, comment: '' },
    named: 'computerId label startsAt endsAt comment',
  },
  'post /enrollment-tokens': {
    body: { policyId: ID, kind: 'x', uses: 2, expiresInSeconds: 0, labels: { '': 'x' }, computerId: ID },
    named: 'policyId kind uses expiresInSeconds labels/ computerId',
  },
  'post /notification-channels': {
    body: { name: '', type: 'webhook', url: 'http://x', caPem: 'nope', port: 0, facility: 'local0', to: ['a@b', 'c'] },
    named: 'name url caPem port facility to/1',
  },
  'patch /notification-channels/:id': {
    body: { name: '', url: 'http://x', caPem: 'nope', port: 0, host: 'a:1' },
    ifMatch: 'x',
    named: 'name url caPem port host If-Match',
  },
  'post /notification-routes': {
    body: { name: '', channelId: ID, policyId: ID, types: ['computer-offline', 'x'], label: '-', groupSeconds: -1 },
    named: 'name channelId policyId types/1 label groupSeconds',
  },
  'patch /notification-routes/:id': {
    body: { channelId: ID, policyId: ID, enabled: 'no', repeatMinutes: 0 },
    named: 'channelId policyId enabled repeatMinutes',
  },
  'post /alerts/:id/acknowledge': {
    params: { id: 'x' },
    body: { comment: ' \u200b', more: 1 },
    named: 'id comment more',
  },
  'post /alerts/:id/dismiss': { params: { id: 'x' }, body: { comment: '', more: 1 }, named: 'id comment more' },
  'post /alerts/:id/snooze': { body: { until: PAST, comment: '' }, named: 'until comment' },
  'post /alerts/:id/comment': { params: { id: 'x' }, body: { comment: ' \n' }, named: 'id comment' },
  'post /alerts/:id/assign': { body: { assignee: 'nobody', comment: '' }, named: 'assignee comment' },
  'post /system/drain': { query: { more: '1' }, body: { seconds: 0, more: 1 }, named: 'more seconds' },
};

describe('what makes no sense is named with what has no form', () => {
  const withBody = ROUTES.filter(({ body }) => body !== undefined);

  it('holds a row for every route with a body', () => {
    expect(Object.keys(MEANINGLESS)).to.have.members(withBody.map(nameOf));
  });

  for (const route of withBody)
    it(nameOf(route), async () => {
      const row = MEANINGLESS[nameOf(route)];
      if (!row) return;
      const pointers = row.named.split(' ').map((name) => `#/${name}`);
      expect([...new Set(await named(route, row))]).to.have.members(pointers);
    });
});

describe('what is no body at all is named alone', () => {
  const bodies: readonly (readonly [string, unknown])[] = [
    ['a list', [1]],
    ['null', null],
    ['no JSON', Buffer.from('{"a":')],
    ['65 levels', Buffer.from('['.repeat(65))],
  ];
  for (const [name, body] of bodies)
    it(`${name}, by every route that takes one`, async () => {
      for (const route of ROUTES.filter((one) => one.body !== undefined))
        expect(await named(route, { params: { id: ID, key: 'listenerPort' }, body }), nameOf(route)).to.deep.equal([
          '#',
        ]);
    });

  it('and what is wrong beside it, too', async () => {
    const route = ROUTES.find((one) => nameOf(one) === 'patch /policies/:id/settings');
    if (!route) return;
    const sent = { params: { id: 'x' }, query: { more: '1' }, body: Buffer.from('{"a":1,"a":2}'), ifMatch: 'x' };
    expect(await named(route, sent)).to.have.members(['#/id', '#/more', '#/a', '#/If-Match']);
  });
});

describe('what is judged together', () => {
  const routeOf = (name: string): RouteDefinition => {
    const route = ROUTES.find((one) => nameOf(one) === name);
    if (!route) throw new Error(`There is no ${name}`);
    return route;
  };
  const rows: readonly (readonly [string, string, Sent, string])[] = [
    [
      'is not judged by a refused begin',
      'post /maintenance-windows',
      { body: { label: 'a', startsAt: 7, endsAt: SOON, comment: 'x' } },
      'startsAt',
    ],
    [
      'is not missing where it is refused',
      'post /maintenance-windows',
      { body: { policyId: 'x', endsAt: SOON, comment: 'x' } },
      'policyId',
    ],
    [
      'is not missing for the type where it is refused',
      'post /notification-channels',
      { body: { name: 'x', type: 'slack', url: 7 } },
      'url',
    ],
    [
      'is not foreign to a type that is none',
      'post /notification-channels',
      { body: { name: 'x', type: 'x', port: 1 } },
      'type',
    ],
    [
      'is half a sign-in beside a bad port',
      'post /notification-channels',
      { body: { name: 'x', type: 'email', host: 'a', from: 'a@b', to: ['a@b'], user: 'u', port: 0 } },
      'port password',
    ],
    [
      'is a certificate of no use beside a bad name',
      'post /notification-channels',
      { body: { name: '', type: 'syslog', host: 'a', protocol: 'udp', caPem: 'x' } },
      'name caPem',
    ],
    [
      'is not judged by arguments of another type',
      'post /computers/:id/commands',
      { body: { type: 'x', args: { a: 1 } } },
      'type',
    ],
    [
      'repeats a good member beside a bad one',
      'patch /policies/:id/settings',
      { body: { managerUrls: ['https://a', 'x', 'https://a'] } },
      'managerUrls/1 managerUrls/2',
    ],
    [
      'is a query without its key, beside a bad limit',
      'get /reports/availability',
      { query: { from: SOON, groupBy: 'label', limit: '0', sort: 'x' } },
      'limit key sort from to',
    ],
    [
      'is a sort that a list has not, beside a bad limit',
      'get /users',
      { query: { limit: '0', sort: 'x' } },
      'limit sort',
    ],
    [
      'is a cursor of no list, beside a bad filter',
      'get /alerts',
      { query: { state: 'x', cursor: 'abc' } },
      'state cursor',
    ],
  ];
  for (const [says, name, sent, expected] of rows)
    it(`${name}: ${says}`, async () => {
      const pointers = expected.split(' ').map((one) => `#/${one}`);
      expect([...new Set(await named(routeOf(name), sent))]).to.have.members(pointers);
    });

  it('names every member of a body where none is expected', async () => {
    for (const name of ['post /computers/:id/probe', 'delete /alerts/:id/snooze', 'delete /users/:id'])
      expect(await named(routeOf(name), { params: { id: ID }, body: { a: 1, 'b/c': 2 } }), name).to.deep.equal([
        '#/a',
        '#/b~1c',
      ]);
    expect(await named(routeOf('post /computers/:id/probe'), { body: ['x'] })).to.deep.equal(['#']);
    await readRequest(routeOf('post /computers/:id/probe'), requestOf({ params: { id: ID }, body: {} }), CALLER);
  });

  it('names a thousand fields at most, without building more', async () => {
    const nonsense = Object.fromEntries(Array.from({ length: 40_000 }, (_, index) => [`k${index}`, '\0']));
    expect(await named(routeOf('post /sessions'), { body: nonsense })).to.have.length(1000);
    const deep = { ['k'.repeat(500_000)]: Array.from({ length: 50_000 }, () => '\0') };
    expect(await named(routeOf('post /sessions'), { body: deep })).to.include('#');
  });
});
