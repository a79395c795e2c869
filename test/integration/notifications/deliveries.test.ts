import { expect } from 'chai';
import { composeNotifications } from '../../../server/notifications/index.js';
import { useDatabase } from '../../support/database.js';
import { openNotificationWorld, RECEIVER_HOST, type NotificationWorld } from '../../support/notification-world.js';
import { eventually } from '../../support/poll.js';
import { startHttpsReceiver, startSilentReceiver, type HttpsReceiver, type Receiver } from '../../support/receivers.js';

interface Body {
  readonly type: string;
  readonly data: {
    readonly alerts: readonly { id: string; computer: { name: string } | null }[];
    readonly more: number;
  };
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('The outbox of notifications', function () {
  this.timeout(60_000);
  let world: NotificationWorld;
  let server: HttpsReceiver;
  const opened: Receiver[] = [];
  after(async () => {
    for (const receiver of opened) await receiver.close();
    await world.close();
  });
  const database = useDatabase();
  before(async () => {
    world = await openNotificationWorld(database);
    opened.push((server = await startHttpsReceiver(world.tls)));
  });
  beforeEach(async () => {
    await world.clear();
    server.posts.length = 0;
    server.answer = (_post, response) => void response.writeHead(204).end();
  });

  const hook = async (path = 'hook') => {
    const url = `https://${RECEIVER_HOST}:${server.port}/${path}`;
    return (await world.channel({ type: 'webhook', url, caPem: world.tls.caPem })).id;
  };
  const dead = async (receiver: Receiver) => {
    const url = `https://${RECEIVER_HOST}:${receiver.port}/`;
    return (await world.channel({ type: 'webhook', url, caPem: world.tls.caPem })).id;
  };
  const bodies = (): Body[] => server.posts.map(({ body }) => JSON.parse(body) as Body);
  const told = () =>
    bodies().map(({ type, data }) => [type, data.alerts.map(({ computer }) => computer?.name ?? null)]);
  const offline = async (name: string, options = {}) =>
    world.alert('computer-offline', await world.computer(name, options));
  const resolve = async (...ids: string[]) =>
    database.pool.query(`UPDATE alerts SET state = 'resolved', closed_fleet_ms = $2 WHERE id = ANY($1)`, [
      ids,
      world.clock.fleet(),
    ]);

  it('gathers what comes within the time of grouping into one message', async () => {
    await world.route(await hook(), { groupSeconds: 30 });
    await world.tell('raised', await offline('web1'));
    world.clock.advance(10_000);
    const second = await offline('web2');
    await world.tell('raised', second);
    await world.tell('raised', second);
    await world.deliver();
    expect(server.posts).to.deep.equal([]);
    world.clock.advance(20_000);
    await world.delivered(1);
    await world.tell('raised', await offline('web3'));
    world.clock.advance(30_000);
    await world.delivered(2);
    expect(told()).to.deep.equal([
      ['alert.raised', ['web1', 'web2']],
      ['alert.raised', ['web3']],
    ]);
  });

  it('is part of the transaction that decides', async () => {
    await world.route(await hook(), { groupSeconds: 0 });
    const alertId = await offline('web1');
    const refused = world.deps.inJobsTransaction(async (sql) => {
      await world.notifications.notifier.enqueue(sql, [{ alertId, kind: 'raised', at: world.clock.fleet() }]);
      throw new Error('no');
    });
    expect(await refused.catch((error: Error) => error.message)).to.equal('no');
    expect(await world.deliveries()).to.deep.equal([]);
  });

  it('goes by every route that matches, and says once that none does', async () => {
    const [all, some] = [await hook('all'), await hook('some')];
    const root = await world.policy('root');
    const below = await world.policy('below', await world.policy('between', root));
    await world.route(all, { groupSeconds: 0 });
    await world.route(some, { groupSeconds: 0, minSeverity: 'high', types: ['computer-offline'], policyId: root });
    await world.route(some, { groupSeconds: 0, label: 'site=vienna' });
    await world.route(some, { groupSeconds: 0, enabled: false });
    const web1 = await world.computer('web1', { policyId: below });
    const db1 = await world.computer('db1', { labels: { site: 'vienna' } });
    await world.tell(
      'raised',
      await world.alert('computer-offline', web1),
      await world.alert('clock-changed', web1),
      await world.alert('clock-drift', db1),
      await world.alert('manager-degraded', null),
    );
    await world.delivered(3);
    const ways = server.posts.map(({ path, body }) => {
      const { data } = JSON.parse(body) as Body;
      return `${path} ${data.alerts.map(({ computer }) => computer?.name ?? '-').join()}`;
    });
    expect(ways.toSorted()).to.deep.equal(['/all web1,web1,db1,-', '/some db1', '/some web1']);
  });

  it('says once that no route takes an alert', async () => {
    const quiet = world.manager('quiet');
    for (const name of ['web1', 'web2']) {
      const notice = { alertId: await offline(name), kind: 'raised' as const, at: world.clock.fleet() };
      await world.deps.inJobsTransaction((sql) => quiet.notifier.enqueue(sql, [notice]));
    }
    expect(world.logged.filter((line) => line.includes('no notification route'))).to.have.lengthOf(1);
    expect(await world.deliveries()).to.deep.equal([]);
  });

  it('tells an incident to the routes of the computers that it holds', async () => {
    const [site, other] = [await world.policy('site'), await world.policy('other')];
    await world.route(await hook('site'), { groupSeconds: 0, policyId: site });
    await world.route(await hook('other'), { groupSeconds: 0, policyId: other });
    const incident = await world.alert('mass-outage', null, { subject: 'subnet/10.0.0.0/24' });
    const child = await offline('web1', { policyId: site });
    await database.pool.query('UPDATE alerts SET incident_id = $2 WHERE id = $1', [child, incident]);
    await world.tell('raised', incident);
    await world.delivered(1);
    await database.pool.query('UPDATE alerts SET incident_id = NULL');
    await resolve(incident);
    await world.tell('resolved', incident);
    await world.delivered(2);
    expect(server.posts.map(({ path }) => path)).to.deep.equal(['/site', '/site']);
    expect(bodies().map(({ type }) => type)).to.deep.equal(['alert.raised', 'alert.resolved']);
  });

  it('tells the end to those alone who were told of the beginning, whatever they match by now', async () => {
    const channel = await hook('first');
    const id = await world.route(channel, { groupSeconds: 0, types: ['computer-offline'] });
    const alertId = await offline('web1');
    await world.tell('raised', alertId);
    await world.route(await hook('later'), { groupSeconds: 0 });
    const patch = { params: { id }, ifMatch: 1, body: { types: ['spool-gap'] } };
    await world.call('patch', '/notification-routes/:id', patch);
    await world.delivered(1);
    await resolve(alertId);
    await world.tell('resolved', alertId);
    await world.tell('resolved', alertId);
    await world.delivered(2);
    expect(server.posts.map(({ path }) => path)).to.deep.equal(['/first', '/first']);
  });

  it('reminds until somebody acknowledges, and never of what is held back or snoozed', async () => {
    await world.route(await hook(), { groupSeconds: 0, repeatMinutes: 60 });
    const [seen, held, snoozed] = [await offline('seen'), await offline('held'), await offline('snoozed')];
    await world.tell('raised', seen, held, snoozed);
    await world.delivered(1);
    await database.pool.query(
      `INSERT INTO alert_notices (alert_id, told, held_by) VALUES ($1, 'open', 'maintenance')`,
      [held],
    );
    await database.pool.query('UPDATE alerts SET snoozed_until_fleet_ms = $2 WHERE id = $1', [
      snoozed,
      world.clock.fleet() + 90 * MINUTE,
    ]);
    await world.deliver();
    expect(server.posts).to.have.lengthOf(1);
    world.clock.advance(HOUR);
    await world.delivered(2);
    expect(told().at(-1)).to.deep.equal(['alert.reminder', ['seen']]);
    await database.pool.query(`UPDATE alerts SET state = 'acknowledged' WHERE id = $1`, [seen]);
    await world.tell('acknowledged', seen);
    await world.delivered(3);
    expect(told().at(-1)).to.deep.equal(['alert.acknowledged', ['seen']]);
    world.clock.advance(HOUR);
    await world.delivered(4);
    expect(told().at(-1)).to.deep.equal(['alert.reminder', ['snoozed']]);
    await resolve(held, snoozed);
    await world.tell('resolved', held, snoozed);
    world.clock.advance(5 * HOUR);
    await world.delivered(5);
    expect(told().at(-1)).to.deep.equal(['alert.resolved', ['held', 'snoozed']]);
    expect((await database.pool.query('SELECT alert_id, next_fleet_ms FROM notification_told')).rows).to.deep.equal([
      { alert_id: seen, next_fleet_ms: null },
    ]);
  });

  it('tries again ever more rarely, under one id, and gives up after a day; a dead letter can be resent', async () => {
    server.answer = (_post, response) => void response.writeHead(503).end();
    await world.route(await hook(), { groupSeconds: 0 });
    await world.tell('raised', await offline('web1'));
    let [delivery] = await world.deliveries();
    const dues: number[] = [];
    while (delivery?.state !== 'dead' && server.posts.length < 500) {
      await world.deliver();
      [delivery] = await world.deliveries();
      if (delivery?.dueAt) {
        const wait = Date.parse(delivery.dueAt) - world.clock.fleet();
        dues.push(wait);
        world.clock.advance(Math.max(0, wait));
      }
    }
    expect(delivery).to.include({ state: 'dead', attempts: server.posts.length });
    expect(dues.length).to.be.within(10, 300);
    expect(Math.max(...dues.slice(0, 1))).to.be.at.most(10_000);
    expect(Math.max(...dues)).to.be.within(10 * MINUTE, HOUR);
    expect(dues.reduce((sum, wait) => sum + wait, 0)).to.be.within(23.9 * HOUR, 24.1 * HOUR);
    const id = delivery!.id;
    expect(new Set(server.posts.map(({ headers }) => headers['webhook-id']))).to.deep.equal(new Set([id]));
    const { body: detail } = await world.call<{ history: { error: string; attempt: number }[] }>(
      'get',
      '/notification-deliveries/:id',
      { params: { id } },
    );
    expect(detail.history[0]).to.include({ attempt: delivery!.attempts, error: 'answer: the receiver answered 503' });
    server.answer = (_post, response) => void response.writeHead(204).end();
    await world.deliver();
    expect((await world.deliveries())[0]?.state).to.equal('dead');
    await world.call('post', '/notification-deliveries/:id/resend', { params: { id } });
    const [resent] = await world.delivered(1);
    expect(resent).to.include({ id, state: 'delivered', lastError: null, attempts: delivery!.attempts + 1 });
    expect(world.audit.entries.at(-1)).to.include({ action: 'notification-delivery.resent', subjectId: id });
  });

  it('never lets a channel that is slow or dead delay another', async () => {
    const silent = await startSilentReceiver();
    opened.push(silent);
    await world.route(await dead(silent), { groupSeconds: 0 });
    await world.route(await hook(), { groupSeconds: 0 });
    for (let count = 0; count < 5; count += 1) {
      await world.tell('raised', await offline(`web${count}`));
      await world.notifications.deliverer.run(new AbortController().signal);
      await eventually('the other channel is served', () => server.posts.length === count + 1);
      await eventually('it is recorded', async () => (await world.deliveries({ state: 'delivered' })).length > count);
    }
    expect(silent.connections()).to.equal(1);
    await world.clear();
    await silent.close();
    opened.pop();
    await world.notifications.deliverer.idle();
  });

  it('lists what others have to tell beside a computer that floods', async () => {
    await world.route(await hook(), { groupSeconds: 30 });
    const noisy = await world.computer('noisy');
    const flood: string[] = [];
    for (let count = 0; count < 150; count += 1)
      flood.push(await world.alert('component-offline', noisy, { subject: `${noisy}/process/${count}` }));
    await world.tell('raised', ...flood);
    await world.tell('raised', await offline('web1'), await offline('web2'));
    world.clock.advance(30_000);
    const [delivery] = await world.delivered(1);
    expect(told()).to.deep.equal([['alert.raised', [...Array.from({ length: 5 }, () => 'noisy'), 'web1', 'web2']]]);
    expect(bodies()[0]?.data.more).to.equal(145);
    expect(delivery).to.include({ alertCount: 152 });
  });

  it('lists a bounded number and counts the rest, with a constant number of statements', async () => {
    await world.route(await hook(), { groupSeconds: 0 });
    const many: string[] = [];
    for (let count = 0; count < 120; count += 1) many.push(await offline(`web${count}`));
    let statements = 0;
    await world.deps.inJobsTransaction((sql) => {
      const query: typeof sql.query = (text, parameters) => ((statements += 1), sql.query(text, parameters));
      const notices = many.map((alertId) => ({ alertId, kind: 'raised' as const, at: world.clock.fleet() }));
      return world.notifications.notifier.enqueue({ query }, notices);
    });
    expect(statements).to.be.at.most(8);
    await world.delivered(1);
    expect(bodies()[0]?.data.alerts).to.have.lengthOf(100);
    expect(bodies()[0]?.data.more).to.equal(20);
  });

  it('sends what waited as soon as the channel works again, oldest first', async () => {
    server.answer = (_post, response) => void response.destroy();
    await world.route(await hook(), { groupSeconds: 0 });
    for (const name of ['first', 'second', 'third']) {
      await world.tell('raised', await offline(name));
      await world.deliver();
      world.clock.advance(1);
    }
    expect((await world.deliveries({ state: 'failed' })).length).to.equal(3);
    server.posts.length = 0;
    server.answer = (_post, response) => void response.writeHead(204).end();
    await world.tell('raised', await offline('fourth'));
    await world.delivered(4);
    const names = told().map((one) => one[1]?.[0]);
    expect(names.filter((name) => name !== 'fourth')).to.deep.equal(['first', 'second', 'third']);
    const states = world.logged.filter((line) => /could not be delivered|works again/.test(line));
    expect(states).to.have.lengthOf(2);
  });

  it('sends what waited as soon as a test shows that the channel works again', async () => {
    server.answer = (_post, response) => void response.destroy();
    const channel = await hook();
    await world.route(channel, { groupSeconds: 0 });
    await world.tell('raised', await offline('web1'));
    for (let tries = 0; tries < 6; tries += 1) {
      await world.deliver();
      const [waiting] = await world.deliveries({ state: 'failed' });
      world.clock.advance(Math.max(0, Date.parse(waiting?.dueAt ?? '') - world.clock.fleet()));
    }
    await world.deliver();
    const test = () =>
      world.call<{ delivered: boolean }>('post', '/notification-channels/:id/test', { params: { id: channel } });
    expect((await test()).body.delivered).to.equal(false);
    const [before] = await world.deliveries({ state: 'failed' });
    expect(Date.parse(before?.dueAt ?? '')).to.be.greaterThan(world.clock.fleet());
    server.answer = (_post, response) => void response.writeHead(204).end();
    expect((await test()).body.delivered).to.equal(true);
    await world.deliver();
    expect((await world.deliveries())[0]).to.include({ id: before?.id, state: 'delivered', lastError: null });
  });

  it('never tells the end of an alert before its beginning, and tries both with the news', async () => {
    server.answer = (_post, response) => void response.destroy();
    await world.route(await hook(), { groupSeconds: 0 });
    const web1 = await offline('web1');
    await world.tell('raised', web1);
    await world.deliver();
    const other = await offline('web2');
    await world.tell('raised', other);
    await world.deliver();
    expect((await world.deliveries({ state: 'failed' })).length).to.equal(2);
    server.posts.length = 0;
    await resolve(web1);
    await world.tell('resolved', web1);
    await world.deliver();
    expect(told()).to.deep.equal([['alert.raised', ['web1']]]);
    await world.deliver();
    expect(server.posts).to.have.lengthOf(1);
    server.posts.length = 0;
    server.answer = (_post, response) => void response.writeHead(204).end();
    world.clock.advance(10_000);
    await world.delivered(3);
    const first = told().filter(([, names]) => (names as string[]).includes('web1'));
    expect(first.map(([type]) => type)).to.deep.equal(['alert.raised', 'alert.resolved']);
  });

  it('is sent by one of all managers, and by the next one when that dies in the middle', async () => {
    await world.route(await hook(), { groupSeconds: 0 });
    const { signal } = new AbortController();
    const [one, two] = [world.manager('one'), world.manager('two')];
    await world.tell('raised', await offline('web1'));
    await Promise.all([one.deliverer.run(signal), two.deliverer.run(signal)]);
    await Promise.all([one.deliverer.idle(), two.deliverer.idle()]);
    expect(server.posts).to.have.lengthOf(1);
    await world.tell('raised', await offline('web2'));
    // Claimed, and nothing more.
    await database.pool.query(
      `UPDATE notification_deliveries SET attempts = 1, is_collecting = false, claimed_until_fleet_ms = $1
       WHERE state = 'queued'`,
      [world.clock.fleet() + MINUTE],
    );
    await database.pool.query(`UPDATE jobs SET owner = 'dead', lease_until_fleet_ms = 0`);
    await two.deliverer.run(signal);
    await two.deliverer.idle();
    expect(server.posts).to.have.lengthOf(1);
    world.clock.advance(MINUTE + 1);
    await two.deliverer.run(signal);
    await two.deliverer.idle();
    expect(told().at(-1)).to.deep.equal(['alert.raised', ['web2']]);
    await one.deliverer.close();
    await two.deliverer.close();
  });

  it('is released by a stop in the middle of an attempt, and sent again after it', async () => {
    const silent = await startSilentReceiver();
    opened.push(silent);
    await world.route(await dead(silent), { groupSeconds: 0 });
    await world.tell('raised', await offline('web1'));
    const stopping = world.manager('stopping');
    await stopping.deliverer.run(new AbortController().signal);
    await eventually('it is connected', () => silent.connections() === 1);
    await stopping.deliverer.close();
    const [delivery] = await world.deliveries();
    expect(delivery).to.include({ state: 'queued', attempts: 1, lastError: null });
    const { rows } = await database.pool.query('SELECT claimed_until_fleet_ms FROM notification_deliveries');
    expect(rows).to.deep.equal([{ claimed_until_fleet_ms: null }]);
  });

  it('blames no channel for a database that is away', async () => {
    await world.route(await hook(), { groupSeconds: 0 });
    await world.tell('raised', await offline('web1'));
    const { sql } = world.deps;
    let isAway = true;
    const query: typeof sql.query = (text, parameters) =>
      isAway && text.includes('FROM notification_channels')
        ? Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
        : sql.query(text, parameters);
    const { deliverer } = composeNotifications({ ...world.deps, node: 'unlucky', sql: { query } });
    const { signal } = new AbortController();
    await deliverer.run(signal);
    await deliverer.idle();
    const [delivery] = await world.deliveries();
    expect(delivery).to.include({ state: 'queued', attempts: 1, lastError: null });
    isAway = false;
    world.clock.advance(MINUTE + 1);
    await deliverer.run(signal);
    await deliverer.idle();
    expect(told()).to.deep.equal([['alert.raised', ['web1']]]);
    await deliverer.close();
  });

  it('becomes dead letters when its channel goes, and is forgotten after its time', async () => {
    const channel = await hook();
    const id = await world.route(channel, { groupSeconds: 600 });
    await world.tell('raised', await offline('web1'));
    await world.call('delete', '/notification-routes/:id', { params: { id } });
    await world.call('delete', '/notification-channels/:id', { params: { id: channel } });
    const [delivery] = await world.deliveries();
    expect(delivery).to.include({ state: 'dead', lastError: 'channel-removed: the channel was deleted' });
    const forget = world.notifications.jobs.find(({ name }) => name === 'notification-log')!;
    await forget.run(new AbortController().signal);
    expect(await world.deliveries()).to.have.lengthOf(1);
    world.clock.advance(91 * 24 * HOUR);
    await forget.run(new AbortController().signal);
    expect(await world.deliveries()).to.deep.equal([]);
  });

  it('is forgotten by several managers at once, none waiting for what another has locked', async () => {
    const channel = await hook();
    for (const name of ['web1', 'web2']) {
      await world.route(channel, { groupSeconds: 0 });
      const alertId = await offline(name);
      await world.tell('raised', alertId);
      await resolve(alertId);
    }
    const [locked] = await world.delivered(2);
    world.clock.advance(31 * 24 * HOUR);
    const forget = () =>
      world
        .manager('other')
        .jobs.find(({ name }) => name === 'notification-log')!
        .run(new AbortController().signal);
    await world.deps.inJobsTransaction(async (sql) => {
      await sql.query('SELECT 1 FROM notification_deliveries WHERE id = $1 FOR UPDATE', [locked!.id]);
      await sql.query('SELECT 1 FROM notification_told ORDER BY route_id, alert_id LIMIT 1 FOR UPDATE');
      await Promise.all([forget(), forget()]);
    });
    expect((await world.deliveries()).map(({ id }) => id)).to.deep.equal([locked!.id]);
    expect((await database.pool.query('SELECT FROM notification_told')).rowCount).to.equal(1);
    await forget();
    expect(await world.deliveries()).to.deep.equal([]);
    expect((await database.pool.query('SELECT FROM notification_told')).rowCount).to.equal(0);
  });

  it('pages its log without gap or repeat, and filters it', async () => {
    const channel = await hook();
    await world.route(channel, { groupSeconds: 0 });
    const alertIds: string[] = [];
    for (let count = 0; count < 5; count += 1) {
      alertIds.push(await offline(`web${count}`));
      await world.tell('raised', alertIds.at(-1)!);
      await world.deliver();
    }
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const query = { limit: 2, ...(cursor ? { cursor } : {}) };
      const { body } = await world.call<{ items: { id: string }[]; next: string | null }>(
        'get',
        '/notification-deliveries',
        { query },
      );
      seen.push(...body.items.map(({ id }) => id));
      cursor = body.next;
    } while (cursor);
    expect([seen.length, new Set(seen).size]).to.deep.equal([5, 5]);
    expect(await world.deliveries({ alertId: alertIds[2] })).to.have.lengthOf(1);
    expect(await world.deliveries({ channelId: channel })).to.have.lengthOf(5);
    expect(await world.deliveries({ channelId: alertIds[0] })).to.have.lengthOf(0);
    expect(await world.deliveries({ state: 'dead' })).to.have.lengthOf(0);
  });
});
