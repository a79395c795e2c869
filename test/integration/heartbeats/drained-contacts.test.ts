import { expect } from 'chai';
import { createManagerDrain } from '../../../server/system/drain.js';
import { useDatabase } from '../../support/database.js';
import { addComputers, createIngestWorld, handClock, seedForest } from '../../support/ingest-world.js';

describe('what agents are told while the manager drains', () => {
  const database = useDatabase();

  it('is stored as their next contact, so that no deadline comes before it', async () => {
    await seedForest(database.pool);
    const ids = await addComputers(database.pool, 20);
    const clock = handClock();
    const log = { info: () => undefined } as never;
    const drain = createManagerDrain({ fleetClock: clock, journal: { note: () => undefined }, log });
    const world = createIngestWorld(database.pool, { clock, orderContact: drain.orderContact });
    await world.settings.refresh();
    await drain.begin(60);
    const reports = ids.map((id) => world.report(id));
    const orders = await Promise.all(reports.map((report) => world.batcher.submit(report)));
    const told = orders.map(({ nextContactInMs }) => nextContactInMs);
    expect(new Set(told).size).to.equal(20);
    expect(told.filter((ms) => ms < 60_000 || ms > 120_000)).to.deep.equal([]);
    const { rows } = await database.pool.query(
      'SELECT contact_due_fleet_ms AS due FROM computer_live ORDER BY computer_id',
    );
    expect(rows.map(({ due }) => Number(due) - clock.now)).to.deep.equal(told);
    expect(world.heard.map(({ contactDueAt }) => contactDueAt - clock.now).toSorted()).to.deep.equal(told.toSorted());
    clock.now += 5000;
    const again = await world.batcher.submit(reports[0]!);
    expect(again.nextContactInMs, 'a repeat is told what remains').to.equal(told[0]! - 5000);
  });
});
