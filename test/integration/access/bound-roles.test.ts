import { expect } from 'chai';
import { composeEntities } from '../../../server/compose-entities.js';
import { useDatabase } from '../../support/database.js';
import { startScopeWorld, type Headers, type ScopeWorld } from '../../support/scope-world.js';

const PASSWORD = 'a long enough one';

type Call = [method: string, path: string, body?: object, by?: Headers];

interface Made {
  readonly id: string;
  readonly key: string;
  readonly policyId: string | null;
}

describe('roles that are bound to a policy', function () {
  this.timeout(60_000);
  const database = useDatabase({ entities: composeEntities() });
  let world: ScopeWorld;
  let above: string;
  let customer: string;
  let site: string;
  let other: string;
  /** The administrator of the customer. */
  let as: Headers;
  let made = 0;

  before(async () => {
    world = await startScopeWorld(database);
    const policy = async (name: string, parentId: string | null, settings = {}): Promise<string> =>
      (await world.make('/policies', { name, parentId, settings })).id;
    above = await policy('Acme and others', null, { heartbeatIntervalSeconds: 30 });
    customer = await policy('Acme', above);
    site = await policy('Acme Rome', customer);
    other = await policy('Others', above);
    as = await keyFor(customer);
  });
  after(() => world.admin.close());

  async function keyFor(policyId: string | null, role = 'administrator'): Promise<Headers> {
    made += 1;
    const { key } = await world.make<Made>('/api-keys', { name: `key ${made}`, role, policyId });
    return { authorization: `Bearer ${key}` };
  }

  const user = (name: string, more: object = {}) => ({ name, role: 'operator', password: PASSWORD, ...more });
  const codeOf = async (...[method, path, body, by = as]: Call): Promise<string> => {
    const { status, body: told } = await world.send(method, path, { as: by, body });
    return status < 300 ? String(status) : `${status} ${String(told['type']).replace('/problems/', '')}`;
  };
  const patch = (path: string, body: object, { revision, by = as }: { revision: number; by?: Headers }) =>
    codeOf('PATCH', path, body, { ...by, 'if-match': `"${revision}"` });

  it('make users and keys for their own part, and for it unless another is named', async () => {
    const own = await world.make<Made>('/users', user('own'), as);
    expect(own.policyId).to.equal(customer);
    expect((await world.make<Made>('/users', user('rome', { policyId: site }), as)).policyId).to.equal(site);
    expect((await world.make<Made>('/users', user('everywhere'))).policyId).to.equal(null);
    const key = await world.make<Made>('/api-keys', { name: 'by the customer', role: 'administrator' }, as);
    expect(key.policyId).to.equal(customer);
    expect(await codeOf('POST', '/users', user('x', { policyId: null }))).to.equal('403 beyond-scope');
    expect(await codeOf('POST', '/users', user('x', { policyId: other }))).to.equal('404 policy-not-found');
    expect(await codeOf('POST', '/users', user('x', { policyId: above }))).to.equal('404 policy-not-found');
    expect(await codeOf('POST', '/api-keys', { name: 'x', role: 'auditor', policyId: other })).to.equal(
      '404 policy-not-found',
    );
    const wrong = await world.send('POST', '/users', { as, body: { ...user('x', { policyId: other }), role: 'king' } });
    expect((wrong.body['errors'] as { pointer: string }[]).map(({ pointer }) => pointer)).to.have.members([
      '#/role',
      '#/policyId',
    ]);
  });

  it('cannot be widened by those who have them', async () => {
    const { id } = await world.make<Made>('/users', user('tied'), as);
    const revision = await revisionOf(`/users/${id}`);
    expect(await patch(`/users/${id}`, { policyId: null }, { revision })).to.equal('403 beyond-scope');
    expect(await patch(`/users/${id}`, { policyId: other }, { revision })).to.equal('404 policy-not-found');
    expect(await patch(`/users/${id}`, { policyId: site }, { revision })).to.equal('200');
  });

  it('end the sessions of a user when they change, who then sees the new part alone', async () => {
    const { id } = await world.make<Made>('/users', user('mia', { policyId: site }));
    const mia = world.admin.client();
    await mia.signIn('mia', PASSWORD);
    const current = await mia.get<{ user: Made }>('/sessions/current');
    expect(current.user.policyId).to.equal(site);
    const seen = async () => (await mia.get<{ items: { name: string }[] }>('/policies')).items.map(({ name }) => name);
    expect(await seen()).to.deep.equal(['Acme Rome']);
    expect((await mia.request('GET', '/system')).status).to.equal(403);
    const revision = await revisionOf(`/users/${id}`);
    expect(await patch(`/users/${id}`, { policyId: other }, { revision, by: world.fleet })).to.equal('200');
    expect((await mia.request('GET', '/policies')).status).to.equal(401);
    await mia.signIn('mia', PASSWORD);
    expect(await seen()).to.deep.equal(['Others']);
    const body = { currentPassword: PASSWORD, newPassword: 'another long one' };
    expect((await mia.request('POST', '/users/current/password', { body })).status).to.equal(204);
  });

  it('do not count as the last administrator of everything', async () => {
    await world.make('/users', user('admin of acme', { role: 'administrator', policyId: customer }));
    const { items } = await world.admin
      .admin()
      .then((admin) => admin.get<{ items: { id: string; name: string }[] }>('/users?q=admin'));
    const id = items.find(({ name }) => name === 'admin')?.id ?? '';
    const revision = await revisionOf(`/users/${id}`);
    const by = world.fleet;
    expect(await patch(`/users/${id}`, { policyId: customer }, { revision, by })).to.equal('409 in-use');
    expect(await patch(`/users/${id}`, { role: 'operator' }, { revision, by })).to.equal('409 in-use');
    expect(await codeOf('DELETE', `/users/${id}`, undefined, by)).to.equal('409 in-use');
  });

  it('keep their policy from being deleted, and from being handed to another', async () => {
    const { id } = await world.make('/policies', { name: 'bound', parentId: above });
    const made = await world.make<Made>('/users', user('bound', { policyId: id }));
    for (const path of [`/policies/${id}`, `/policies/${id}?reassignTo=${other}`]) {
      const { status, body } = await world.send('DELETE', path, { as: world.fleet });
      expect([status, body['type']]).to.deep.equal([409, '/problems/in-use']);
      expect(body['users']).to.deep.equal([{ id: made.id, name: 'user bound' }]);
    }
    expect(await codeOf('DELETE', `/users/${made.id}`, undefined, world.fleet)).to.equal('204');
    const key = await world.make<Made>('/api-keys', { name: 'bound', role: 'auditor', policyId: id });
    const answer = await world.send('DELETE', `/policies/${id}?reassignTo=${other}`, { as: world.fleet });
    expect(answer.body['apiKeys']).to.deep.equal([{ id: key.id, name: 'API key bound' }]);
    expect(await codeOf('DELETE', `/api-keys/${key.id}`, undefined, world.fleet)).to.equal('204');
    expect(await codeOf('DELETE', `/policies/${id}`, undefined, world.fleet)).to.equal('204');
  });

  it('are told where settings come from without the names above, and held by the locks there', async () => {
    const path = `/policies/${customer}/settings`;
    const { body } = await world.send('GET', path, { as });
    const { heartbeatIntervalSeconds: setting } = body['settings'] as Record<string, object>;
    expect(setting).to.deep.include({ value: 30, source: { kind: 'above' } });
    const lock = { mode: 'locked' };
    const revision = await revisionOf(`/policies/${above}`);
    const by = { ...world.fleet, 'if-match': `"${revision}"` };
    expect(await codeOf('PUT', `/policies/${above}/locks/heartbeatIntervalSeconds`, lock, by)).to.equal('200');
    const computer = await world.make('/computers', { name: 'web1', policyId: site });
    for (const locked of [path, `/computers/${computer.id}/settings`]) {
      const said = await world.send('PATCH', locked, {
        as: { ...as, 'if-match': `"${await revisionOf(locked)}"` },
        body: { heartbeatIntervalSeconds: 600 },
      });
      expect([said.status, said.body['type']]).to.deep.equal([409, '/problems/setting-locked']);
      expect(said.body['policy']).to.equal(null);
      expect(said.text).not.to.contain('Acme and others').and.not.to.contain(above);
    }
    const preview = await world.send('POST', `/policies/${customer}/preview`, {
      as,
      body: { settings: { heartbeatIntervalSeconds: 600 } },
    });
    expect(preview.status).to.equal(409);
    expect(preview.text).not.to.contain('Acme and others');
  });

  it('give alerts only to people of their own part', async () => {
    const { id } = await world.make('/computers', { name: 'db1', policyId: site });
    const alert = '0a1e0000-0000-4000-8000-000000000001';
    await world.query(
      `INSERT INTO alerts (id, type, severity, state, subject, computer_id, raised_fleet_ms, reason, detail)
       VALUES ($1, 'computer-offline', 'high', 'raised', $2, $3, 0, 'r', '{}')`,
      [alert, id, id],
    );
    await world.make('/users', user('theirs', { policyId: other }));
    const assign = (assignee: string, by?: Headers) => codeOf('POST', `/alerts/${alert}/assign`, { assignee }, by);
    expect(await assign('theirs')).to.equal('400 request-invalid');
    expect(await assign('nobody')).to.equal('400 request-invalid');
    expect(await assign('own')).to.equal('200');
    expect(await assign('theirs', world.fleet)).to.equal('200');
  });

  it('are in the audit log, which is closed to them', async () => {
    expect(await codeOf('GET', '/audit')).to.equal('403 beyond-scope');
    const { body } = await world.send('GET', '/audit?action=api-key.created', { as: world.fleet });
    const keys = (body['items'] as { after: Readonly<Record<string, unknown>> }[]).map(({ after }) => after);
    const { prefix, ...rest } = keys.find(({ name }) => name === 'by the customer') ?? {};
    expect(rest).to.deep.equal({ name: 'by the customer', role: 'administrator', policyId: customer, expiresAt: null });
    expect(prefix, 'not the key').to.match(/^wbk_.{6}$/);
  });

  async function revisionOf(path: string): Promise<number> {
    const { text } = await world.send('GET', path, { as: world.fleet });
    const { revision } = JSON.parse(text) as { revision?: number };
    if (revision !== undefined) return revision;
    const { headers } = await world.admin.raw({ method: 'GET', path: `/api/v1${path}`, headers: { ...world.fleet } });
    return Number(String(headers['etag']).replaceAll('"', ''));
  }
});
