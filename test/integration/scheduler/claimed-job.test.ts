import { expect } from 'chai';
import { createClaimedJob } from '../../../server/scheduler/claimed-job.js';
import { JOB_LEASE_MS } from '../../../server/scheduler/job-claim-repository.js';
import { useDatabase } from '../../support/database.js';
import { VerdictWorld } from '../../support/verdict-world.js';

describe('a claimed job', () => {
  const database = useDatabase();
  let world: VerdictWorld;
  beforeEach(async () => {
    world = new VerdictWorld(database);
    await database.pool.query('DELETE FROM jobs');
  });
  const claimant = (owner: string, name = 'seals') =>
    createClaimedJob({ name, owner, inTransaction: world.inTransaction, fleetClock: world.clock });
  const work = async () => 'done';

  it('is done by one owner at a time, and by the next once the lease has run out', async () => {
    const [n1, n2] = [claimant('n1'), claimant('n2')];
    expect(await n1.run(work)).to.deep.equal({ value: 'done' });
    expect(await n2.run(work)).to.equal(undefined);
    await world.clock.advance(JOB_LEASE_MS);
    expect(await n2.run(work)).to.equal(undefined);
    expect(await n1.run(work)).to.deep.equal({ value: 'done' });
    await world.clock.advance(JOB_LEASE_MS + 1);
    expect(await n2.run(work)).to.deep.equal({ value: 'done' });
    expect([n1.generation(), n2.generation()]).to.deep.equal([1, 2]);
    expect(await n1.run(work)).to.equal(undefined);
    expect(n1.generation()).to.equal(undefined);
  });

  it('stores nothing of an owner that has lost it', async () => {
    const [n1, n2] = [claimant('n1'), claimant('n2')];
    await n1.run(work);
    await world.clock.advance(JOB_LEASE_MS + 1);
    await n2.run(work);
    let ran = false;
    expect(await n1.run(async () => (ran = true))).to.equal(undefined);
    expect(ran).to.equal(false);
  });

  it('cannot be taken while its owner is writing, however long that lasts', async () => {
    const [n1, n2] = [claimant('n1'), claimant('n2')];
    await n1.run(work);
    const other = await n1.run(async () => {
      await world.clock.advance(10 * JOB_LEASE_MS);
      return n2.run(work);
    });
    expect(other).to.deep.equal({ value: undefined });
    expect((await n2.run(work))?.value).to.equal('done');
  });

  it('is taken back at once by the next life of its owner, which ends the life before', async () => {
    const before = claimant('n1');
    await before.run(work);
    const after = claimant('n1');
    expect(await after.run(work)).to.deep.equal({ value: 'done' });
    expect(after.generation()).to.equal(2);
  });

  it('is free at once when it was given back, and never given back for another', async () => {
    const [n1, n2] = [claimant('n1'), claimant('n2')];
    await n1.run(work);
    await n1.release();
    expect(await n2.run(work)).to.deep.equal({ value: 'done' });
    await n1.release();
    expect(await n1.run(work)).to.equal(undefined);
  });

  it('keeps its claim when the work fails', async () => {
    const n1 = claimant('n1');
    await n1.run(work);
    const failed = await n1
      .run(() => Promise.reject(new Error('no')))
      .then(
        () => false,
        () => true,
      );
    expect(failed).to.equal(true);
    expect(n1.generation()).to.equal(1);
    expect(await claimant('n2').run(work)).to.equal(undefined);
  });

  it('is apart from other jobs', async () => {
    await claimant('n1').run(work);
    expect(await claimant('n2', 'other').run(work)).to.deep.equal({ value: 'done' });
  });
});
