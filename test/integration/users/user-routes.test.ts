import { expect } from 'chai';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { MANAGER_ACTOR } from '../../../server/access/actor.js';
import { composeUsers } from '../../../server/admin-api/compose-admin-api.js';
import { createAuditLog } from '../../../server/audit/index.js';
import { createUnitOfWork } from '../../../server/database/in-transaction.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { createPasswordHasher } from '../../../server/users/index.js';
import { useDatabase } from '../../support/database.js';
import { makeDataDir, removeDataDir } from '../../support/manager-process.js';
import { startAdminWorld, type AdminWorld } from '../admin-api/admin-world.js';

interface UserBody {
  readonly id: string;
  readonly name: string;
  readonly role: string;
}

describe('users', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let world: AdminWorld;
  before(async () => void (world = await startAdminWorld(database)));
  after(() => world.close());

  const PASSWORD = 'a long enough one';
  async function make(name: string, role = 'operator'): Promise<UserBody> {
    return (await world.admin()).post<UserBody>('/users', { name, role, password: PASSWORD });
  }

  it('are made, listed and shown without their password', async () => {
    const admin = await world.admin();
    const rex = await make('rex', 'auditor');
    const OF_ACCESS = ['mustChangePassword', 'disabled', 'secondFactor', 'lastSignedInAt'];
    expect(rex).to.have.all.keys('id', 'name', 'role', 'policyId', 'createdAt', 'passwordChangedAt', ...OF_ACCESS);
    expect(await admin.get(`/users/${rex.id}`)).to.deep.equal(rex);
    const { items } = await admin.get<{ items: UserBody[] }>('/users?q=RE');
    expect(items).to.deep.equal([rex]);
  });

  it('have unique names', async () => {
    await make('ada');
    const admin = await world.admin();
    const body = { name: 'ada', role: 'auditor', password: PASSWORD };
    expect((await admin.request('POST', '/users', { body })).status).to.equal(409);
  });

  it('lose their sessions with a new role, and have the new one afterwards', async () => {
    const admin = await world.admin();
    const { id } = await make('mia', 'auditor');
    const mia = world.client();
    await mia.signIn('mia', PASSWORD);
    await admin.patch(`/users/${id}`, { role: 'operator' });
    expect((await mia.request('GET', '/users')).status).to.equal(401);
    await mia.signIn('mia', PASSWORD);
    const current = await mia.get<{ user: UserBody }>('/sessions/current');
    expect(current.user.role).to.equal('operator');
  });

  it('refuse a change that is based on an older one', async () => {
    const admin = await world.admin();
    const { id } = await make('old');
    const etag = (await admin.request('GET', `/users/${id}`)).headers.get('etag') ?? '';
    await admin.patch(`/users/${id}`, { role: 'auditor' });
    const stale = await admin.request('PATCH', `/users/${id}`, { body: {}, headers: { 'if-match': etag } });
    expect(stale.status).to.equal(412);
    expect((await admin.request('PATCH', `/users/${id}`, { body: {} })).status).to.equal(428);
  });

  it('change their own password, which ends their sessions', async () => {
    await make('eve');
    const eve = world.client();
    await eve.signIn('eve', PASSWORD);
    const wrong = { currentPassword: 'not it', newPassword: 'another long one' };
    expect((await eve.request('POST', '/users/current/password', { body: wrong })).status).to.equal(400);
    const right = { currentPassword: PASSWORD, newPassword: 'another long one' };
    expect((await eve.request('POST', '/users/current/password', { body: right })).status).to.equal(204);
    expect((await eve.request('GET', '/users')).status).to.equal(401);
    await eve.signIn('eve', 'another long one');
  });

  it('choose a password of their own before anything else, where one was given to them', async () => {
    const admin = await world.admin();
    await admin.post('/users', { name: 'given', role: 'administrator', password: PASSWORD, mustChangePassword: true });
    const given = world.client();
    await given.signIn('given', PASSWORD);
    const { user } = await given.get<{ user: object }>('/sessions/current');
    expect(user).to.include({ owes: 'password' });
    for (const [method, path] of [
      ['GET', '/users'],
      ['POST', '/api-keys'],
      ['POST', '/users/current/second-factor'],
      ['GET', '/audit'],
    ] as const) {
      const { status, body } = await given.request(method, path, method === 'GET' ? {} : { body: {} });
      expect([status, body['type']], path).to.deep.equal([403, '/problems/password-change-required']);
    }
    const change = (newPassword: string) =>
      given.request('POST', '/users/current/password', { body: { currentPassword: PASSWORD, newPassword } });
    // The present one is no guess, however often it is sent.
    for (let tries = 0; tries < 6; tries += 1) expect((await change(PASSWORD)).status).to.equal(400);
    expect((await change('one of his own')).status).to.equal(204);
    await given.signIn('given', 'one of his own');
    expect((await given.request('GET', '/users')).status).to.equal(200);
    const listed = await admin.get<{ items: { lastSignedInAt: string; id: string }[] }>('/users?q=given');
    expect(Date.parse(listed.items[0]?.lastSignedInAt ?? '')).to.be.closeTo(Date.now(), 60_000);
    await admin.request('DELETE', `/users/${listed.items[0]?.id}`);
  });

  it('that are disabled neither go on nor sign in, until they are enabled', async () => {
    const admin = await world.admin();
    const { id } = await make('away');
    const away = world.client();
    await away.signIn('away', PASSWORD);
    expect(await admin.patch(`/users/${id}`, { disabled: true })).to.include({ disabled: true });
    expect((await away.request('GET', '/users')).status).to.equal(401);
    const body = { name: 'away', password: PASSWORD };
    const refused = await world.client().request('POST', '/sessions', { body });
    expect([refused.status, refused.body['type']]).to.deep.equal([401, '/problems/credentials-refused']);
    await admin.patch(`/users/${id}`, { disabled: false });
    await away.signIn('away', PASSWORD);
    const me = (await admin.get<{ user: UserBody }>('/sessions/current')).user;
    const etag = (await admin.request('GET', `/users/${me.id}`)).headers.get('etag') ?? '';
    const last = { body: { disabled: true }, headers: { 'if-match': etag } };
    expect((await admin.request('PATCH', `/users/${me.id}`, last)).status).to.equal(409);
  });

  it('keep an administrator: the last one is neither removed nor demoted, by two at once either', async () => {
    const admin = await world.admin();
    const me = (await admin.get<{ user: UserBody }>('/sessions/current')).user;
    expect((await admin.request('DELETE', `/users/${me.id}`)).status).to.equal(409);
    const etag = (await admin.request('GET', `/users/${me.id}`)).headers.get('etag') ?? '';
    const demotion = { body: { role: 'auditor' }, headers: { 'if-match': etag } };
    expect((await admin.request('PATCH', `/users/${me.id}`, demotion)).status).to.equal(409);
    const second = await make('second', 'administrator');
    const key = await world.bearer('administrator');
    const remove = (id: string) => world.raw({ method: 'DELETE', path: `/api/v1/users/${id}`, headers: key });
    const both = await Promise.all([remove(me.id), remove(second.id)]);
    expect(both.map(({ status }) => status).sort()).to.deep.equal([204, 409]);
    const { rows } = await database.pool.query(`SELECT 1 FROM users WHERE role = 'administrator'`);
    expect(rows).to.have.length(1);
  });
});

describe('the first administrator', function () {
  this.timeout(30_000);
  const database = useDatabase();
  let dataDir: string;
  beforeEach(() => void (dataDir = makeDataDir()));
  afterEach(async () => {
    removeDataDir(dataDir);
    await database.pool.query('DELETE FROM users');
  });

  function users() {
    const [clock, random] = [createSystemClock(), createSystemRandom()];
    const inTransaction = createUnitOfWork(database.dataSource, { clock, random });
    const audit = createAuditLog({ clock, random });
    const passwords = createPasswordHasher({ random, log2N: 10 });
    return composeUsers({ clock, random, inTransaction, audit, passwords, dataDir, sql: sqlOfClient(database.pool) });
  }
  const path = () => join(dataDir, 'first-admin-password');

  it('gets a random password that only its owner can read, until it is changed', async () => {
    const { users: service, firstAdministrator } = users();
    const { generated = '' } = await firstAdministrator.ensure({});
    expect(generated).to.have.length.greaterThan(20);
    expect(readFileSync(path(), 'utf8')).to.equal(`${generated}\n`);
    expect(statSync(path()).mode & 0o777).to.equal(0o600);
    const made = await service.verify('admin', generated);
    expect([made.isRight, made.user?.mustChangePassword]).to.deep.equal([true, true]);
    const { password: changed } = await firstAdministrator.resetPassword('admin', MANAGER_ACTOR);
    expect(existsSync(path())).to.equal(false);
    expect((await service.verify('admin', generated)).isRight).to.equal(false);
    expect((await service.verify('admin', changed)).isRight).to.equal(true);
    expect((await service.verify('admin', changed)).user?.mustChangePassword).to.equal(true);
  });

  it('takes the configured password, which counts no more once a user exists', async () => {
    const { users: service, firstAdministrator } = users();
    expect(await firstAdministrator.ensure({ password: 'configured' })).to.deep.equal({ generated: undefined });
    await firstAdministrator.ensure({ password: 'another one' });
    expect(await firstAdministrator.ensure({})).to.deep.equal({ generated: undefined });
    const made = await service.verify('admin', 'configured');
    expect([made.isRight, made.user?.mustChangePassword]).to.deep.equal([true, false]);
    expect(existsSync(path())).to.equal(false);
  });

  it('is made once when two managers start at once', async () => {
    const answers = await Promise.all([
      users().firstAdministrator.ensure({ password: 'from the first' }),
      users().firstAdministrator.ensure({ password: 'from the second' }),
    ]);
    expect(answers).to.have.length(2);
    expect((await database.pool.query('SELECT name FROM users')).rows).to.deep.equal([{ name: 'admin' }]);
  });

  it('is named when somebody unknown is to get a new password', async () => {
    const failure = await users()
      .firstAdministrator.resetPassword('stranger', MANAGER_ACTOR)
      .catch((error: unknown) => error);
    expect(failure).to.include({ code: 'user-not-found' });
  });
});
