import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import { writeReport } from '../../../protocol/channel-messages.js';
import type { ClientIdentity } from '../../support/agent-port.js';
import type { ChannelClient } from '../../support/channel-client.js';
import { startChannelWorld, type ChannelWorld } from '../../support/channel-world.js';
import { useDatabase } from '../../support/database.js';
import { addComputers, changePolicy, seedForest } from '../../support/ingest-world.js';
import { eventually } from '../../support/poll.js';

const HEARTBEAT = '/agent/v1/heartbeat';

describe('held channels', function () {
  this.timeout(60_000);
  let world: ChannelWorld;
  after(() => world.stop());
  const database = useDatabase();
  let web: { id: string; identity: ClientIdentity };
  let db: { id: string; identity: ClientIdentity };
  const clients: ChannelClient[] = [];

  before(async () => {
    await seedForest(database.pool);
    world = await startChannelWorld(database);
  });
  beforeEach(async () => {
    const ids = await addComputers(database.pool, 2);
    [web, db] = ids.map((id) => ({ id, identity: world.port.identityOf(id) })) as [typeof web, typeof db];
  });
  afterEach('another computer was not concerned', async () => {
    const answer = await world.port.post(HEARTBEAT, world.report(), { identity: db.identity });
    expect(answer.status).to.equal(200);
    for (const { webSocket } of clients.splice(0)) webSocket.terminate();
  });

  const hold = async (who = web, options = {}): Promise<ChannelClient> => {
    const client = await world.hold(who.identity, options);
    clients.push(client);
    return client;
  };
  const open = async (who = web, options = {}): Promise<ChannelClient> => {
    const client = await world.open(who.identity, options);
    clients.push(client);
    return client;
  };
  const isStored = (id: string, state: string, reason: string | null) =>
    eventually(`the channel is ${state}: ${reason}`, async () => {
      const row = await world.row(id);
      return row?.state === state && row.reason === reason ? row : undefined;
    });

  it('answer reports as requests do, and count as open from the first one on', async () => {
    const client = await open();
    expect(await world.row(web.id)).to.equal(undefined);
    const answer = await client.ask(world.report());
    expect(answer).to.have.nested.property('orders.effect', 'accepted');
    expect(answer).to.have.nested.property('orders.computerId', web.id);
    expect((await isStored(web.id, 'open', null)).listener).to.equal('node-1');
    const report = world.report();
    expect(await client.ask(report)).to.have.nested.property('orders.effect', 'accepted');
    expect(await client.ask(report)).to.have.nested.property('orders.effect', 'repeat');
    const overHttps = await world.port.post(HEARTBEAT, report, { identity: web.identity });
    expect(overHttps.body['effect']).to.equal('repeat');
    client.webSocket.close(1000);
    await isStored(web.id, 'closed', 'closed-by-agent');
  });

  it('take reports beside requests of the same computer', async () => {
    const client = await hold();
    const answers = await Promise.all([
      client.ask(world.report()),
      world.port.post(HEARTBEAT, world.report(), { identity: web.identity }),
    ]);
    expect(answers[0].type).to.equal('orders');
    expect(answers[1].status).to.equal(200);
  });

  it('are not opened elsewhere, without a certificate, nor under another subprotocol', async () => {
    const refused = async (action: Promise<unknown>) =>
      action.then(
        () => 'taken',
        (error: Error) => error.message,
      );
    expect(await refused(open(web, { path: '/agent/v1/heartbeat' }))).to.equal('404 /problems/route-not-found');
    expect(await refused(open(web, { path: '/api/v1/computers' }))).to.equal('404 /problems/route-not-found');
    expect(await refused(open(web, { protocols: ['wardbeat.v9'] }))).to.equal('400 /problems/request-invalid');
    expect(await refused(open(web, { protocols: [] }))).to.equal('400 /problems/request-invalid');
    const stranger = await world.port.openSocket();
    stranger.write('GET /agent/v1/channel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n');
    stranger.write('Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n');
    stranger.write('Sec-WebSocket-Protocol: wardbeat.v1\r\n\r\n');
    let text = '';
    stranger.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await eventually('an answer', () => text.includes('/problems/certificate-required'));
    expect(await world.port.raw(SPOILT_HANDSHAKE, web.identity)).to.match(/^HTTP\/1\.1 400 .*request-invalid/s);
    world.period = { since: 0, endsAt: 0, spreadMs: 0, resumesAt: null };
    expect(await refused(open())).to.equal('503 /problems/unavailable');
    world.period = undefined;
  });

  it('belong to the newest connection of a computer', async () => {
    const first = await hold();
    const second = await hold();
    expect(await first.closed()).to.deep.equal({ code: 4409, reason: 'replaced' });
    await isStored(web.id, 'open', null);
    expect((await second.ask(world.report())).type).to.equal('orders');
    expect(second.ended()).to.equal(undefined);
  });

  it('end when a report is refused for good, and when the computer is revoked or removed', async () => {
    const client = await hold();
    await database.pool.query("UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1", [web.id]);
    world.channels.wake([web.id], 'standing');
    expect(await client.closed()).to.deep.equal({ code: 4403, reason: 'computer-revoked' });
    await isStored(web.id, 'closed', 'computer-revoked');
    const again = await open();
    const answer = await again.ask(world.report());
    expect(answer).to.have.nested.property('problem.type', '/problems/computer-revoked');
    expect(await again.closed()).to.deep.equal({ code: 4403, reason: 'computer-revoked' });
    const other = await hold(db);
    await database.pool.query('DELETE FROM computers WHERE id = $1', [db.id]);
    await other.closed();
    expect(other.ended()).to.deep.equal({ code: 4403, reason: 'computer-removed' });
    [db] = (await Promise.all(
      (await addComputers(database.pool, 1)).map(async (id) => ({ id, identity: world.port.identityOf(id) })),
    )) as [typeof db];
  });

  it('end when the certificate does', async () => {
    const client = await hold();
    const now = world.port.world.clock.now;
    world.port.world.clock.now = now + 40 * 86_400_000;
    try {
      expect(await client.closed()).to.deep.equal({ code: 4403, reason: 'certificate-expired' });
    } finally {
      world.port.world.clock.now = now;
    }
  });

  it('end when no PONG comes, and both ends are asked for one', async () => {
    const silent = await hold(web, { autoPong: false });
    let pings = 0;
    silent.webSocket.on('ping', () => (pings += 1));
    expect((await silent.closed()).code).to.equal(1006);
    expect(pings).to.be.at.least(1);
    await isStored(web.id, 'closed', 'pong-timeout');
    const client = await hold();
    let pongs = 0;
    client.webSocket.on('pong', () => (pongs += 1));
    client.webSocket.ping();
    await eventually('a PONG', () => pongs > 0);
    expect(client.ended()).to.equal(undefined);
  });

  it('that never report are ended', async () => {
    const idle = await open();
    expect(await idle.closed()).to.deep.equal({ code: 1008, reason: 'no-report' });
    expect(await world.row(web.id)).to.equal(undefined);
  });

  it('wake their agents for settings and commands, one request at a time', async () => {
    const client = await hold();
    world.channels.wake([web.id, db.id, randomUUID()], 'commands');
    world.channels.wake([web.id], 'commands');
    const wake = await client.next('wake');
    expect(wake).to.include({ reason: 'commands' });
    client.webSocket.send(JSON.stringify({ type: 'done', requestId: (wake as { requestId: string }).requestId }));
    await client.ask(world.report());
    await eventually('the next wake comes', async () => {
      world.channels.wake([web.id], 'heartbeat');
      return client.messages.some(({ type }) => type === 'wake');
    });
    expect(client.messages.filter(({ type }) => type === 'wake')).to.have.length(1);
  });

  it('wake for edits of policies, whoever has not got them, and leave them alone afterwards', async () => {
    const client = await hold();
    const first = await client.ask(world.report());
    const fingerprint = (first as { orders: { settings: { fingerprint: string } } }).orders.settings.fingerprint;
    await client.ask(world.report({ appliedFingerprint: fingerprint }));
    await changePolicy(database.pool, { heartbeatIntervalSeconds: 77 });
    await world.refreshSettings();
    expect(await client.next('wake')).to.include({ reason: 'settings' });
    const answer = await client.ask(world.report({ appliedFingerprint: fingerprint }));
    const { json } = (answer as { orders: { settings: { json: string } } }).orders.settings;
    expect(JSON.parse(json)).to.include({ heartbeatIntervalSeconds: 77 });
  });

  it('let settings wait while heartbeats queue', async () => {
    const client = await hold();
    world.load = 1;
    world.channels.wake([web.id], 'settings');
    await eventually('it waits', () => world.channels.counts.waiting() === 1);
    expect(client.messages).to.deep.equal([]);
    world.load = 0;
    await client.next('wake');
  });

  it('are woken and cut from another process, and change their holder with the connection', async () => {
    const client = await hold();
    await isStored(web.id, 'open', null);
    const other = await world.another('node-2');
    await eventually('a wake of the other process', () => {
      other.wake([web.id], 'heartbeat');
      return client.messages.some(({ type }) => type === 'wake');
    });
    await database.pool.query("UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1", [web.id]);
    other.wake([web.id], 'standing');
    expect((await client.closed()).code).to.equal(4403);
    await other.stop();
  });

  it('of a life before are not open', async () => {
    await database.pool.query(
      `INSERT INTO channels (computer_id, listener, generation, state, since_fleet_ms) VALUES ($1, 'node-3', 1, 'open', 5)`,
      [web.id],
    );
    await database.pool.query(
      `INSERT INTO listeners (node, generation, started_fleet_ms, listened_until_fleet_ms) VALUES ('node-3', 1, 0, 0)`,
    );
    const other = await world.another('node-3');
    await isStored(web.id, 'closed', 'manager-gone');
    await other.stop();
  });

  it('are closed slowly by a manager that drains, with the instants of their return', async () => {
    const [one, two] = [await hold(web), await hold(db)];
    world.period = { since: 0, endsAt: world.clock.now + 1000, spreadMs: 60_000, resumesAt: null };
    const ends = await Promise.all([one.closed(), two.closed()]);
    world.period = undefined;
    for (const { code, reason } of ends) {
      expect(code).to.equal(1012);
      expect((JSON.parse(reason) as { returnInMs: number }).returnInMs).to.be.within(1000, 61_000);
    }
    expect(ends[0].reason).not.to.equal(ends[1].reason);
    await isStored(web.id, 'closed', 'manager-drains');
  });

  describe('that are abused', () => {
    const rawFrame = (bytes: number[]) => (client: ChannelClient) => void client.socket.write(Buffer.from(bytes));
    const masked = (opcode: number, payload: Buffer): Buffer =>
      Buffer.concat([Buffer.from([opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
    const cases: readonly (readonly [string, number, (client: ChannelClient) => void])[] = [
      ['text that is no JSON', 1007, ({ webSocket }) => webSocket.send('{')],
      ['JSON that is no message', 1007, ({ webSocket }) => webSocket.send('[1]')],
      ['a message without a request id', 1007, ({ webSocket }) => webSocket.send('{"type":"done"}')],
      ['a binary message', 1003, ({ webSocket }) => webSocket.send(Buffer.from('{}'), { binary: true })],
      ['an unmasked frame', 1002, rawFrame([0x81, 0x01, 0x7b])],
      ['a reserved bit', 1002, rawFrame([0xf1, 0x80, 0, 0, 0, 0])],
      ['an unknown opcode', 1002, rawFrame([0x83, 0x80, 0, 0, 0, 0])],
      ['a continuation of nothing', 1002, rawFrame([0x80, 0x80, 0, 0, 0, 0])],
      ['a fragmented control frame', 1002, rawFrame([0x09, 0x80, 0, 0, 0, 0])],
      ['invalid UTF-8', 1007, ({ socket }) => void socket.write(masked(0x81, Buffer.from([0xc3, 0x28])))],
      ['a frame longer than any message', 1009, rawFrame([0x81, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0])],
      ['a message longer than any report', 1009, ({ webSocket }) => webSocket.send(`"${'x'.repeat(2_200_000)}"`)],
      [
        'hundreds of fragments',
        1008,
        ({ socket }) => {
          socket.write(Buffer.from([0x01, 0x80, 0, 0, 0, 0]));
          for (let count = 0; count < 300; count += 1) socket.write(Buffer.from([0x00, 0x80, 0, 0, 0, 0]));
        },
      ],
    ];
    for (const [name, code, abuse] of cases)
      it(`are ended: ${name}`, async () => {
        const client = await hold();
        const bystander = await hold(db);
        abuse(client);
        const end = await client.closed();
        // A peer that is still sending when it is cut may find a reset before the close frame.
        expect(end.code, end.reason).to.be.oneOf([code, 1006]);
        await isStored(web.id, 'closed', 'frame-abuse');
        expect((await bystander.ask(world.report())).type).to.equal('orders');
        expect(bystander.ended()).to.equal(undefined);
      });

    it('are ended: a message that never ends, with PONGs between its fragments', async () => {
      const client = await hold();
      client.webSocket.send('{"type":', { fin: false });
      const dripping = setInterval(() => {
        if (client.webSocket.readyState !== client.webSocket.OPEN) return;
        client.webSocket.send(' '.repeat(100), { fin: false });
      }, 20);
      expect((await client.closed()).code).to.equal(1006);
      clearInterval(dripping);
      await isStored(web.id, 'closed', 'slow');
    });

    it('are served: a report in fragments, and one in another member order', async () => {
      const client = await hold();
      const text = writeReport(randomUUID(), JSON.stringify(world.report()));
      client.webSocket.send(text.slice(0, 100), { fin: false });
      client.webSocket.send(text.slice(100), { fin: true });
      expect(await client.next('orders')).to.have.nested.property('orders.effect', 'accepted');
      client.webSocket.send(JSON.stringify({ report: world.report(), requestId: randomUUID(), type: 'report' }));
      expect(await client.next('orders')).to.have.nested.property('orders.effect', 'accepted');
    });

    it('are told what is wrong with a report, and go on', async () => {
      const client = await hold();
      expect(await client.ask({})).to.have.nested.property('problem.type', '/problems/request-invalid');
      expect(await client.ask({ ...world.report(), protocolVersion: 9 })).to.have.nested.property(
        'problem.type',
        '/problems/protocol-version-unsupported',
      );
      expect(await client.ask({ ...world.report(), computerId: db.id })).to.have.nested.property(
        'problem.type',
        '/problems/identity-mismatch',
      );
      const poisoned = { ...world.report(), facts: { a: '\u0000' } };
      expect(await client.ask(poisoned)).to.have.nested.property('problem.type', '/problems/request-invalid');
      expect((await client.ask(world.report())).type).to.equal('orders');
    });

    it('take one report at a time', async () => {
      const client = await hold();
      const answers = await Promise.all([client.ask(world.report()), client.ask(world.report())]);
      expect(answers[0].type).to.equal('orders');
      expect(answers[1]).to.have.nested.property('problem.type', '/problems/exchange-in-progress');
    });
  });
});

describe('held channels of a computer that floods', function () {
  this.timeout(60_000);
  let world: ChannelWorld;
  after(() => world.stop());
  const database = useDatabase();
  before(async () => {
    await seedForest(database.pool);
    world = await startChannelWorld(database, { limits: { requestsPerSecond: 0.001, requestBurst: 30 } });
  });

  it('are ended by its own limits, whatever frames it sends', async () => {
    for (const flood of ['ping', 'report', 'done'] as const) {
      const [id = ''] = await addComputers(database.pool, 1);
      const client = await world.hold(world.port.identityOf(id));
      for (let count = 0; count < 60 && !client.ended(); count += 1) {
        if (flood === 'ping') client.webSocket.ping();
        else if (flood === 'done') client.webSocket.send(JSON.stringify({ type: 'done', requestId: randomUUID() }));
        else client.webSocket.send(writeReport(randomUUID(), '{}'));
      }
      expect((await client.closed()).code, flood).to.be.oneOf([1008, 1006]);
      const [other = ''] = await addComputers(database.pool, 1);
      await world.hold(world.port.identityOf(other));
    }
  });
});

/** No key, and a version that nobody speaks. */
const SPOILT_HANDSHAKE =
  'GET /agent/v1/channel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 99\r\nSec-WebSocket-Protocol: wardbeat.v1\r\n\r\n';
