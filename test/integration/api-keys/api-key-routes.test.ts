import { expect } from 'chai';
import { useDatabase } from '../../support/database.js';
import { ADMIN_PASSWORD, startAdminWorld, type AdminWorld } from '../admin-api/admin-world.js';

interface Created {
  readonly id: string;
  readonly key: string;
}

describe('API keys', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let world: AdminWorld;
  before(async () => void (world = await startAdminWorld(database)));
  after(() => world.close());

  const call = async (key: string) =>
    (await world.raw({ method: 'GET', path: '/api/v1/users', headers: { authorization: `Bearer ${key}` } })).status;

  it('are shown once, work, are listed without the key, and stop at once when removed', async () => {
    const admin = await world.admin();
    const { id, key } = await admin.post<Created>('/api-keys', { name: 'robot', role: 'auditor' });
    expect(key).to.match(/^wbk_[\w-]{43}$/);
    expect(await call(key)).to.equal(200);
    const listed = await admin.get<{ items: Created[] }>('/api-keys?q=robot');
    expect(listed.items[0]).to.include({ id, name: 'robot', role: 'auditor', createdBy: 'admin', expiresAt: null });
    expect(JSON.stringify(listed)).not.to.contain(key);
    expect((await admin.request('DELETE', `/api-keys/${id}`)).status).to.equal(204);
    expect(await call(key)).to.equal(401);
    expect((await admin.request('DELETE', `/api-keys/${id}`)).status).to.equal(404);
  });

  it('tell how they begin, when they were last used and from where', async () => {
    const admin = await world.admin();
    const { id, key } = await admin.post<Created>('/api-keys', { name: 'used', role: 'auditor' });
    const listed = async () =>
      (await admin.get<{ items: (Created & { lastUsedAt: string })[] }>('/api-keys?q=used')).items[0];
    expect(await listed()).to.include({ id, prefix: key.slice(0, 10), lastUsedAt: null, lastUsedFrom: null });
    await call(key);
    const first = await listed();
    expect(first).to.include({ lastUsedFrom: '127.0.0.1' });
    world.advance(30_000);
    await call(key);
    expect((await listed())?.lastUsedAt).to.equal(first?.lastUsedAt);
    world.advance(31_000);
    await call(key);
    expect(Date.parse((await listed())?.lastUsedAt ?? '') - Date.parse(first?.lastUsedAt ?? '')).to.be.within(
      61e3,
      90e3,
    );
  });

  it('have unique names', async () => {
    const admin = await world.admin();
    const body = { name: 'twice', role: 'auditor' };
    expect((await admin.request('POST', '/api-keys', { body })).status).to.equal(201);
    const second = await admin.request('POST', '/api-keys', { body });
    expect(second.status).to.equal(409);
    expect(second.body['type']).to.equal('/problems/name-taken');
  });

  it('expire', async () => {
    const admin = await world.admin();
    const { key } = await admin.post<Created>('/api-keys', { name: 'short', role: 'auditor', expiresInSeconds: 60 });
    expect(await call(key)).to.equal(200);
    world.advance(60_000);
    expect(await call(key)).to.equal(401);
  });

  it('page without a repeat or a gap while others are made', async () => {
    const admin = await world.admin();
    for (let index = 0; index < 7; index += 1)
      await admin.post('/api-keys', { name: `page ${index * 2}`, role: 'auditor' });
    const names: string[] = [];
    let cursor = '';
    for (let page = 0; page < 10 && (page === 0 || cursor !== ''); page += 1) {
      const query = `/api-keys?q=page&limit=3&sort=-name${cursor}`;
      const answer = await admin.get<{ items: { name: string }[]; next: string | null }>(query);
      names.push(...answer.items.map(({ name }) => name));
      await admin.post('/api-keys', { name: `page new ${page}`, role: 'auditor' });
      cursor = answer.next === null ? '' : `&cursor=${answer.next}`;
    }
    const old = names.filter((name) => !name.includes('new'));
    expect(old).to.deep.equal(['page 8', 'page 6', 'page 4', 'page 2', 'page 12', 'page 10', 'page 0']);
  });

  it('leave no secret in any table: passwords, cookies, tokens and keys are hashed or absent', async () => {
    const canaries = ['canary password of a user', 'canary password changed'];
    const admin = await world.admin();
    const { id } = await admin.post<Created>('/users', { name: 'canary', role: 'operator', password: canaries[0] });
    await admin.patch(`/users/${id}`, { password: canaries[1] });
    const { key } = await admin.post<Created>('/api-keys', { name: 'canary', role: 'auditor' });
    const login = await world.client().request<{ csrfToken: string }>('POST', '/sessions', {
      body: { name: 'canary', password: canaries[1] },
    });
    const cookie = /^wardbeat=([^;]+)/.exec(login.headers.getSetCookie()[0] ?? '')?.[1] ?? '';
    const secrets = [...canaries, ADMIN_PASSWORD, key, key.slice(4), cookie, login.body.csrfToken];
    expect(secrets.every((secret) => secret.length > 10)).to.equal(true);
    const tables = await database.pool.query<{ name: string }>(
      `SELECT DISTINCT table_name AS name FROM information_schema.role_table_grants
       WHERE table_schema = 'public' AND privilege_type = 'SELECT' AND grantee = current_user ORDER BY 1`,
    );
    let rowsSeen = 0;
    for (const { name } of tables.rows) {
      const { rows } = await database.pool.query<{ text: string }>(`SELECT t::text AS text FROM "${name}" t`);
      rowsSeen += rows.length;
      // A bytea column shows as hex.
      const forms = secrets.flatMap((secret) => [secret, Buffer.from(secret).toString('hex')]);
      for (const { text } of rows) for (const form of forms) expect(text, name).not.to.contain(form);
    }
    expect(rowsSeen).to.be.greaterThan(10);
  });
});
