import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { readDto } from '../../../server/admin-api/read-dto.js';
import { CreateChannelBody } from '../../../server/notifications/channel-dto.js';
import { CreateRoutingBody } from '../../../server/notifications/routing-dto.js';
import { routingDependents } from '../../../server/notifications/index.js';
import { useDatabase } from '../../support/database.js';
import { problemOf } from '../../support/domain-world.js';
import { openNotificationWorld, RECEIVER_HOST, type NotificationWorld } from '../../support/notification-world.js';
import { differencesFrom, schemaOfAnswer, type OpenApi } from '../../support/openapi-checker.js';
import { startHttpsReceiver, startMailReceiver, type Receiver } from '../../support/receivers.js';

const HOOK = 'https://hooks.example/services/canary-url';
const MAIL = {
  type: 'email',
  host: 'mail.example',
  from: 'wardbeat@site.example',
  to: ['ops@site.example'],
  user: 'wardbeat',
  password: 'canary-password',
};

describe('Notification channels and routes', function () {
  this.timeout(30_000);
  let world: NotificationWorld;
  const opened: Receiver[] = [];
  after(async () => {
    for (const receiver of opened) await receiver.close();
    await world.close();
  });
  const database = useDatabase();
  before(async () => void (world = await openNotificationWorld(database)));
  beforeEach(() => world.clear());

  const patch = (id: string, body: object, ifMatch = 1) =>
    world.call<Record<string, unknown>>('patch', '/notification-channels/:id', { params: { id }, ifMatch, body });
  const get = (id: string) =>
    world.call<Record<string, unknown>>('get', '/notification-channels/:id', { params: { id } });

  it('are made with defaults, listed, changed and removed, each with an audit row', async () => {
    const { id } = await world.channel({ ...MAIL, name: 'mail' });
    const { body, revision } = await get(id);
    expect([revision, body['port'], body['security']]).to.deep.equal([1, 587, 'starttls']);
    expect(body).to.include({ name: 'mail', target: 'ops@site.example by mail.example:587', lastError: null });
    const changed = await patch(id, { name: 'post', to: ['a@b.example', 'c@d.example'] });
    expect(changed.body).to.deep.include({ name: 'post', to: ['a@b.example', 'c@d.example'], revision: 2 });
    expect((await problemOf(patch(id, { name: 'again' }))).code).to.equal('revision-stale');
    const { body: page } = await world.call<{ items: { name: string }[] }>('get', '/notification-channels', {
      query: { q: 'POS' },
    });
    expect(page.items.map(({ name }) => name)).to.deep.equal(['post']);
    await world.call('delete', '/notification-channels/:id', { params: { id } });
    expect((await problemOf(get(id))).code).to.equal('notification-channel-not-found');
    expect(world.audit.entries.map(({ action, subjectId }) => [action, subjectId === id])).to.deep.equal([
      ['notification-channel.created', true],
      ['notification-channel.changed', true],
      ['notification-channel.deleted', true],
    ]);
  });

  it('do not hand a password to another server than it was given for', async () => {
    const { id } = await world.channel(MAIL);
    for (const change of [{ host: 'evil.example' }, { port: 2525 }, { security: 'none' }]) {
      const { errors } = await problemOf(patch(id, change));
      expect(errors.map(({ pointer }) => pointer)).to.deep.equal(['#/password']);
    }
    const moved = await patch(id, { host: 'other.example', password: 'canary-password-2' });
    expect(moved.body).to.include({ host: 'other.example', revision: 2 });
    const anonymous = await patch(id, { host: 'third.example', user: null }, 2);
    expect(anonymous.body).to.include({ host: 'third.example', user: null });
  });

  const bad: readonly (readonly [string, Record<string, unknown>, readonly string[]])[] = [
    ['a host with a port', { ...MAIL, host: 'mail.example:25' }, ['#/host']],
    ['a number in disguise', { ...MAIL, host: '0x7f.1' }, ['#/host']],
    ['a password without a user', { ...MAIL, user: undefined }, ['#/user']],
    ['a member of another type', { type: 'webhook', url: HOOK, host: 'x' }, ['#/host']],
    ['plain http', { type: 'webhook', url: 'http://hooks.example/' }, ['#/url']],
    ['a URL with a password', { type: 'slack', url: 'https://a:canary@hooks.example/' }, ['#/url']],
    ['nothing but a type', { type: 'syslog' }, ['#/host', '#/protocol']],
    ['a CA for what is not encrypted', { type: 'syslog', host: 'siem', protocol: 'udp', caPem: 'x' }, ['#/caPem']],
    ['a CA that is none', { type: 'webhook', url: HOOK, caPem: 'x' }, ['#/caPem']],
    [
      'a private key for a CA',
      { type: 'webhook', url: HOOK, caPem: '-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----' },
      ['#/caPem'],
    ],
  ];
  for (const [name, body, pointers] of bad)
    it(`refuse ${name}`, async () => {
      const { code, errors } = await problemOf(world.channel(body));
      expect([code, errors.map(({ pointer }) => pointer)]).to.deep.equal(['request-invalid', pointers]);
      expect(JSON.stringify(errors)).not.to.contain('canary');
    });

  const hostile: readonly (readonly [string, object])[] = [
    ['a recipient with a line end', { ...MAIL, to: ['a@b.example\r\nBcc: all@site.example'] }],
    ['a sender with a name', { ...MAIL, from: 'Boss <boss@site.example>' }],
    ['a user with a line end', { ...MAIL, user: 'a\r\nMAIL' }],
    ['a host with a NUL', { ...MAIL, host: 'a\0b' }],
    ['a name with a mark of direction', { ...MAIL, name: 'a\u202eb' }],
    ['no recipient', { ...MAIL, to: [] }],
    ['a port too high', { ...MAIL, port: 65_536 }],
  ];
  for (const [name, body] of hostile)
    it(`refuse ${name} at the door`, async () => {
      const refused = problemOf(Promise.resolve().then(() => readDto(CreateChannelBody, { name: 'x', ...body })));
      expect((await refused).code).to.equal('request-invalid');
    });

  it('refuse routes to what is not there, and go only when no route leads to them', async () => {
    const { id } = await world.channel({ type: 'slack', url: HOOK });
    const routeId = await world.route(id, { name: 'all' });
    const unknown = world.random.uuid();
    const create = (body: object) => world.call('post', '/notification-routes', { body: { name: 'x', ...body } });
    expect((await problemOf(create({ channelId: unknown }))).errors[0]?.pointer).to.equal('#/channelId');
    expect((await problemOf(create({ channelId: id, policyId: unknown }))).errors[0]?.pointer).to.equal('#/policyId');
    expect((await problemOf(create({ channelId: id, name: 'all' }))).code).to.equal('name-taken');
    const remove = () => world.call('delete', '/notification-channels/:id', { params: { id } });
    expect((await problemOf(remove())).code).to.equal('in-use');
    await world.call('delete', '/notification-routes/:id', { params: { id: routeId } });
    await remove();
  });

  for (const [name, body] of [
    ['a severity that is none', { minSeverity: 'loud' }],
    ['a type that is none', { types: ['computer-offline', 'x'] }],
    ['no types', { types: [] }],
    ['a label without a key', { label: '=x' }],
    ['a flag that is none', { enabled: 'yes' }],
    ['a reminder of nought', { repeatMinutes: 0 }],
  ] as const)
    it(`refuse a route with ${name}`, async () => {
      const whole = { name: 'x', channelId: world.random.uuid(), ...body };
      const refused = problemOf(Promise.resolve().then(() => readDto(CreateRoutingBody, whole)));
      expect((await refused).code).to.equal('request-invalid');
    });

  it('keep their policy from being deleted, or follow it', async () => {
    const [from, to] = [await world.policy('from'), await world.policy('to')];
    const { id } = await world.channel({ type: 'slack', url: HOOK });
    const routeId = await world.route(id, { name: 'site', policyId: from });
    const { sql } = world.deps;
    expect(await routingDependents.namesOf(sql, from, 5)).to.deep.equal([
      { id: routeId, name: 'notification route site' },
    ]);
    await routingDependents.hold(sql, from);
    await routingDependents.reassign(sql, { from, to } as never);
    const { body } = await world.call<object>('get', '/notification-routes/:id', { params: { id: routeId } });
    expect(body).to.include({ policyId: to, revision: 2 });
  });

  it('say that their secrets cannot be opened, and are mended by new ones', async () => {
    const { id } = await world.channel({ type: 'slack', url: HOOK });
    await database.pool.query(`UPDATE notification_channels SET secrets = set_byte(secrets, 14, 0) WHERE id = $1`, [
      id,
    ]);
    await database.pool.query(`UPDATE notification_channels SET secrets = set_byte(secrets, 14, 1) WHERE id = $1`, [
      id,
    ]);
    const test = await world.call<object>('post', '/notification-channels/:id/test', { params: { id } });
    expect(test.body).to.include({ delivered: false, code: 'secrets-unreadable' });
    expect((await problemOf(patch(id, { name: 'x' }))).code).to.equal('notification-secrets-unreadable');
    expect((await patch(id, { url: `${HOOK}/new` })).body).to.include({ origin: 'https://hooks.example' });
    const rotate = world.call('post', '/notification-channels/:id/rotate-secret', { params: { id } });
    expect((await problemOf(rotate)).code).to.equal('notification-channel-unsigned');
  });

  it('answer as docs/openapi.json says', async () => {
    const api = JSON.parse(readFileSync('docs/openapi.json', 'utf8')) as OpenApi;
    const { caPem } = world.tls;
    const host = RECEIVER_HOST;
    const made = [
      await world.channel(MAIL),
      await world.channel({ type: 'webhook', url: HOOK, caPem }),
      await world.channel({ type: 'slack', url: HOOK }),
      await world.channel({ type: 'syslog', host, protocol: 'tls', facility: 'auth', port: 1 }),
    ];
    const channelId = made[3]!.id;
    const routeId = await world.route(channelId, { groupSeconds: 0, types: ['clock-drift'], label: 'a:b' });
    const { body: route } = await world.call<{ label: string }>('get', '/notification-routes/:id', {
      params: { id: routeId },
    });
    expect(route.label).to.equal('a=b');
    await world.route(channelId, { groupSeconds: 0, minSeverity: 'low', repeatMinutes: 5 });
    await world.tell('raised', await world.alert('computer-offline', await world.computer('web1')));
    await world.deliver();
    const [delivery] = await world.deliveries();
    expect(delivery).to.include({ state: 'failed' });
    const ids = { channels: made.map(({ id }) => id), routes: [routeId], deliveries: [delivery!.id] };
    const differences: string[] = [];
    const look = async (path: string, id?: string) => {
      const { body } = await world.call('get', path, id === undefined ? {} : { params: { id } });
      const schema = schemaOfAnswer(api.paths[`/api/v1${path.replace(':id', '{id}')}`]?.['get'])!;
      // As it goes over the wire.
      const value: unknown = JSON.parse(JSON.stringify(body));
      differences.push(...differencesFrom(api, schema, value).map((text) => `${path} ${text}`));
    };
    for (const [noun, known] of Object.entries(ids)) {
      await look(`/notification-${noun}`);
      for (const id of known) await look(`/notification-${noun}/:id`, id);
    }
    const rotated = await world.call('post', '/notification-channels/:id/rotate-secret', {
      params: { id: made[1]!.id },
    });
    const schema = schemaOfAnswer(api.paths['/api/v1/notification-channels/{id}/rotate-secret']?.['post'])!;
    differences.push(...differencesFrom(api, schema, rotated.body));
    expect(differences).to.deep.equal([]);
  });

  it('leave no secret in any table, answer, log or audit row (T21)', async () => {
    const https = await startHttpsReceiver(world.tls);
    https.answer = (post, response) => void response.writeHead(500).end(JSON.stringify(post));
    const mail = await startMailReceiver(world.tls, { password: 'another' });
    opened.push(https, mail);
    const { caPem } = world.tls;
    const url = `https://${RECEIVER_HOST}:${https.port}/canary-hook-url`;
    const made = [
      await world.channel({ ...MAIL, host: RECEIVER_HOST, port: mail.port, caPem }),
      await world.channel({ type: 'webhook', url, caPem }),
      await world.channel({ type: 'slack', url: url.replace('hook', 'slack'), caPem }),
    ];
    const answers: unknown[] = [];
    const computerId = await world.computer('web1');
    for (const { id } of made) {
      await world.route(id, { groupSeconds: 0 });
      answers.push(await get(id));
      answers.push(await world.call('post', '/notification-channels/:id/test', { params: { id } }));
    }
    await world.tell('raised', await world.alert('computer-offline', computerId));
    await world.deliver();
    await world.deliver();
    await patch(made[0]!.id, { password: 'canary-password-2' });
    const rotate = { params: { id: made[1]!.id } };
    const rotated = await world.call<{ signingSecret: string }>(
      'post',
      '/notification-channels/:id/rotate-secret',
      rotate,
    );
    answers.push(
      await world.call('get', '/notification-channels'),
      await world.call('get', '/notification-deliveries'),
    );
    const failed = await world.deliveries();
    expect(failed.map(({ state }) => state)).to.deep.equal(['failed', 'failed', 'failed']);
    for (const { id } of failed)
      answers.push(await world.call('get', '/notification-deliveries/:id', { params: { id } }));
    const secrets = ['canary', made[1]!.signingSecret!.slice(6), rotated.body.signingSecret.slice(6)];
    const forms = secrets.flatMap((secret) => [secret, Buffer.from(secret).toString('hex'), btoa(secret).slice(0, -2)]);
    const keys = world.deps.key;
    const places: [string, string][] = [
      ['answers', JSON.stringify(answers)],
      ['audit', JSON.stringify(world.audit.entries)],
      ['log', world.logged.join('\n')],
    ];
    const tables = await database.pool.query<{ name: string }>(
      `SELECT DISTINCT table_name AS name FROM information_schema.role_table_grants
       WHERE table_schema = 'public' AND privilege_type = 'SELECT' AND grantee = current_user ORDER BY 1`,
    );
    for (const { name } of tables.rows) {
      const { rows } = await database.pool.query<{ text: string }>(`SELECT t::text AS text FROM "${name}" t`);
      places.push([name, rows.map(({ text }) => text).join('\n')]);
    }
    for (const [name, text] of places)
      for (const form of [...forms, keys.toString('hex'), keys.toString('base64')])
        expect(text, name).not.to.contain(form);
    expect(places.find(([name]) => name === 'notification_channels')?.[1].length).to.be.greaterThan(500);
    expect(world.logged.length).to.be.greaterThan(0);
  });
});
