import { expect } from 'chai';
import type { Report } from '../../../protocol/heartbeat-messages.js';
import { useDatabase } from '../../support/database.js';
import {
  addComputers,
  changePolicy,
  createIngestWorld,
  seedForest,
  type IngestWorld,
} from '../../support/ingest-world.js';

const MINUTE = 60_000;

describe('eventRateLimitPerMinute against agents that do not hold to it', () => {
  const database = useDatabase();
  let world: IngestWorld;
  let id: string;

  before(() => seedForest(database.pool));

  beforeEach(async () => {
    await database.pool.query('DELETE FROM heartbeat_rings');
    await changePolicy(database.pool, { eventRateLimitPerMinute: 100 });
    [id = ''] = await addComputers(database.pool, 1);
    world = createIngestWorld(database.pool);
    await world.settings.refresh();
  });

  const logs = (from: number, count: number, agoMs = 0): Report['lanes'] => [
    {
      lane: 'log',
      epoch: 'e1',
      events: Array.from({ length: count }, (_, index) => ({
        sequence: from + index,
        occurredAt: world.clock.now - agoMs,
        kind: 'log',
        severity: 'info',
        message: 'entry',
      })),
    },
  ];
  const send = async (lanes: Report['lanes']) => {
    const orders = await world.beat(id, { lanes });
    return orders.acknowledged.map(({ position }) => position)[0];
  };
  const stored = async (): Promise<number[]> => {
    const { rows } = await database.pool.query<{ sequence: string }>('SELECT sequence FROM events ORDER BY id');
    return rows.map(({ sequence }) => Number(sequence));
  };

  it('tells the limit in the orders, takes so many of a minute, in order, and the rest when it comes again', async () => {
    expect((await world.beat(id)).eventQuota).to.include({ ratePerMinute: 100 });
    let position = await send(logs(0, 1000));
    // The minute that was lent.
    expect(position).to.equal(199);
    for (let minute = 1; minute <= 3; minute += 1) {
      world.clock.now += MINUTE;
      const before: number = position!;
      position = await send(logs(before + 1, 999 - before, minute * MINUTE));
      expect(position).to.equal(before + 100);
      // What is at or below the position is discarded.
      expect(await send(logs(0, 1000, minute * MINUTE))).to.equal(position);
    }
    expect(await stored()).to.deep.equal(Array.from({ length: 500 }, (_, index) => index));
    expect(world.metrics.eventsHeldBack).to.be.greaterThan(0);
  });

  it('accepts only lane control under 0, and every heartbeat', async () => {
    await changePolicy(database.pool, { eventRateLimitPerMinute: 0 });
    await world.settings.refresh();
    const control: Report['lanes'][number] = { ...logs(0, 150)[0]!, lane: 'control' };
    const orders = await world.beat(id, { lanes: [control, ...logs(0, 5)] });
    expect(orders.effect).to.equal('accepted');
    expect(orders.acknowledged.map(({ position }) => position)).to.deep.equal([149, -1]);
  });

  it('shows what waits at the agent, by its word', async () => {
    const lanes = [{ lane: 'log', waiting: 1400, dropped: 3, isHeldBack: true }] as const;
    await world.beat(id, { spool: { bytes: 70_000, lanes: [...lanes] } });
    await world.recorder.flush();
    const { rows } = await database.pool.query<{ spool: unknown }>('SELECT spool FROM heartbeat_rings');
    expect(rows).to.deep.equal([{ spool: { bytes: 70_000, lanes } }]);
  });
});
