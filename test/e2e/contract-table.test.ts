import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import type { RequestOptions } from '../support/api-client.js';
import { agentTarget, enrollComputer } from '../support/enrolled-computer.js';
import { differencesFrom, schemaOfAnswer, type OpenApi } from '../support/openapi-checker.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';

interface Listed {
  readonly items: readonly Record<string, unknown>[];
  readonly next: string | null;
}

const COMPUTER =
  'id name kind address addressSource policy labels status statusReason statusSince lastSeenAt missedHeartbeats ' +
  'nextExpectedAt offlineAt clockOffsetMs settingsState fingerprint communicationDirection directionInForce connectionMode ' +
  'carrierInUse channel listenerReachable lastDial agentVersion platform flags';
const DETAIL = 'components counters facts directionSince listener candidate agentTimeAt tls certificate';
const CATALOGUE = 'key type unit default range stricter audience apply effective description';
const JOB = 'name cron lastRunAt nextRunAt lastDurationMs runs lastError';

/** A value for every member of a query that must be there. */
function requiredOf(operation: unknown): Record<string, string> {
  const { parameters = [] } = (operation ?? {}) as { parameters?: { in: string; name: string; required?: boolean }[] };
  const needed = parameters.filter((parameter) => parameter.in === 'query' && parameter.required === true);
  return Object.fromEntries(needed.map(({ name }) => [name, new Date(Date.now() - 3_600_000).toISOString()]));
}

describe("the contract's table of routes, on the real manager", function () {
  this.timeout(60_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let policyId: string;
  let computerId: string;

  before(async () => {
    manager = await startManager({ dataDir: root });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    policyId = String((await manager.api.get<Listed>('/policies')).items[0]?.['id']);
    const body = { name: 'pre', kind: 'agent', policyId, address: 'host:4118', labels: { site: 'x' } };
    computerId = (await manager.api.post<{ id: string }>('/computers', { ...body, powerState: 'stopped' })).id;
    await manager.api.post('/enrollment-tokens', { policyId, uses: 1, expiresInSeconds: 60 });
  });

  after(async () => {
    await manager?.stop();
    removeDataDir(root);
  });

  it('gives every member that is named', async () => {
    const computer = await manager.api.get(`/computers/${computerId}`);
    expect(computer).to.include.keys([...COMPUTER.split(' '), ...DETAIL.split(' ')]);
    const [listed] = (await manager.api.get<Listed>('/computers')).items;
    expect(listed).to.include.keys(COMPUTER.split(' '));
    expect(listed).not.to.include.keys(DETAIL.split(' '));
    for (const setting of (await manager.api.get<Listed>('/settings-catalogue')).items)
      expect(setting).to.include.keys(CATALOGUE.split(' '));
    for (const job of (await manager.api.get<Listed>('/system/jobs')).items) {
      expect(job).to.have.all.keys(JOB.split(' '));
      expect(job['runs']).to.have.all.keys('cron', 'wakeup', 'supervisor');
    }
    const system = await manager.api.get('/system');
    expect(system).to.include.keys('adminUrl', 'agentUrl', 'ports', 'caFingerprint', 'versions', 'verdicts');
    expect(system['verdicts']).to.have.all.keys('state', 'reason', 'since', 'until');
  });

  const lists = [
    '/policies',
    '/users',
    '/audit',
    '/events',
    '/alerts',
    '/api-keys',
    '/enrollment-tokens',
    '/computers',
  ];
  it('every GET answers as docs/openapi.json says, and nothing beside it', async () => {
    const api = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as OpenApi;
    const asked = { policyId, uses: 1, expiresInSeconds: 60, labels: { site: 'y' } };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', asked);
    const agent = await enrollComputer(await agentTarget(manager), { token, name: 'told' });
    expect((await agent.beat(agent.report())).status).to.equal(200);
    await manager.api.post('/api-keys', { name: 'reader', role: 'auditor' });
    await manager.api.patch(`/policies/${policyId}/settings`, { heartbeatsMissedAllowed: 4 });
    const users = await manager.api.get<Listed>('/users');
    const alerts = await manager.api.get<Listed>('/alerts');
    const ids: Record<string, unknown> = { policies: policyId, computers: agent.computerId };
    Object.assign(ids, { users: users.items[0]?.['id'], alerts: alerts.items[0]?.['id'] });
    const differences: string[] = [];
    for (const [path, { get }] of Object.entries(api.paths)) {
      const schema = schemaOfAnswer(get);
      const id = ids[path.split('/')[3] ?? ''];
      const isKnown = id !== undefined || !path.includes('{');
      if (!schema || !isKnown) continue;
      const query = new URLSearchParams(requiredOf(get)).toString();
      const value = await manager.api.get(`${path.replace('/api/v1', '').replace('{id}', String(id))}?${query}`);
      differences.push(...differencesFrom(api, schema, value).map((text) => `${path} ${text}`));
    }
    expect(differences).to.deep.equal([]);
  });

  it('a document that leaves a member out, or tells another type, is found out', () => {
    const api = {
      paths: {},
      components: { schemas: { A: { type: 'object', properties: { a: { type: 'integer' } } } } },
    };
    const schema = { $ref: '#/components/schemas/A' };
    expect(differencesFrom(api, schema, { a: 1 })).to.deep.equal([]);
    expect(differencesFrom(api, schema, { a: null, b: 1 })).to.have.length(2);
  });

  it('a cursor belongs to its list', async () => {
    await manager.api.post('/policies', { name: 'paged', parentId: policyId });
    const { next } = await manager.api.get<Listed>('/policies?limit=1');
    expect(next).to.be.a('string');
    for (const path of ['/users', '/computers', '/api-keys']) {
      const { status, body } = await manager.api.request<{ errors: { pointer: string }[] }>(
        'GET',
        `${path}?sort=name&cursor=${next}`,
      );
      expect([status, body.errors[0]?.pointer], path).to.deep.equal([400, '#/cursor']);
    }
  });

  it('every bad field is named, once', async () => {
    const pointers = async (method: string, path: string, body?: unknown) => {
      const answer = await manager.api.request<{ errors: { pointer: string }[] }>(method, path, { body });
      expect(answer.status, path).to.equal(400);
      return answer.body.errors.map(({ pointer }) => pointer).toSorted();
    };
    const computer = { name: ' x', policyId, labels: { ok: 'v', a: 1, 'b/': 'v', 'c d': 2 } };
    expect(await pointers('POST', '/computers', computer)).to.deep.equal([
      '#/labels/a',
      '#/labels/b~1',
      '#/labels/c d',
      '#/name',
    ]);
    expect(await pointers('GET', '/policies/%00')).to.deep.equal(['#/id']);
    expect(await pointers('POST', '/policies', { name: 'no parent' })).to.deep.equal(['#/parentId']);
    const { body } = await manager.api.request<{ errors: { detail: string }[] }>('GET', '/computers?status=nothing');
    expect(body.errors[0]?.detail).to.match(/^must be one of pending, /);
  });

  it('what only the database or the clock knows is named with what has no form', async () => {
    const pointers = async (method: string, path: string, options: RequestOptions) => {
      const answer = await manager.api.request<{ errors: { pointer: string }[] }>(method, path, options);
      expect(answer.status, `${path} ${JSON.stringify(answer.body)}`).to.equal(400);
      return answer.body.errors.map(({ pointer }) => pointer).toSorted();
    };
    const unknown = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';
    const above = await manager.api.post<{ id: string }>('/policies', { name: 'locks', parentId: policyId });
    const below = await manager.api.post<{ id: string }>('/policies', { name: 'locked', parentId: above.id });
    const held = await manager.api.post<{ id: string }>('/computers', { name: 'held', policyId: below.id });
    const locked = await manager.api.request('PUT', `/policies/${above.id}/locks/heartbeatIntervalSeconds`, {
      body: { mode: 'locked' },
      headers: { 'if-match': '"1"' },
    });
    expect(locked.status).to.equal(200);
    const patch = { body: { heartbeatIntervalSeconds: 77, listenerPort: 0, nothing: 1 }, headers: { 'if-match': 'x' } };
    for (const path of [`/policies/${below.id}/settings`, `/computers/${held.id}/settings`])
      expect(await pointers('PATCH', path, patch)).to.deep.equal([
        '#/If-Match',
        '#/heartbeatIntervalSeconds',
        '#/listenerPort',
        '#/nothing',
      ]);
    const channel = { url: 'http://x', caPem: 'nope', port: 0 };
    expect(
      await pointers('POST', '/notification-channels', { body: { ...channel, name: 'c', type: 'webhook' } }),
    ).to.deep.equal(['#/caPem', '#/port', '#/url']);
    const { id } = await manager.api.post<{ id: string }>('/notification-channels', {
      name: 'c',
      type: 'slack',
      url: 'https://x/y',
    });
    const change = { body: { ...channel, facility: 'local0' }, headers: { 'if-match': '"1"' } };
    expect(await pointers('PATCH', `/notification-channels/${id}`, change)).to.deep.equal([
      '#/caPem',
      '#/facility',
      '#/port',
      '#/url',
    ]);
    const route = { name: '', channelId: unknown, policyId: unknown };
    expect(await pointers('POST', '/notification-routes', { body: route })).to.deep.equal([
      '#/channelId',
      '#/name',
      '#/policyId',
    ]);
    const token = { policyId: unknown, uses: 2, expiresInSeconds: 0, computerId: held.id, kind: 'appliance' };
    expect(await pointers('POST', '/enrollment-tokens', { body: token })).to.deep.equal([
      '#/expiresInSeconds',
      '#/kind',
      '#/policyId',
      '#/uses',
    ]);
    const labels = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`l${index}`, 'x']));
    await manager.api.patch(`/computers/${held.id}`, { labels });
    const more = { body: { name: '', policyId: unknown, labels: { more: 'x' } }, headers: { 'if-match': '"1"' } };
    expect(await pointers('PATCH', `/computers/${held.id}`, more)).to.deep.equal(['#/labels', '#/name', '#/policyId']);
    const command = { type: 'ping', expiresAt: '2020-01-01T00:00:00Z', priority: 10 };
    expect(await pointers('POST', `/computers/${held.id}/commands`, { body: command })).to.deep.equal([
      '#/expiresAt',
      '#/priority',
    ]);
    const window = { computerId: unknown, label: 'x', endsAt: '2020-01-01T00:00:00Z', comment: 'x' };
    expect(await pointers('POST', '/maintenance-windows', { body: window })).to.deep.equal([
      '#/computerId',
      '#/endsAt',
      '#/label',
    ]);
    expect(await pointers('POST', `/computers/${held.id}/probe`, { body: { now: true } })).to.deep.equal(['#/now']);
    expect(await pointers('POST', '/users', { body: '{"name":"a","name":"b","role":"x"}' })).to.deep.equal(['#/name']);
    const { body } = await manager.api.request<{ title: string; detail: string }>('GET', `/policies/${unknown}`);
    expect(body.detail).to.include('/api/v1/policies');
  });

  it('names are what people see', async () => {
    const names = [' a', 'a ', 'a\u200bb', 'a\u202eb', 'a\u2066b', 'a\nb', '\ufeffa', ' '];
    const bodies: [string, object][] = [
      ['/policies', { parentId: policyId }],
      ['/computers', { policyId }],
      ['/users', { role: 'auditor', password: 'long enough' }],
      ['/api-keys', { role: 'auditor' }],
    ];
    for (const [path, body] of bodies) {
      for (const name of names) {
        const answer = await manager.api.request('POST', path, { body: { ...body, name } });
        expect(answer.status, `${path} ${JSON.stringify(name)}`).to.equal(400);
      }
      const name = '\u{1f6e1}'.repeat(64);
      expect((await manager.api.request('POST', path, { body: { ...body, name } })).status, path).to.equal(201);
      const long = await manager.api.request('POST', path, { body: { ...body, name: 'n'.repeat(254) } });
      expect(long.status, path).to.equal(400);
    }
  });

  it('enrollment cleans the name that an agent asks for', async () => {
    const asked = { policyId, uses: 2, expiresInSeconds: 60 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', asked);
    const target = await agentTarget(manager);
    for (const [name, shown] of [
      ['\u202e web\u200b9 ', 'web9'],
      ['\u2066\u2069', 'computer'],
    ] as const) {
      const { computerId: id } = await enrollComputer(target, { token, name });
      expect((await manager.api.get(`/computers/${id}`))['name']).to.equal(shown);
    }
  });

  it('the built-in policy keeps its name', async () => {
    const current = await manager.api.request('GET', `/policies/${policyId}`);
    const headers = { 'if-match': current.headers.get('etag') ?? '' };
    const patch = (body: object) => manager.api.request('PATCH', `/policies/${policyId}`, { body, headers });
    const { status, body } = await patch({ name: 'Other' });
    expect([status, body['type']]).to.deep.equal([409, '/problems/policy-built-in']);
    expect((await patch({ description: 'may be told' })).status).to.equal(200);
  });

  it('lists take limit, cursor, sort and q, and answer items and next', async () => {
    const histories = ['status-history', 'events'].map((name) => `/computers/${computerId}/${name}`);
    for (const path of [...lists, ...histories]) {
      const page = await manager.api.get<Listed>(`${path}?limit=1`);
      expect(page, path).to.have.all.keys('items', 'next');
      const none = await manager.api.get<Listed>(`${path}?q=nobody-is-called-so`);
      expect(none, path).to.deep.equal({ items: [], next: null });
      if (page.next !== null) await manager.api.get(`${path}?limit=1&cursor=${page.next}`);
      const { status } = await manager.api.request('GET', `${path}?sort=nothing`);
      expect(status, path).to.equal(400);
    }
  });

  it('a search finds tokens by their policy and by who made them', async () => {
    for (const q of ['base', 'admin', 'ADM'])
      expect((await manager.api.get<Listed>(`/enrollment-tokens?q=${q}`)).items.length, q).to.be.greaterThan(0);
  });

  it('lists without any text refuse q, instead of ignoring it', async () => {
    const paths = [`/computers/${computerId}/heartbeats`, `/computers/${computerId}/gaps`];
    for (const path of [...paths, `/policies/${policyId}/revisions`]) {
      const { status, body } = await manager.api.request<{ errors: { pointer: string }[] }>('GET', `${path}?q=x`);
      expect([status, body.errors[0]?.pointer], path).to.deep.equal([400, '#/q']);
      expect(await manager.api.get<Listed>(path)).to.include.keys('items', 'next');
    }
  });

  it('a power state expires at an RFC 3339 instant, and at nothing else', async () => {
    const put = (expiresAt: string) =>
      manager.api.request('PUT', `/computers/${computerId}/power-state`, { body: { state: 'running', expiresAt } });
    const refused = ['2027-W01', '2027-W01-1', '2027-001', '2027-01-01', '2027-01-01T00:00:00', '2027-02-30T00:00:00Z'];
    for (const expiresAt of [...refused, 'tomorrow', '']) {
      const { status, body } = await put(expiresAt);
      expect([status, body['type']], expiresAt).to.deep.equal([400, '/problems/request-invalid']);
    }
    const { status, body } = await put('2030-01-01T00:00:00+02:00');
    expect(status).to.equal(200);
    expect(body['powerState']).to.include({ state: 'running', expiresAt: '2029-12-31T22:00:00.000Z' });
  });
});
