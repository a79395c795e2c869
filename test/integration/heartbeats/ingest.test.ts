import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { Problem } from '../../../lib/problem.js';
import type { AgentEvent, Report } from '../../../protocol/heartbeat-messages.js';
import { unpackReceipts } from '../../../server/heartbeats/receipt-ring.js';
import { createPool } from '../../../server/database/data-source.js';
import { useDatabase } from '../../support/database.js';
import {
  addComputers,
  changePolicy,
  createIngestWorld,
  handClock,
  seedForest,
  type IngestWorld,
} from '../../support/ingest-world.js';

function events(from: number, to: number): AgentEvent[] {
  return Array.from({ length: to - from + 1 }, (_, index) => ({
    sequence: from + index,
    occurredAt: 1_700_000_000_000,
    kind: 'log',
    severity: 'info' as const,
    message: `message ${from + index}\r\nforged: line`,
  }));
}

const logLane = (from: number, to: number, epoch = 'e1') => [{ lane: 'log' as const, epoch, events: events(from, to) }];

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'answered',
    (error: unknown) => (error instanceof Problem ? error.code : String(error)),
  );
}

describe('ingest of heartbeats', () => {
  const database = useDatabase();
  let world: IngestWorld;

  before(async () => {
    await seedForest(database.pool);
    world = createIngestWorld(database.pool);
  });

  const one = async (sql: string, ...parameters: unknown[]) => (await database.pool.query(sql, parameters)).rows[0];
  const applied = async (id: string, changes: Partial<Report> = {}) => {
    const first = await world.beat(id);
    const settled = { appliedFingerprint: first.settings!.fingerprint, ...changes };
    await world.beat(id, settled);
    return settled;
  };

  /** Backends tell their counters when asked: as many queries at once as the pool has connections. */
  const hotUpdates = async (): Promise<{ all: number; hot: number }> => {
    await Promise.all(
      Array.from({ length: 8 }, () => database.pool.query('SELECT pg_stat_force_next_flush(), pg_sleep(0.02)')),
    );
    const row = await one(`SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'computer_live'`);
    return { all: row.n_tup_upd, hot: row.n_tup_hot_upd };
  };

  it('makes a pending computer online, stores its facts and orders its settings', async () => {
    const [id] = await addComputers(database.pool, 1);
    const orders = await world.beat(id!);
    expect(orders.effect).to.equal('accepted');
    expect(orders.settings?.json).to.contain('"heartbeatIntervalSeconds":60');
    expect(orders.settingsGeneration.counter).to.equal(7);
    expect(orders.fullReport).to.equal(false);
    expect(orders.nextContactInMs).to.be.within(48_000, 60_000);
    const status = await one('SELECT * FROM computer_status WHERE computer_id = $1', id);
    expect([status.status, status.reason, status.since_fleet_ms]).to.deep.equal([
      'online',
      'in-contact',
      world.clock.now,
    ]);
    const facts = await one('SELECT * FROM computer_facts WHERE computer_id = $1', id);
    expect([facts.facts, facts.observed_address, facts.tls_version]).to.deep.equal([
      { hostname: 'web1' },
      '192.0.2.1',
      'TLSv1.3',
    ]);
    expect(world.heard.some(({ computerId, intervalMs }) => computerId === id && intervalMs === 60_000)).to.equal(true);
  });

  it('spends BEGIN, SELECT, UPDATE and COMMIT on a batch of steady reports', async () => {
    const ids = await addComputers(database.pool, 50);
    const settled = await Promise.all(ids.map((id) => applied(id)));
    const before = { ...world.metrics };
    await Promise.all(ids.map((id, index) => world.beat(id, settled[index])));
    const batches = world.metrics.batches - before.batches;
    expect(batches).to.be.within(1, 3);
    expect(world.metrics.statements - before.statements).to.equal(4 * batches);
  });

  it('updates the hot table in place', async function () {
    this.timeout(30_000);
    const ids = await addComputers(database.pool, 200);
    const settled = await applied(ids[0]!);
    const shuffled = () => [...ids].sort(() => Math.random() - 0.5);
    // A first report widens its row; from then on the row keeps its size.
    for (let round = 0; round < 2; round += 1)
      for (const id of shuffled()) world.beat(id, settled).catch(() => undefined);
    await world.batcher.settled();
    const owner = createPool({ connection: database.ownerConnection, poolSize: 1 });
    await owner.query('VACUUM computer_live');
    await owner.end();
    const before = await hotUpdates();
    for (let round = 0; round < 4; round += 1) {
      world.clock.now += 60_000;
      const order = shuffled();
      for (let from = 0; from < order.length; from += 25)
        await Promise.all(order.slice(from, from + 25).map((id) => world.beat(id, settled)));
    }
    const deadline = Date.now() + 8000;
    let after = await hotUpdates();
    while (after.all - before.all < 800 && Date.now() < deadline) after = await hotUpdates();
    expect(after.all - before.all).to.equal(800);
    expect(after.hot - before.hot).to.equal(800);
  });

  it('answers a repeat with the same effects, moves nothing and stores no event twice', async () => {
    const [id] = await addComputers(database.pool, 1);
    const exchange = world.report(id!, { lanes: logLane(0, 4) });
    const first = await world.batcher.submit(exchange);
    world.clock.now += 30_000;
    const again = await world.batcher.submit({ ...exchange, receivedAt: world.clock.now });
    expect([first.effect, again.effect]).to.deep.equal(['accepted', 'repeat']);
    expect(again.acknowledged).to.deep.equal([{ lane: 'log', epoch: 'e1', position: 4 }]);
    expect(again.acknowledged).to.deep.equal(first.acknowledged);
    expect(again.identityToken).to.equal(first.identityToken);
    expect(again.nextContactInMs).to.be.within(1000, first.nextContactInMs - 29_000);
    const live = await one('SELECT * FROM computer_live WHERE computer_id = $1', id);
    expect(live.last_seen_fleet_ms).to.equal(exchange.receivedAt);
    expect(live.answered_fleet_ms).to.equal(null);
    expect((await one('SELECT count(*)::int AS n FROM events WHERE computer_id = $1', id)).n).to.equal(5);
  });

  it('ignores an older report of the same boot, of whatever process, and takes a lower sequence of another boot', async () => {
    const [id] = await addComputers(database.pool, 1);
    await world.beat(id!, { sequence: 10 });
    expect((await world.beat(id!, { sequence: 10 })).effect).to.equal('older');
    expect((await world.beat(id!, { sequence: 3, lanes: logLane(0, 1) })).acknowledged).to.deep.equal([
      { lane: 'log', epoch: 'e1', position: -1 },
    ]);
    expect((await world.beat(id!, { sequence: 2, bootId: 'boot-2' })).effect).to.equal('accepted');
    expect((await world.beat(id!, { sequence: 1, bootId: 'boot-2', instanceId: randomUUID() })).effect).to.equal(
      'older',
    );
  });

  it('discards what a lane stored already and keeps one position per epoch', async () => {
    const [id] = await addComputers(database.pool, 1);
    await world.beat(id!, { lanes: logLane(0, 9) });
    world.clock.now += 1000;
    const overlapping = await world.beat(id!, { lanes: logLane(5, 14) });
    expect(overlapping.acknowledged[0]?.position).to.equal(14);
    const other = await world.beat(id!, { lanes: logLane(0, 2, 'e2') });
    expect(other.acknowledged).to.deep.equal([{ lane: 'log', epoch: 'e2', position: 2 }]);
    const rows = await database.pool.query(
      'SELECT epoch, sequence, message FROM events WHERE computer_id = $1 ORDER BY received_fleet_ms, epoch, id',
      [id],
    );
    expect(rows.rows.filter(({ epoch }) => epoch === 'e1').map(({ sequence }) => sequence)).to.deep.equal([
      ...Array(15).keys(),
    ]);
    expect(rows.rows[0].message).to.equal('message 0\r\nforged: line');
  });

  it('tells the removed and the revoked so, and stores nothing of theirs', async () => {
    const [gone, revoked, superseded] = await addComputers(database.pool, 3);
    await database.pool.query('DELETE FROM computer_live WHERE computer_id = $1', [gone]);
    await database.pool.query(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`, [revoked]);
    await database.pool.query(
      `INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at, revoked_at)
       VALUES ('beef', $1, '', '', to_timestamp(0), to_timestamp(0), to_timestamp(0), to_timestamp(0))`,
      [superseded],
    );
    const bySerial = { ...world.report(superseded!), identity: { computerId: superseded!, serial: 'beef' } };
    expect(
      await Promise.all([
        codeOf(world.beat(gone!)),
        codeOf(world.beat(revoked!)),
        codeOf(world.batcher.submit(bySerial)),
      ]),
    ).to.deep.equal(['computer-removed', 'computer-revoked', 'computer-revoked']);
    expect(
      (await one('SELECT last_seen_fleet_ms FROM computer_live WHERE computer_id = $1', revoked)).last_seen_fleet_ms,
    ).to.equal(null);
  });

  it('sees a verdict and a revocation that held the row while it waited', async () => {
    const [verdict, revoked] = await addComputers(database.pool, 2);
    await Promise.all([verdict, revoked].map((id) => applied(id!)));
    const client = await database.pool.connect();
    await client.query('BEGIN');
    await client.query('SELECT 1 FROM computer_live WHERE computer_id = ANY($1) ORDER BY computer_id FOR UPDATE', [
      [verdict, revoked],
    ]);
    world.clock.now += 500_000;
    const beats = Promise.all([codeOf(world.beat(verdict!)), codeOf(world.beat(revoked!))]);
    const waiting = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`;
    while ((await client.query(waiting)).rows[0].n === 0);
    await client.query(`UPDATE computer_status SET status = 'offline' WHERE computer_id = $1`, [verdict]);
    await client.query(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`, [revoked]);
    await client.query('COMMIT');
    client.release();
    expect(await beats).to.deep.equal(['answered', 'computer-revoked']);
    expect((await one('SELECT status FROM computer_status WHERE computer_id = $1', verdict)).status).to.equal('online');
    const live = await one('SELECT last_seen_fleet_ms FROM computer_live WHERE computer_id = $1', revoked);
    expect(live.last_seen_fleet_ms).to.equal(world.clock.now - 500_000);
  });

  it('fails a poisoned report alone', async () => {
    const ids = await addComputers(database.pool, 9);
    const poison = logLane(0, 0).map((lane) => ({
      ...lane,
      events: lane.events.map((event) => ({ ...event, message: 'a\0b' })),
    }));
    const codes = await Promise.all(
      ids.map((id, index) => codeOf(world.beat(id, index === 4 ? { lanes: poison } : {}))),
    );
    expect(codes.filter((code) => code === 'answered')).to.have.length(8);
    expect(codes[4]).to.equal('request-invalid');
    expect(world.deaf).to.deep.equal([]);
    expect(
      (await one('SELECT last_seen_fleet_ms AS seen FROM computer_live WHERE computer_id = $1', ids[4])).seen,
    ).to.equal(null);
  });

  it('orders an edit within the next exchange and raises settings-pending after the allowed contacts', async () => {
    const [id] = await addComputers(database.pool, 1);
    const settled = await applied(id!);
    await changePolicy(database.pool, { heartbeatIntervalSeconds: 600, settingsPendingContactsAllowed: 1 });
    const edited = await world.beat(id!, settled);
    expect(edited.settings?.json).to.contain('"heartbeatIntervalSeconds":600');
    expect(edited.settingsGeneration.counter).to.equal(8);
    const live = await one('SELECT * FROM computer_live WHERE computer_id = $1', id);
    expect([live.confirmed_interval_ms, live.delivered_interval_ms]).to.deep.equal([60_000, 600_000]);
    expect(world.heard.at(-1)?.intervalMs).to.equal(600_000);
    await world.beat(id!, settled);
    const open = `SELECT count(*)::int AS n FROM alerts WHERE computer_id = $1 AND type = 'settings-pending' AND state = 'raised'`;
    expect((await one(open, id)).n).to.equal(0);
    await world.beat(id!, settled);
    expect((await one(open, id)).n).to.equal(1);
    await world.beat(id!, { appliedFingerprint: edited.settings!.fingerprint, intervalSeconds: 600 });
    expect((await one(open, id)).n).to.equal(0);
    const after = await one('SELECT * FROM computer_live WHERE computer_id = $1', id);
    expect([after.confirmed_interval_ms, after.delivered_interval_ms]).to.deep.equal([600_000, null]);
    await changePolicy(database.pool, {});
  });

  it('asks for facts it does not know, and again until they come', async () => {
    const [id] = await addComputers(database.pool, 1);
    const { facts: _facts, ...without } = world.report(id!).report;
    const ask = async (sequence: number) =>
      world.batcher.submit({ ...world.report(id!), report: { ...without, reportId: randomUUID(), sequence } });
    expect((await ask(11)).fullReport).to.equal(true);
    expect((await ask(12)).fullReport).to.equal(true);
    expect((await world.beat(id!, { sequence: 13 })).fullReport).to.equal(false);
    expect((await ask(14)).fullReport).to.equal(false);
  });

  it('keeps components with the instant of their state and alerts about those that are down', async () => {
    const [id] = await addComputers(database.pool, 1);
    const component = (state: 'online' | 'offline') => ({
      components: [{ kind: 'process' as const, name: 'sshd', state }],
    });
    await world.beat(id!, component('online'));
    world.clock.now += 60_000;
    await world.beat(id!, component('offline'));
    const alert = await one('SELECT * FROM alerts WHERE computer_id = $1', id);
    expect([alert.type, alert.subject, alert.state, alert.raised_fleet_ms]).to.deep.equal([
      'component-offline',
      `${id}/process/sshd`,
      'raised',
      world.clock.now,
    ]);
    await world.beat(id!, { components: [] });
    expect((await one('SELECT state FROM alerts WHERE computer_id = $1', id)).state).to.equal('resolved');
    expect(await one('SELECT 1 FROM computer_components WHERE computer_id = $1', id)).to.equal(undefined);
  });

  it('shows a listener that is off-line, and alerts about it where the manager alone dials', async () => {
    const [id] = await addComputers(database.pool, 1);
    const listener = (state: 'online' | 'offline', direction: 'bidirectional' | 'managerInitiated') => {
      world.clock.now += 1000;
      return world.beat(id!, { components: [{ kind: 'agentPart', name: 'listener', state }], direction });
    };
    const alerts = async () =>
      (
        await database.pool.query(
          `SELECT state, raised_fleet_ms, occurrences FROM alerts
           WHERE computer_id = $1 AND type = 'component-offline' ORDER BY raised_fleet_ms`,
          [id],
        )
      ).rows.map((row) => [row.state, row.raised_fleet_ms, row.occurrences]);
    await listener('offline', 'bidirectional');
    expect((await one('SELECT state FROM computer_components WHERE computer_id = $1', id)).state).to.equal('offline');
    expect(await alerts()).to.deep.equal([]);
    await listener('offline', 'managerInitiated');
    const raised = ['raised', world.clock.now, 1];
    expect(await alerts()).to.deep.equal([raised]);
    world.clock.now += 86_400_000;
    await listener('offline', 'managerInitiated');
    expect(await alerts()).to.deep.equal([raised]);
    await listener('offline', 'bidirectional');
    const resolved = ['resolved', raised[1], 1];
    expect(await alerts()).to.deep.equal([resolved]);
    await listener('online', 'managerInitiated');
    await listener('offline', 'managerInitiated');
    const again = ['raised', world.clock.now, 1];
    expect(await alerts()).to.deep.equal([resolved, again]);
    await listener('online', 'managerInitiated');
    expect((await alerts()).map(([state]) => state)).to.deep.equal(['resolved', 'resolved']);
  });

  it('stores a goodbye and forgets it with the next report; an uninstall is offline at once', async () => {
    const [id] = await addComputers(database.pool, 1);
    await world.beat(id!, { goodbye: { reason: 'restart', expectedBackMs: 5000 } });
    const parted = await one('SELECT * FROM computer_status WHERE computer_id = $1', id);
    expect([parted.status, parted.goodbye_reason, parted.goodbye_expected_ms]).to.deep.equal([
      'online',
      'restart',
      5000,
    ]);
    expect(world.reconsidered).to.contain(id);
    await world.beat(id!);
    expect(
      (await one('SELECT goodbye_reason FROM computer_status WHERE computer_id = $1', id)).goodbye_reason,
    ).to.equal(null);
    await world.beat(id!, { goodbye: { reason: 'uninstall' } });
    const left = await one('SELECT * FROM computer_status WHERE computer_id = $1', id);
    expect([left.status, left.reason]).to.deep.equal(['offline', 'goodbye-uninstall']);
    expect((await one(`SELECT state FROM alerts WHERE computer_id = $1`, id)).state).to.equal('raised');
  });

  it('sets a stopped machine running and records the gap that its report ends', async () => {
    const [id] = await addComputers(database.pool, 1);
    await world.beat(id!);
    const from = world.clock.now;
    await database.pool.query(`UPDATE computers SET power_state = 'stopped', power_since_fleet_ms = $2 WHERE id = $1`, [
      id,
      from + 10,
    ]);
    await database.pool.query(`UPDATE computer_status SET status = 'stopped' WHERE computer_id = $1`, [id]);
    world.spans.push({ from: from + 100_000, until: from + 130_000 });
    world.clock.now += 300_000;
    // It goes on while the report is stored.
    world.present.push({ from: from + 280_000, until: world.clock.now + 500 });
    await world.beat(id!);
    const computer = await one('SELECT power_state, power_source FROM computers WHERE id = $1', id);
    expect([computer.power_state, computer.power_source]).to.deep.equal(['running', 'report']);
    expect((await one('SELECT status FROM computer_status WHERE computer_id = $1', id)).status).to.equal('online');
    const gap = await one('SELECT * FROM heartbeat_gaps WHERE computer_id = $1', id);
    expect([gap.from_fleet_ms, gap.until_fleet_ms, gap.interval_ms, gap.deaf_ms]).to.deep.equal([
      from,
      world.clock.now,
      60_000,
      50_000,
    ]);
    world.spans.length = 0;
    world.present.length = 0;
  });

  for (const [name, agentTime] of [
    ['1970', 0],
    ['9999', 253_402_300_799_000],
    ['the last date there is', 8.64e15],
  ] as const) {
    it(`takes a report of the year ${name}, says so once and orders by its own time`, async () => {
      const [id] = await addComputers(database.pool, 1);
      for (let n = 0; n < 3; n += 1) await world.beat(id!, { agentTime });
      const rows = await database.pool.query(`SELECT * FROM events WHERE computer_id = $1`, [id]);
      expect(rows.rows.map(({ kind }) => kind)).to.deep.equal(['clock-implausible']);
      expect(rows.rows[0].received_fleet_ms).to.equal(world.clock.now);
      const live = await one('SELECT * FROM computer_live WHERE computer_id = $1', id);
      expect([live.last_seen_fleet_ms, live.clock_offset_ms]).to.deep.equal([
        world.clock.now,
        agentTime - world.clock.now,
      ]);
    });
  }

  it('estimates the clock offset from four timestamps', async () => {
    const [id] = await addComputers(database.pool, 1);
    const start = world.clock.now;
    await world.beat(id!, { sequence: 1 });
    world.clock.now += 60_000;
    // Ahead by 5 s, 20 ms out and 40 ms back.
    const previousExchange = { sequence: 1, sentAt: start + 5000 - 20, receivedAt: start + 5000 + 40 };
    await world.beat(id!, { sequence: 2, previousExchange });
    const live = await one('SELECT clock_offset_ms, clock_error_ms FROM computer_live WHERE computer_id = $1', id);
    expect([live.clock_offset_ms, live.clock_error_ms]).to.deep.equal([5010, 33]);
  });

  it('loses no report and finds no deadlock between two managers that write the same rows', async function () {
    this.timeout(30_000);
    const ids = await addComputers(database.pool, 40);
    const pool = createPool({ connection: database.appConnection, poolSize: 4 });
    const other = createIngestWorld(pool, { clock: handClock(world.clock.now) });
    const retriesBefore = world.metrics.retries;
    const rounds = 15;
    const hammer = async (manager: IngestWorld, boot: string) => {
      for (let round = 1; round <= rounds; round += 1) {
        const shuffled = [...ids].sort(() => Math.random() - 0.5);
        const lane = (id: string) => [
          { lane: 'log' as const, epoch: `${boot}-${id.slice(0, 4)}`, events: events(round, round) },
        ];
        await Promise.all(shuffled.map((id) => manager.beat(id, { bootId: boot, sequence: round, lanes: lane(id) })));
      }
    };
    await Promise.all([hammer(world, 'boot-a'), hammer(other, 'boot-b')]);
    await pool.end();
    const stored = await one('SELECT count(*)::int AS n FROM events WHERE computer_id = ANY($1)', ids);
    expect(stored.n).to.equal(2 * rounds * ids.length);
    expect(world.metrics.retries - retriesBefore + other.metrics.retries).to.equal(0);
  });

  it('flushes receipts and counters apart from the hot update, the last hundred of each computer', async () => {
    const [id] = await addComputers(database.pool, 1);
    const first = world.clock.now;
    for (let n = 0; n < 130; n += 1) {
      world.recorder.note({
        spool: null,
        computerId: id!,
        receivedAt: first + n,
        latenessMs: n,
        clockOffsetMs: null,
        latencyMs: 7,
        counters: { n },
        agentTimeMs: first,
      });
      if (n % 50 === 0) while ((await world.recorder.flush()) > 0);
    }
    while ((await world.recorder.flush()) > 0);
    const row = await one('SELECT * FROM heartbeat_rings WHERE computer_id = $1', id);
    const receipts = unpackReceipts(row.ring);
    expect(receipts).to.have.length(100);
    expect(receipts[0]).to.deep.equal({ receivedAt: first + 30, latenessMs: 30, clockOffsetMs: null, latencyMs: 7 });
    expect(receipts.at(-1)?.latenessMs).to.equal(129);
    expect(row.counters).to.deep.equal({ n: 129 });
  });

  it('answers what it took when it drains, and turns the rest away', async () => {
    const [id, late] = await addComputers(database.pool, 2);
    const draining = createIngestWorld(database.pool);
    const taken = draining.beat(id!);
    const drained = draining.batcher.drain();
    expect(await codeOf(draining.beat(late!))).to.equal('unavailable');
    await drained;
    expect((await taken).effect).to.equal('accepted');
    expect(draining.deaf).to.deep.equal(['refused-heartbeats']);
  });

  it('turns heartbeats away and notes the deafness while the database is away', async () => {
    const [id] = await addComputers(database.pool, 1);
    const pool = createPool({ connection: { ...database.appConnection, host: '/nonexistent' }, poolSize: 1 });
    const away = createIngestWorld(pool);
    expect(await codeOf(away.beat(id!))).to.equal('unavailable');
    expect(away.deaf).to.deep.equal(['database-away']);
    await pool.end();
  });

  it('answers 503 when the connection dies at the commit, and the retry is a repeat or new', async () => {
    const [id] = await addComputers(database.pool, 1);
    const exchange = world.report(id!);
    const client = await database.pool.connect();
    await client.query('BEGIN');
    await client.query('SELECT 1 FROM computer_live WHERE computer_id = $1 FOR UPDATE', [id]);
    const answer = codeOf(world.batcher.submit(exchange));
    const waiting = `SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`;
    let pids: { pid: number }[] = [];
    while (pids.length === 0) pids = (await client.query(waiting)).rows;
    await client.query('SELECT pg_terminate_backend($1)', [pids[0]!.pid]);
    expect(await answer).to.equal('unavailable');
    await client.query('ROLLBACK');
    client.release();
    expect(world.deaf).to.contain('database-away');
    expect((await world.batcher.submit(exchange)).effect).to.equal('accepted');
  });
});
