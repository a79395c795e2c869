import { expect } from 'chai';
import { toBase32, totpCode, totpStep } from '../../../server/access/totp.js';
import { fromBase32 } from '../../support/base32.js';
import { useDatabase } from '../../support/database.js';
import type { ApiClient } from '../../support/api-client.js';
import { DEFAULT_ACCESS_RULES } from '../../../server/access/access-rules.js';
import { startAdminWorld, type AdminWorld } from '../admin-api/admin-world.js';

const PASSWORD = 'a long enough one';
const STEP_MS = 30_000;
const MINUTE = 60_000;
const FACTOR = '/users/current/second-factor';

describe('second factors', function () {
  this.timeout(60_000);
  const database = useDatabase();
  let world: AdminWorld;
  let movedMs = 0;
  before(async () => void (world = await startAdminWorld(database)));
  after(() => world.close());

  const move = (ms: number) => {
    movedMs += ms;
    world.advance(ms);
  };
  /** As the device shows it, whose clock is the server's. */
  const codeOf = (secret: Buffer, steps = 0) => totpCode(secret, totpStep(Date.now() + movedMs) + steps);
  /** Codes are each good once: the next step's time comes first. */
  const nextCode = (secret: Buffer) => {
    move(2 * STEP_MS);
    return codeOf(secret);
  };
  const typeOf = ({ body }: { body: Record<string, unknown> }) => String(body['type']).replace('/problems/', '');
  const signIn = (name: string, more: object = {}) =>
    world.client().request('POST', '/sessions', { body: { name, password: PASSWORD, ...more } });
  const cookieOf = (answer: { headers: Headers; body: Record<string, unknown> }) => ({
    cookie: answer.headers.getSetCookie()[0]?.split(';')[0] ?? '',
    'x-csrf-token': String(answer.body['csrfToken']),
  });
  async function audited(action: string, userId: string): Promise<number> {
    const text = 'SELECT 1 FROM audit_log WHERE action = $1 AND subject_id = $2';
    return (await database.pool.query(text, [action, userId])).rows.length;
  }

  interface Owner {
    readonly id: string;
    readonly name: string;
    readonly client: ApiClient;
    readonly secret: Buffer;
    readonly recoveryCodes: readonly string[];
  }

  async function make(name: string, role = 'operator') {
    const { id } = await (await world.admin()).post<{ id: string }>('/users', { name, role, password: PASSWORD });
    const client = world.client();
    await client.signIn(name, PASSWORD);
    return { id, name, client };
  }

  async function own(name: string, role?: string): Promise<Owner> {
    const made = await make(name, role);
    const begun = await made.client.post<{ secret: string; uri: string }>(FACTOR, undefined);
    expect(begun.uri).to.contain(`secret=${begun.secret}&`);
    const secret = fromBase32(begun.secret);
    const confirmed = await made.client.post<{ recoveryCodes: string[] }>(`${FACTOR}/confirm`, {
      code: codeOf(secret),
    });
    return { ...made, secret, recoveryCodes: confirmed.recoveryCodes };
  }

  it('count for nothing until they are confirmed by a right code', async () => {
    const { client } = await make('half');
    const begun = await client.post<{ secret: string }>(FACTOR, undefined);
    expect(await client.get(FACTOR)).to.deep.equal({ state: 'begun', confirmedAt: null, recoveryCodesLeft: 0 });
    const wrong = await client.request('POST', `${FACTOR}/confirm`, { body: { code: '000000' } });
    expect(wrong.status).to.equal(400);
    expect((await signIn('half')).status).to.equal(201);
    // Begun anew, the former secret is good for nothing.
    await client.post(FACTOR, undefined);
    const former = await client.request('POST', `${FACTOR}/confirm`, {
      body: { code: codeOf(fromBase32(begun.secret)) },
    });
    expect(former.status).to.equal(400);
  });

  it('are asked for at the sign-in, and no code is taken twice', async () => {
    const { name, id, secret, client } = await own('asked');
    expect(await client.get(FACTOR)).to.include({ state: 'on', recoveryCodesLeft: 10 });
    const without = await signIn(name);
    expect([without.status, typeOf(without)]).to.deep.equal([401, 'second-factor-required']);
    const reused = await signIn(name, { code: codeOf(secret) });
    expect([reused.status, typeOf(reused)]).to.deep.equal([401, 'second-factor-refused']);
    const code = nextCode(secret);
    const answers = await Promise.all([signIn(name, { code }), signIn(name, { code }), signIn(name, { code })]);
    expect(answers.map(({ status }) => status).toSorted()).to.deep.equal([201, 401, 401]);
    expect(await audited('session.refused', id)).to.equal(3);
    expect(await audited('user.second-factor-set', id)).to.equal(1);
  });

  it('say nothing to whoever has the password wrong', async () => {
    const { name, secret } = await own('silent');
    const answer = await signIn(name, { password: 'not it at all', code: nextCode(secret) });
    expect([answer.status, typeOf(answer)]).to.deep.equal([401, 'credentials-refused']);
  });

  it('end the other sessions when they are set, and all when an administrator removes them', async () => {
    const { id, client } = await make('others');
    const other = world.client();
    await other.signIn('others', PASSWORD);
    const { secret } = await client.post<{ secret: string }>(FACTOR, undefined);
    await client.post(`${FACTOR}/confirm`, { code: codeOf(fromBase32(secret)) });
    expect((await other.request('GET', '/sessions')).status).to.equal(401);
    expect((await client.request('GET', '/sessions')).status).to.equal(200);
    const admin = await world.admin();
    expect((await admin.request('DELETE', `/users/${id}/second-factor`)).status).to.equal(204);
    expect((await admin.request('DELETE', `/users/${id}/second-factor`)).status).to.equal(404);
    expect((await client.request('GET', '/sessions')).status).to.equal(401);
    expect((await signIn('others')).status).to.equal(201);
    expect(await audited('user.second-factor-removed', id)).to.equal(1);
  });

  it('have ten recovery codes, each good once, however they are typed', async () => {
    const { name, id, recoveryCodes } = await own('lost');
    const [first = '', second = ''] = recoveryCodes;
    const statuses = [
      (await signIn(name, { code: first })).status,
      (await signIn(name, { code: first })).status,
      (await signIn(name, { code: second.toLowerCase().replaceAll('-', ' ') })).status,
    ];
    expect(statuses).to.deep.equal([201, 401, 201]);
    expect(await audited('user.recovery-code-used', id)).to.equal(2);
  });

  it('replace all recovery codes when new ones are asked for', async () => {
    const { name, client, recoveryCodes } = await own('renewing');
    const { recoveryCodes: fresh } = await client.post<{ recoveryCodes: string[] }>(
      `${FACTOR}/recovery-codes`,
      undefined,
    );
    expect((await signIn(name, { code: recoveryCodes[0] })).status).to.equal(401);
    expect((await signIn(name, { code: fresh[0] })).status).to.equal(201);
  });

  it('make guesses wait, however often the right password is given, and over a restart of the manager', async () => {
    const { name, secret, recoveryCodes } = await own('guessed');
    const right = () => codeOf(secret, 1);
    const wrong = () => (right() === '000000' ? '000001' : '000000');
    for (let tries = 0; tries < 5; tries += 1) {
      expect((await signIn(name, { code: wrong() })).status).to.equal(401);
      move(2 * MINUTE);
    }
    // Their waits are over by then; the sixth has to wait for half a minute.
    expect((await signIn(name, { code: wrong() })).status).to.equal(401);
    const restarted = await startAdminWorld(database);
    try {
      restarted.advance(movedMs);
      const body = { name, password: PASSWORD, code: right() };
      const answer = await restarted.client().request('POST', '/sessions', { body });
      // Sealed with another key there, but it does not come so far.
      expect([answer.status, typeOf(answer)]).to.deep.equal([429, 'too-many-requests']);
      expect(Number(answer.headers.get('retry-after'))).to.be.within(1, 60);
    } finally {
      await restarted.close();
    }
    // The wait of the address is a few seconds, that of the code goes on; a recovery code has none.
    move(5_000);
    const waiting = await signIn(name, { code: right() });
    expect([waiting.status, Number(waiting.headers.get('retry-after')) > 30]).to.deep.equal([429, true]);
    move(5_000);
    expect((await signIn(name, { code: recoveryCodes[0] })).status).to.equal(201);
    move(2 * MINUTE);
    expect((await signIn(name, { code: codeOf(secret) })).status).to.equal(201);
  });

  it('tell a secret that was sealed with another key', async () => {
    const { name, id, secret } = await own('sealed');
    const code = nextCode(secret);
    await database.pool.query(`UPDATE second_factors SET secret = 'no secret at all'::bytea WHERE user_id = $1`, [id]);
    const answer = await signIn(name, { code });
    expect([answer.status, typeOf(answer)]).to.deep.equal([409, 'second-factor-unreadable']);
  });

  it('leave neither secret nor code in any table or audit row (T21)', async () => {
    const { secret, recoveryCodes } = await own('canary');
    const written = [secret.toString('base64url'), secret.toString('base64'), toBase32(secret), secret.toString('hex')];
    const codes = [...recoveryCodes, ...recoveryCodes.map((code) => code.replaceAll('-', ''))];
    // Bytes are shown in hexadecimal digits.
    const plain = [...written, ...codes].flatMap((text) => [text, Buffer.from(text).toString('hex')]);
    const tables = ['second_factors', 'recovery_codes', 'audit_log', 'sessions', 'users'];
    for (const table of tables) {
      const { rows } = await database.pool.query<{ text: string }>(`SELECT t::text AS text FROM ${table} t`);
      expect(rows, table).not.to.deep.equal([]);
      for (const { text } of rows) for (const form of plain) expect(text, table).not.to.contain(form);
    }
  });

  it('are none for an API key', async () => {
    const headers = await world.bearer('administrator');
    for (const [method, path] of [
      ['GET', FACTOR],
      ['POST', FACTOR],
      ['DELETE', FACTOR],
      ['POST', `${FACTOR}/recovery-codes`],
      ['DELETE', '/sessions/7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d'],
    ] as const)
      expect((await world.raw({ method, path: `/api/v1${path}`, headers })).status, path).to.equal(404);
  });

  describe('proofs', () => {
    it('are recent for a quarter of an hour after the sign-in, then asked for anew', async () => {
      const admin = await world.admin();
      const body = { name: 'proof', role: 'auditor' };
      move(15 * MINUTE - 1000);
      expect((await admin.request('POST', '/api-keys', { body })).status).to.equal(201);
      move(1001);
      const late = await admin.request('POST', '/api-keys', { body: { ...body, name: 'late' } });
      expect([late.status, typeOf(late)]).to.deep.equal([403, 'proof-required']);
      expect((await admin.request('GET', '/users')).status).to.equal(200);
    });

    it('give the session another cookie and token, and the former ones are nobody', async () => {
      const { name, secret } = await own('prover', 'administrator');
      const opened = await signIn(name, { code: nextCode(secret) });
      const before = cookieOf(opened);
      const prove = (headers: Record<string, string>, more: object) =>
        world.client().request('POST', '/sessions/current/proof', { body: { password: PASSWORD, ...more }, headers });
      move(16 * MINUTE);
      const called = (headers: Record<string, string>) =>
        world.client().request('POST', '/api-keys', { body: { name: `of ${name}`, role: 'auditor' }, headers });
      expect(typeOf(await called(before))).to.equal('proof-required');
      expect(typeOf(await prove(before, {}))).to.equal('second-factor-required');
      expect(typeOf(await prove(before, { password: 'wrong one' }))).to.equal('credentials-refused');
      const proven = await prove(before, { code: nextCode(secret) });
      expect(proven.status).to.equal(200);
      const after = cookieOf(proven);
      expect(after.cookie).not.to.equal(before.cookie);
      expect((await called(before)).status).to.equal(401);
      expect((await called(after)).status).to.equal(201);
      expect(proven.body['expiresAt']).to.equal(opened.body['expiresAt']);
    });

    it('that a person has to give take no API key and no user without a second factor', async () => {
      const { name, secret } = await own('person', 'administrator');
      const path = '/test-authority';
      const plain = await world.admin();
      expect(typeOf(await plain.request('POST', path))).to.equal('second-factor-missing');
      const key = await world.bearer('administrator');
      const byKey = await world.raw({ method: 'POST', path: `/api/v1${path}`, headers: key });
      expect([byKey.status, JSON.parse(byKey.text).type]).to.deep.equal([403, '/problems/forbidden']);
      const headers = cookieOf(await signIn(name, { code: nextCode(secret) }));
      expect((await world.client().request('POST', path, { headers })).status).to.equal(204);
      move(16 * MINUTE);
      expect(typeOf(await world.client().request('POST', path, { headers }))).to.equal('proof-required');
    });
  });

  it('can be demanded of everybody: nothing else is admitted before', async () => {
    const strict = await startAdminWorld(database, { rules: { ...DEFAULT_ACCESS_RULES, secondFactorFor: 'everyone' } });
    try {
      strict.advance(movedMs);
      await make('owing', 'auditor');
      const client = strict.client();
      await client.signIn('owing', PASSWORD);
      const current = await client.get<{ user: object }>('/sessions/current');
      expect(current.user).to.include({ owes: 'second-factor', secondFactor: false });
      const refused = await client.request('GET', '/users');
      expect([refused.status, typeOf(refused)]).to.deep.equal([403, 'second-factor-missing']);
      const { secret } = await client.post<{ secret: string }>(FACTOR, undefined);
      await client.post(`${FACTOR}/confirm`, { code: codeOf(fromBase32(secret)) });
      expect((await client.request('GET', '/users')).status).to.equal(200);
    } finally {
      await strict.close();
    }
  });
});
