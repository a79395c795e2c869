import { expect } from 'chai';
import { createSystemRandom } from '../../../lib/random.js';
import { keepPartitions } from '../../../server/scheduler/maintenance.js';
import { useDatabase } from '../../support/database.js';
import { eventually } from '../../support/poll.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

const DAY = 86_400_000;
const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10).replaceAll('-', '');

describe('partitions from day to day', function () {
  this.timeout(60_000);
  const database = useDatabase();
  const random = createSystemRandom();
  let world: VerdictWorld;
  before(() => void (world = new VerdictWorld(database)));
  const keep = () => keepPartitions({ inTransaction: world.inTransaction, fleetClock: world.clock });
  const today = () => world.clock.wall();

  const addEvent = (at: number, sql: Pick<typeof database.pool, 'query'> = database.pool) =>
    sql.query(
      `INSERT INTO events (id, partition_at, lane, epoch, sequence, occurred_ms, received_fleet_ms, kind, severity, message)
       VALUES ($1, $2, 'manager', 'manager', 0, $3, $3, 'x', 'info', 'x')`,
      [random.uuid(), new Date(at).toISOString(), at],
    );
  async function places(): Promise<Record<string, number>> {
    const { rows } = await database.pool.query(
      `SELECT tableoid::regclass::text AS place, count(*) AS count FROM events GROUP BY 1 ORDER BY 1`,
    );
    return Object.fromEntries(rows.map(({ place, count }) => [place, count]));
  }
  async function partitionsOf(table: string): Promise<string[]> {
    const { rows } = await database.pool.query(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1`,
      [table],
    );
    return rows.map(({ name }) => (name as string).slice(table.length + 1)).filter((name) => name !== 'default');
  }

  it('are there before each day begins, for 40 days, and go after 30', async () => {
    for (let day = 0; day < 40; day += 1) {
      await keep();
      await addEvent(today());
      await addEvent(today() + 7 * DAY);
      await world.clock.jump(DAY);
    }
    const found = await places();
    expect(found).to.not.have.property('events_default');
    const lastKept = START + 39 * DAY;
    const expected = Array.from({ length: 38 }, (_none, n) => `p${dayOf(lastKept + (n - 30) * DAY)}`);
    expect(await partitionsOf('events')).to.deep.equal(expected);
    expect(Object.values(found).reduce((sum, count) => sum + count, 0)).to.equal(31 + 38);
  });

  it('keep gaps and status history for 400 days', async () => {
    for (const table of ['heartbeat_gaps', 'status_history'])
      expect((await partitionsOf(table))[0]).to.equal(`p${dayOf(START)}`);
    await world.clock.jump(START + 400 * DAY - today());
    await keep();
    for (const table of ['heartbeat_gaps', 'status_history'])
      expect((await partitionsOf(table))[0], table).to.equal(`p${dayOf(START)}`);
    await world.clock.jump(DAY);
    await keep();
    for (const table of ['heartbeat_gaps', 'status_history'])
      expect((await partitionsOf(table))[0], table).to.equal(`p${dayOf(START + DAY)}`);
  });

  it('are made although the job did not run for weeks and the default partition caught everything', async () => {
    await database.pool.query('DELETE FROM events');
    await world.clock.jump(20 * DAY);
    const days = [-12, -5, -1, 0, 1, 3, 7, 9];
    for (const day of days) await addEvent(today() + day * DAY);
    expect(await places()).to.deep.equal({ events_default: days.length });
    await keep();
    expect(await places()).to.deep.equal({
      events_default: 4,
      ...Object.fromEntries([0, 1, 3, 7].map((day) => [`events_p${dayOf(today() + day * DAY)}`, 1])),
    });
    // What is late for its day still has a place, and blocks nothing.
    await addEvent(today() - 2 * DAY);
    await world.clock.jump(2 * DAY);
    await keep();
    expect((await places())[`events_p${dayOf(today() + 7 * DAY)}`]).to.equal(1);
    await world.clock.jump(40 * DAY);
    await keep();
    expect(await places()).to.deep.equal({});
  });

  it('take their turn with writers', async () => {
    await world.clock.jump(DAY);
    const writes = Array.from({ length: 40 }, (_none, n) => addEvent(today() + (n % 9) * DAY));
    await Promise.all([keep(), ...writes, keep()]);
    const found = await places();
    expect(Object.values(found).reduce((sum, count) => sum + count, 0)).to.equal(40);
    await keep();
    // Only the day beyond the week is in the default partition.
    expect((await places())['events_default']).to.equal(4);
  });

  it('make a writer wait that would go to the default partition, and never refuse it', async () => {
    await world.clock.jump(10 * DAY);
    const waiting = async () => {
      const { rows } = await database.pool.query(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
      );
      return rows[0].n as number;
    };
    const holder = await database.pool.connect();
    try {
      await holder.query('BEGIN');
      await addEvent(today() + 20 * DAY, holder);
      const kept = keep();
      await eventually('the partition job waits', async () => (await waiting()) === 1);
      const written = addEvent(today());
      await eventually('the writer waits', async () => (await waiting()) === 2);
      await holder.query('COMMIT');
      await Promise.all([kept, written]);
    } finally {
      holder.release();
    }
    expect((await places())[`events_p${dayOf(today())}`]).to.equal(1);
  });
});
