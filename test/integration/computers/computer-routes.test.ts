import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Registry } from 'prom-client';
import { createSystemClock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { createAdminServer, type AdminServer } from '../../../server/admin-api/admin-server.js';
import { composeAdminApi } from '../../../server/admin-api/compose-admin-api.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import type { ComputerDetailDto } from '../../../server/computers/computer-dto.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { createPasswordHasher } from '../../../server/users/index.js';
import { createApiClient, type ApiClient } from '../../support/api-client.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';

const PASSWORD = 'correct horse battery';

interface List {
  readonly items: readonly { readonly id: string; readonly name: string }[];
  readonly next: string | null;
}

interface ProblemBody {
  readonly type: string;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}

describe('policies and computers over HTTP', () => {
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;
  let server: AdminServer;
  let admin: ApiClient;
  let dataDir: string;

  before(async () => {
    world = await startComputers(database);
    dataDir = mkdtempSync(join(tmpdir(), 'wardbeat-test-'));
    const log = createLog({ name: 'test', level: 'silent' });
    const clock = createSystemClock();
    const api = composeAdminApi({
      ...world,
      log,
      dataDir,
      accessKey: world.random.bytes(32),
      passwords: createPasswordHasher({ random: world.random, log2N: 10 }),
      secure: false,
      adminOrigin: undefined,
      version: '0.0.0',
      checks: [],
      metrics: new Registry(),
    });
    await api.firstAdministrator.ensure({ password: PASSWORD });
    server = createAdminServer({ host: '127.0.0.1', port: 0, tls: null, app: api.app, clock, log });
    await server.start();
    admin = createApiClient(server.url());
    await admin.signIn('admin', PASSWORD);
  });

  after(async () => {
    await server?.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const problemOf = async (method: string, path: string, options: object = {}) => {
    const { status, body } = await admin.request<ProblemBody>(method, path, options);
    return { status, code: body.type.replace('/problems/', ''), errors: body.errors ?? [] };
  };

  it('edits settings with the ETag that it answered', async () => {
    const policy = await admin.post<{ id: string }>('/policies', { name: 'Servers', parentId: world.base.id });
    const path = `/policies/${policy.id}/settings`;
    const edited = await admin.patch<{ revision: number }>(path, { heartbeatIntervalSeconds: 30 });
    expect(edited.revision).to.equal(2);
    const body = { heartbeatIntervalSeconds: 40 };
    expect(await problemOf('PATCH', path, { body })).to.include({ status: 428, code: 'if-match-required' });
    const stale = { body, headers: { 'if-match': '"1"' } };
    expect(await problemOf('PATCH', path, stale)).to.include({ status: 412, code: 'revision-stale' });
    const unknown = await problemOf('PATCH', path, { body: { heartbeatInterval: 1 }, headers: { 'if-match': '"2"' } });
    expect(unknown).to.include({ status: 400 });
    expect(unknown.errors[0]!.detail).to.contain('heartbeatIntervalSeconds');
    const locked = await admin.request('PUT', `/policies/${policy.id}/locks/heartbeatIntervalSeconds`, {
      body: { mode: 'locked' },
      headers: { 'if-match': '"2"' },
    });
    expect([locked.status, locked.headers.get('etag')]).to.deep.equal([200, '"3"']);
    expect(await admin.get('/policies/tree')).to.have.property('items');
    expect(await admin.get<List>('/settings-catalogue'))
      .to.have.property('items')
      .with.length.above(20);
  });

  it('reads filters from the query string', async () => {
    const makes = [
      { name: 'web1', policyId: world.base.id, labels: { site: 'a' } },
      { name: 'web2', policyId: world.base.id, labels: { site: 'b', role: 'web' } },
    ];
    for (const body of makes) await admin.post('/computers', body);
    const namesOf = async (query: string) =>
      (await admin.get<List>(`/computers?${query}`)).items.map(({ name }) => name);
    expect(await namesOf('q=web&sort=-name')).to.deep.equal(['web2', 'web1']);
    expect(await namesOf('q=web&status=online,pending')).to.deep.equal(['web1', 'web2']);
    expect(await namesOf('q=web&status=online&status=late')).to.deep.equal([]);
    expect(await namesOf('q=web&label=site:b&label=role')).to.deep.equal(['web2']);
    expect(await namesOf('q=web&label=site%3Da')).to.deep.equal(['web1']);
    expect(await namesOf(`policyId=${world.base.id}&q=web&limit=1`)).to.deep.equal(['web1']);
    for (const query of ['status=asleep', 'policyId=x', 'limit=0', 'sort=address', 'cursor=x', 'colour=red'])
      expect(await problemOf('GET', `/computers?${query}`), query).to.include({ status: 400, code: 'request-invalid' });
  });

  it('answers a computer with its ETag, changes it, tells its power and forgets it', async () => {
    const made = await admin.request<ComputerDetailDto>('POST', '/computers', {
      body: { name: 'db1', kind: 'agent', policyId: world.base.id, address: 'db1:4118' },
    });
    expect([made.status, made.headers.get('etag')]).to.deep.equal([201, '"1"']);
    const path = `/computers/${made.body.id}`;
    const changed = await admin.patch<ComputerDetailDto>(path, { labels: { site: 'a' }, address: null });
    expect(changed).to.deep.include({ labels: { site: 'a' }, address: null, revision: 2 });
    const settings = await admin.patch<{ revision: number }>(`${path}/settings`, { heartbeatGraceSeconds: 1 });
    expect(settings.revision).to.equal(3);
    const power = await admin.request('PUT', `${path}/power-state`, { body: { state: 'stopped' } });
    expect(power.status).to.equal(200);
    for (const list of ['status-history', 'gaps', 'events'])
      expect(await admin.get(`${path}/${list}`)).to.deep.equal({ items: [], next: null });
    expect((await admin.request('POST', `${path}/revoke`)).status).to.equal(200);
    expect((await admin.request('DELETE', path)).status).to.equal(204);
    expect(await problemOf('GET', path)).to.include({ status: 404, code: 'computer-not-found' });
  });

  it('refuses bodies that would be stored wrongly', async () => {
    const body = { name: 'x', policyId: world.base.id };
    const bad: readonly [object, string][] = [
      [{ ...body, address: 'x:99999' }, '#/address'],
      [{ ...body, labels: { 'a b': 'c' } }, '#/labels/a b'],
      [{ ...body, kind: 'vm' }, '#/kind'],
      [{ ...body, name: 'a\0' }, '#/name'],
      [{ ...body, status: 'online' }, '#/status'],
      [{ name: 'x' }, '#/policyId'],
    ];
    for (const [refused, pointer] of bad) {
      const { status, errors } = await problemOf('POST', '/computers', { body: refused });
      expect([status, errors[0]?.pointer]).to.deep.equal([400, pointer]);
    }
  });

  it('lets each role do what it may and no more', async () => {
    const { id } = await admin.post<{ id: string }>('/computers', { name: 'roles', policyId: world.base.id });
    const calls: readonly [string, string, object | undefined, string][] = [
      ['GET', '/policies', undefined, 'auditor'],
      ['GET', '/computers', undefined, 'auditor'],
      ['GET', '/events', undefined, 'auditor'],
      ['GET', '/enrollment-tokens', undefined, 'auditor'],
      ['POST', '/policies', { name: '' }, 'operator'],
      ['POST', '/computers', { name: '' }, 'operator'],
      ['PUT', `/computers/${id}/power-state`, { state: '' }, 'operator'],
      ['POST', '/enrollment-tokens', { uses: 0 }, 'administrator'],
      ['POST', `/computers/${id}/revoke`, undefined, 'administrator'],
      ['DELETE', `/computers/${id}`, undefined, 'administrator'],
    ];
    const roles = ['auditor', 'operator', 'administrator'];
    for (const role of roles) {
      const { key } = await admin.post<{ key: string }>('/api-keys', { name: `as ${role}`, role });
      const client = createApiClient(server.url());
      for (const [method, path, body, needed] of calls) {
        const headers = { authorization: `Bearer ${key}` };
        const { status } = await client.request(method, path, { headers, ...(body ? { body } : {}) });
        const isAdmitted = roles.indexOf(role) >= roles.indexOf(needed);
        expect(status === 403, `${role} ${method} ${path}: ${status}`).to.equal(!isAdmitted);
      }
    }
    expect((await createApiClient(server.url()).request('GET', '/computers')).status).to.equal(401);
  });

  it('describes every route in the OpenAPI document', async () => {
    const document = await admin.get<{ paths: Record<string, Record<string, unknown>> }>('/openapi.json');
    for (const { method, path } of world.routes) {
      const shown = `/api/v1${path.replaceAll(/:([A-Za-z]+)/g, '{$1}')}`;
      expect(document.paths[shown], `${method} ${shown}`).to.have.property(method);
    }
  });
});
