import { expect } from 'chai';
import { createDialShards } from '../../../server/dials/dial-shards.js';
import type { RunningListeningLedger } from '../../../server/listening/listening-ledger.js';
import { useDatabase } from '../../support/database.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

const SECOND = 1000;

describe('a manager that drains beside another one', () => {
  const database = useDatabase();
  let world: VerdictWorld;
  let ledgers: RunningListeningLedger[];
  let isDraining: boolean;

  beforeEach(async () => {
    isDraining = false;
    world = new VerdictWorld(database);
    await world.open();
    ledgers = [await world.listen('n1'), await world.listen('n2')];
  });

  const listenUntil = async (at: number) => {
    while (world.clock.fleet() < START + at) {
      await world.clock.advance(Math.min(SECOND, START + at - world.clock.fleet()));
      for (const ledger of ledgers) await ledger.renew();
    }
  };
  const owners = async (table: string) => {
    const { rows } = await database.pool.query(`SELECT owner, count(*)::int AS shards FROM ${table} GROUP BY owner`);
    return Object.fromEntries(rows.map(({ owner, shards }) => [String(owner), Number(shards)]));
  };

  it('makes no verdict, and the other one makes them at once', async () => {
    const [one, two] = ledgers;
    const leaving = world.job(one!, 'n1', () => isDraining);
    const staying = world.job(two!, 'n2');
    await world.run(leaving);
    await world.run(staying);
    expect(await owners('verdict_shards')).to.deep.equal({ n1: 64 });
    expect(leaving.verdictState().state).to.equal('active');
    const dead = await world.computer({ at: 0 });
    await listenUntil(190 * SECOND);
    isDraining = true;
    expect(leaving.verdictState()).to.include({ state: 'held', reason: 'draining' });
    await world.run(leaving);
    expect(await owners('verdict_shards')).to.deep.equal({ null: 64 });
    expect((await world.status(dead))[0]).to.equal('online');
    await world.run(staying);
    expect(await owners('verdict_shards')).to.deep.equal({ n2: 64 });
    expect((await world.status(dead))[0]).to.equal('offline');
    await world.run(leaving);
    expect(await owners('verdict_shards')).to.deep.equal({ n2: 64 });
  });

  it('makes verdicts again after a drain that came to nothing', async () => {
    const job = world.job(ledgers[0]!, 'n1', () => isDraining);
    await world.run(job);
    isDraining = true;
    await world.run(job);
    const dead = await world.computer({ at: 0 });
    await listenUntil(190 * SECOND);
    await world.run(job);
    expect(await world.alerts()).to.deep.equal([]);
    isDraining = false;
    expect(job.verdictState()).to.include({ state: 'warming' });
    await world.run(job);
    expect(job.verdictState().state).to.equal('active');
    // By its deadline, however late it was looked for.
    expect(await world.alerts(dead)).to.have.nested.property('0.raisedAt', 185 * SECOND);
  });

  it('leaves its dials to the other one', async () => {
    const { inTransaction } = world;
    const leaving = createDialShards({ owner: 'n1', inTransaction, isDraining: () => isDraining });
    const staying = createDialShards({ owner: 'n2', inTransaction });
    await leaving.hold(START);
    isDraining = true;
    expect((await leaving.hold(START + 1)).lost).to.have.length(64);
    expect((await staying.hold(START + 2)).taken).to.have.length(64);
    expect(await leaving.hold(START + 60 * SECOND)).to.deep.equal({ taken: [], lost: [] });
    await staying.release();
    isDraining = false;
    expect((await leaving.hold(START + 61 * SECOND)).taken).to.have.length(64);
  });
});
