import { expect } from 'chai';
import { createSessionRepository } from '../../../server/sessions/session-repository.js';
import { useDatabase } from '../../support/database.js';
import { ADMIN_PASSWORD, startAdminWorld, type AdminWorld } from '../admin-api/admin-world.js';

const HOUR = 3_600_000;

describe('sessions', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let world: AdminWorld;
  beforeEach(async () => void (world = await startAdminWorld(database)));
  afterEach(() => world.close());

  const signIn = (name: string, password: string) =>
    world.client().request('POST', '/sessions', { body: { name, password } });

  it('begin with the user and a token, which can be asked for again', async () => {
    const admin = world.client();
    const answer = await admin.request<{ user: object; csrfToken: string }>('POST', '/sessions', {
      body: { name: 'admin', password: ADMIN_PASSWORD },
    });
    expect(answer.status).to.equal(201);
    expect(answer.body.user).to.include({ name: 'admin', role: 'administrator' });
    const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? '';
    const current = await admin.request('GET', '/sessions/current', { headers: { cookie } });
    expect(current.body).to.deep.equal(answer.body);
  });

  it('end on the server when one signs out', async () => {
    const admin = await world.admin();
    const answer = await admin.request('DELETE', '/sessions/current');
    expect(answer.status).to.equal(204);
    expect(answer.headers.getSetCookie()[0]).to.match(/^wardbeat=; .*Max-Age=0/);
    expect((await admin.request('GET', '/sessions/current')).status).to.equal(401);
  });

  it('are listed to their user alone, who ends one or another; an administrator ends all of them', async () => {
    const admin = await world.admin();
    const { id } = await admin.post<{ id: string }>('/users', {
      name: 'two',
      role: 'auditor',
      password: 'of two alone',
    });
    const [one, other] = [world.client(), world.client()];
    await one.signIn('two', 'of two alone');
    await other.signIn('two', 'of two alone');
    interface Listed {
      readonly items: readonly { readonly id: string; readonly current: boolean; readonly sourceAddress: string }[];
    }
    const { items } = await one.get<Listed>('/sessions');
    expect(items.map(({ current }) => current)).to.have.members([true, false]);
    expect(items[0]).to.include({ sourceAddress: '127.0.0.1', userAgent: 'node' });
    expect((await admin.get<Listed>(`/users/${id}/sessions`)).items.map((item) => item.id)).to.deep.equal(
      items.map((item) => item.id),
    );
    const [foreign] = (await admin.get<Listed>('/sessions')).items;
    expect((await one.request('DELETE', `/sessions/${foreign?.id}`)).status).to.equal(404);
    const ended = items.find(({ current }) => !current)?.id;
    expect((await one.request('DELETE', `/sessions/${ended}`)).status).to.equal(204);
    expect((await other.request('GET', '/sessions')).status).to.equal(401);
    expect((await one.request('GET', '/sessions')).status).to.equal(200);
    expect((await admin.request('DELETE', `/users/${id}/sessions`)).status).to.equal(204);
    expect((await one.request('GET', '/sessions')).status).to.equal(401);
    await admin.request('DELETE', `/users/${id}`);
  });

  it('show what a browser called itself as one short line without anything unseen', async () => {
    const admin = await world.admin();
    const { name, password } = { name: 'browsing', password: 'of browsing alone' };
    const { id } = await admin.post<{ id: string }>('/users', { name, role: 'auditor', password });
    const headers = { 'user-agent': `\u00adCurl\u0085\u00e9 ${'x'.repeat(300)}` };
    const body = { name, password };
    expect((await world.client().request('POST', '/sessions', { body, headers })).status).to.equal(201);
    const { items } = await admin.get<{ items: { userAgent: string }[] }>(`/users/${id}/sessions`);
    expect(items.map(({ userAgent }) => userAgent)).to.deep.equal([`Curl\u00e9 ${'x'.repeat(250)}`]);
    await admin.request('DELETE', `/users/${id}`);
  });

  it('of a user are found by the index', async () => {
    const admin = await world.admin();
    const { user } = await admin.get<{ user: { id: string } }>('/sessions/current');
    const client = await database.pool.connect();
    const plan: string[] = [];
    const explain = {
      async query<T>(text: string, parameters: readonly unknown[] = []): Promise<T[]> {
        const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`, [...parameters]);
        plan.push(...rows.map((row) => row['QUERY PLAN']));
        return [];
      },
    };
    try {
      await client.query('BEGIN; SET LOCAL enable_seqscan = off');
      await createSessionRepository(explain).listOfUser(
        user.id,
        { now: new Date(), idleSince: new Date(0) },
        { limit: 10 },
      );
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
    expect(plan.join('\n')).to.contain('sessions_user');
  });

  it('page', async () => {
    const admin = await world.admin();
    await Promise.all([world.admin(), world.admin(), world.admin()]);
    interface Page {
      readonly items: readonly { readonly id: string }[];
      readonly next: string | null;
    }
    const all = await admin.get<Page>('/sessions?limit=100');
    const seen: string[] = [];
    for (let next: string | null = ''; next !== null;) {
      const page: Page = await admin.get<Page>(`/sessions?limit=1${next === '' ? '' : `&cursor=${next}`}`);
      seen.push(...page.items.map(({ id }) => id));
      ({ next } = page);
    }
    expect(seen).to.deep.equal(all.items.map(({ id }) => id));
  });

  it('are none for an API key', async () => {
    const headers = await world.bearer('auditor');
    for (const method of ['GET', 'DELETE'])
      expect((await world.raw({ method, path: '/api/v1/sessions/current', headers })).status).to.equal(404);
  });

  it('end after 8 hours without a call, not before', async () => {
    const admin = await world.admin();
    world.advance(8 * HOUR - 60_000);
    expect((await admin.request('GET', '/users')).status).to.equal(200);
    world.advance(8 * HOUR - 60_000);
    expect((await admin.request('GET', '/users')).status).to.equal(200);
    world.advance(8 * HOUR + 1);
    expect((await admin.request('GET', '/users')).status).to.equal(401);
  });

  it('end after 24 hours in any case, and are removed at the next sign-in', async () => {
    const admin = await world.admin();
    for (let hours = 0; hours < 24; hours += 6) {
      expect((await admin.request('GET', '/users')).status).to.equal(200);
      world.advance(6 * HOUR);
    }
    expect((await admin.request('GET', '/users')).status).to.equal(401);
    await world.admin();
    const { rows } = await database.pool.query('SELECT 1 FROM sessions');
    expect(rows).to.have.length(1);
  });

  it('are refused alike for a wrong password and an unknown name', async () => {
    const answers = [await signIn('admin', 'wrong'), await signIn('nobody', 'wrong')];
    for (const { status, body } of answers) {
      expect(status).to.equal(401);
      expect(body).to.include({ type: '/problems/credentials-refused', title: 'Name or password is wrong' });
    }
    expect(answers[0]?.body['detail']).to.equal(answers[1]?.body['detail']);
  });

  it('are refused more and more slowly, which a signed-in user does not feel', async () => {
    await world.admin();
    const statuses: number[] = [];
    for (let tries = 0; tries < 6; tries += 1) statuses.push((await signIn('stranger', 'guess')).status);
    expect(statuses).to.deep.equal([401, 401, 401, 401, 401, 429]);
    await world.admin();
    world.advance(1_001);
    expect((await signIn('stranger', 'guess')).status).to.equal(401);
    world.advance(1_001);
    const waiting = await signIn('stranger', 'guess');
    expect(waiting.status).to.equal(429);
    expect(Number(waiting.headers.get('retry-after'))).to.equal(1);
  });

  it('leave audit rows: opened, refused, ended, with the source and without what was typed', async () => {
    const before = (await database.pool.query<{ id: string }>('SELECT id FROM audit_log')).rows.map(({ id }) => id);
    await signIn('admin', 'wrong');
    await signIn('my secret password', 'typed into the wrong field');
    await (await world.admin()).request('DELETE', '/sessions/current');
    const { rows } = await database.pool.query(
      'SELECT action, actor_name, source_address, after FROM audit_log WHERE id <> ALL($1::uuid[])',
      [before],
    );
    expect(rows.map(({ action }) => action as string)).to.have.members([
      'session.ended',
      'session.created',
      'session.refused',
      'session.refused',
    ]);
    expect(rows.every(({ source_address: source }) => source === '127.0.0.1')).to.equal(true);
    expect(JSON.stringify(rows)).not.to.contain('secret');
  });
});
