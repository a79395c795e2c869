import { expect } from 'chai';
import pg from 'pg';
import { createLog } from '../../../lib/log.js';
import { sqlOfClient, type Sql } from '../../../server/database/sql.js';
import { readLateness } from '../../../server/heartbeats/lateness-query.js';
import { createLatenessRecorder } from '../../../server/heartbeats/lateness-recorder.js';
import { LATENESS_BUCKETS, latenessBucket } from '../../../server/heartbeats/lateness-rules.js';
import { deleteOldLateness } from '../../../server/scheduler/maintenance.js';
import { useDatabase } from '../../support/database.js';
import { addComputers, createIngestWorld, handClock, POLICY_ID, seedForest } from '../../support/ingest-world.js';

const DAY = 86_400_000;
const OTHER = '00000000-0000-4000-8000-0000000000ff';

describe('the lateness of heartbeats', () => {
  const database = useDatabase();
  const clock = handClock(Date.UTC(2026, 10, 21, 23, 59, 30));
  const log = createLog({ name: 'test', level: 'silent' });
  beforeEach(() => database.pool.query('DELETE FROM lateness_histograms'));
  const read = (days: number, policyId = POLICY_ID) =>
    readLateness({ sql: sqlOfClient(database.pool), clock }, policyId, days);
  const sparse = (counts: readonly number[]) =>
    Object.fromEntries([...counts.entries()].filter(([, count]) => count > 0));

  it('is counted per day and policy with each accepted report, and stored apart from it', async () => {
    await seedForest(database.pool);
    const [a = '', b = ''] = await addComputers(database.pool, 2);
    const world = createIngestWorld(database.pool, { clock });
    await world.settings.refresh();
    const orders = await world.beat(a);
    await world.beat(b);
    expect((await read(1)).count).to.equal(0);
    clock.now += orders.nextContactInMs + 700;
    await world.beat(a);
    // A repeat is no second heartbeat.
    const again = world.report(b);
    clock.now += 1000;
    await world.batcher.submit(again);
    await world.batcher.submit(again);
    expect((await read(2)).count, 'nothing is written with the heartbeat').to.equal(0);
    await world.lateness.flush();
    const { count, total, boundsMs, days } = await read(2);
    expect(count).to.equal(2);
    expect(total).to.have.length(boundsMs.length + 1);
    expect(total[latenessBucket(700)]).to.be.at.least(1);
    expect(days.reduce((sum, { counts }) => sum + counts.reduce((x, y) => x + y, 0), 0)).to.equal(2);
  });

  it('is added to what is stored, each day for itself', async () => {
    const recorder = createLatenessRecorder({ sql: sqlOfClient(database.pool), clock, log });
    clock.now = Date.UTC(2026, 10, 21, 23, 59, 59, 999);
    const note = (latenessMs: number, policyId = POLICY_ID) =>
      recorder.note({ policyId, receivedAt: clock.now, latenessMs });
    for (const lateness of [-5, 0, 1, 90_000_000]) note(lateness);
    note(1, OTHER);
    await recorder.flush();
    note(-1);
    clock.now += 1;
    note(40);
    await recorder.flush();
    await recorder.flush();
    const { days, total, count } = await read(2);
    expect(days.map(({ day }) => day)).to.deep.equal(['2026-11-22', '2026-11-21']);
    expect(days.map(({ counts }) => sparse(counts))).to.deep.equal([
      { 1: 1 },
      { 0: 3, 1: 1, [LATENESS_BUCKETS - 1]: 1 },
    ]);
    expect(sparse(total)).to.deep.equal({ 0: 3, 1: 2, [LATENESS_BUCKETS - 1]: 1 });
    expect(count).to.equal(6);
    expect((await read(1)).count).to.equal(1);
    expect((await read(2, OTHER)).count).to.equal(1);
  });

  it('of two processes adds up', async () => {
    const recorders = [1, 2].map(() => createLatenessRecorder({ sql: sqlOfClient(database.pool), clock, log }));
    for (const recorder of recorders)
      for (let n = 0; n < 10; n += 1) recorder.note({ policyId: POLICY_ID, receivedAt: clock.now, latenessMs: 0 });
    await Promise.all(recorders.map((recorder) => recorder.stop()));
    expect((await read(1)).count).to.equal(20);
  });

  it('is kept while the database is away, and never counted twice', async () => {
    const failures: unknown[] = [
      Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
      Object.assign(new pg.DatabaseError('canceled', 0, 'error'), { code: '57014' }),
      new Error('Connection terminated unexpectedly'),
    ];
    const real = sqlOfClient(database.pool);
    const sql: Sql = {
      query: (text, parameters) => {
        const failure = failures.shift();
        return failure ? Promise.reject(failure) : real.query(text, parameters);
      },
    };
    const recorder = createLatenessRecorder({ sql, clock, log });
    const note = () => recorder.note({ policyId: POLICY_ID, receivedAt: clock.now, latenessMs: 0 });
    const flushed = () =>
      recorder.flush().then(
        () => true,
        () => false,
      );
    note();
    expect(await flushed()).to.equal(false);
    note();
    expect(await flushed()).to.equal(false);
    // This one may have been stored: its counts are let go.
    expect(await flushed()).to.equal(false);
    note();
    expect(await flushed()).to.equal(true);
    expect((await read(1)).count).to.equal(1);
  });

  it('is forgotten after 400 days', async () => {
    for (const daysAgo of [399, 400, 401])
      await database.pool.query(`INSERT INTO lateness_histograms VALUES ($1::date, $2, '{1}')`, [
        new Date(clock.now - daysAgo * DAY).toISOString().slice(0, 10),
        POLICY_ID,
      ]);
    await deleteOldLateness({
      fleetClock: clock,
      inTransaction: (work) => work(sqlOfClient(database.pool)),
    });
    expect((await database.pool.query('SELECT FROM lateness_histograms')).rowCount).to.equal(2);
  });
});
