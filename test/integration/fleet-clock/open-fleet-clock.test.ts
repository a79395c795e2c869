import { expect } from 'chai';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createHotTransaction } from '../../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../../server/database/in-transaction.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { openFleetClock } from '../../../server/fleet-clock/open-fleet-clock.js';
import { useDatabase } from '../../support/database.js';
import { FakeClock } from '../../support/fake-clock.js';

const START = Date.UTC(2026, 10, 21, 12);

describe('the fleet clock in the database', () => {
  const database = useDatabase();
  const random = createSystemRandom();
  const log = createLog({ name: 'test', level: 'silent' });
  const open = (clock: FakeClock, bootId: string) =>
    openFleetClock({
      clock,
      bootId,
      random,
      log,
      inTransaction: createHotTransaction(createPoolUnitOfWork(database.pool, { clock, random })),
    });
  const sql = () => sqlOfClient(database.pool);
  beforeEach(() => database.pool.query('DELETE FROM fleet_clock; DELETE FROM clock_offsets'));

  it('begins at the wall time of the first start', async () => {
    const clock = new FakeClock(START);
    const fleet = await open(clock, 'boot-1');
    expect(fleet.fleet()).to.equal(START);
    await clock.advance(1500);
    expect(fleet.fleet()).to.equal(START + 1500);
    expect(fleet.toWall(START + 1500)).to.equal(START + 1500);
  });

  it('keeps its restore epoch and goes on by the boot clock at a restart', async () => {
    const clock = new FakeClock(START);
    const first = await open(clock, 'boot-1');
    await clock.advance(70_000);
    await first.renew(sql());
    await clock.advance(330_000);
    clock.stepWall(-3_600_000);
    const second = await open(clock, 'boot-1');
    expect(second.fleet()).to.equal(START + 400_000);
    expect(second.restoreEpoch).to.equal(first.restoreEpoch);
    expect(second.toWall(second.fleet())).to.equal(clock.wall());
  });

  it('is never behind a stored receipt', async () => {
    const clock = new FakeClock(START);
    await open(clock, 'boot-1');
    await database.pool.query('INSERT INTO computer_live (computer_id, last_seen_fleet_ms) VALUES ($1, $2)', [
      random.uuid(),
      START + 5000,
    ]);
    const second = await open(new FakeClock(START), 'boot-1');
    expect(second.fleet()).to.equal(START + 5000);
    await database.pool.query('DELETE FROM computer_live');
  });

  it('displays instants before and after a step of the wall clock each by its own offset', async () => {
    const clock = new FakeClock(START);
    const fleet = await open(clock, 'boot-1');
    await clock.advance(10_000);
    clock.stepWall(86_400_000);
    await fleet.renew(sql());
    await clock.advance(10_000);
    await fleet.renew(sql());
    expect(fleet.fleet()).to.equal(START + 20_000);
    expect(fleet.toWall(START + 5000)).to.equal(START + 5000);
    expect(fleet.toWall(START + 15_000)).to.equal(START + 15_000 + 86_400_000);
    expect(fleet.toFleet(clock.wall() + 1000)).to.equal(START + 21_000);
    expect(fleet.trustedTime()).to.equal(START + 20_000);
    const { rows } = await database.pool.query('SELECT offset_ms FROM clock_offsets ORDER BY fleet_ms');
    expect(rows.map(({ offset_ms }) => Number(offset_ms))).to.deep.equal([0, 86_400_000]);
  });

  it('tells of steps once a minute, with their sum, and of one while nobody looked', async () => {
    const clock = new FakeClock(START);
    const told: number[] = [];
    const fleet = await open(clock, 'boot-1');
    fleet.onStep(({ byMs }) => void told.push(byMs));
    await fleet.renew(sql());
    for (let second = 0; second < 90; second += 1) {
      await clock.advance(1000);
      if (second >= 10 && second < 20) clock.stepWall(2000);
      await fleet.renew(sql());
    }
    expect(told).to.deep.equal([2000, 18_000]);
    clock.stepWall(-3_600_000);
    const next = await open(clock, 'boot-1');
    next.onStep(({ byMs }) => void told.push(byMs));
    await next.renew(sql());
    expect(told).to.deep.equal([2000, 18_000, -3_600_000]);
  });

  it('follows the anchor when another process is ahead', async () => {
    const clock = new FakeClock(START);
    const fleet = await open(clock, 'boot-1');
    await database.pool.query('UPDATE fleet_clock SET anchor_fleet_ms = anchor_fleet_ms + 20');
    await fleet.renew(sql());
    expect(fleet.fleet()).to.equal(START + 20);
  });
});
