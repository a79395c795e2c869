import { expect } from 'chai';
import type { PathFinding } from '../../../policies/self-suspicion-rules.js';
import type { RunningListeningLedger } from '../../../server/listening/listening-ledger.js';
import type { VerdictJob } from '../../../server/verdicts/verdict-job.js';
import { useDatabase } from '../../support/database.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

const SECOND = 1000;
const FAULT = 'agent port: connect ECONNREFUSED';

describe('a manager that doubts itself', function () {
  this.timeout(60_000);
  const database = useDatabase();
  let world: VerdictWorld;
  let ledger: RunningListeningLedger;
  let job: VerdictJob;
  let checks: ((fault: PathFinding) => void)[];

  beforeEach(async () => {
    world = new VerdictWorld(database);
    await world.open();
    ledger = await world.listen();
    checks = [];
    job = world.doubtingJob(ledger, () => new Promise((answer) => checks.push(answer)));
  });

  /** Time goes on, and the job looks once a second as by its cron. */
  const goOnUntil = async (at: number, meanwhile: () => Promise<void> = async () => {}) => {
    while (world.clock.fleet() < START + at) {
      await world.clock.advance(Math.min(SECOND, START + at - world.clock.fleet()));
      await ledger.renew();
      await meanwhile();
      await world.run(job);
    }
  };
  const fleet = (count: number, at = 0) => Promise.all(Array.from({ length: count }, () => world.computer({ at })));
  const statuses = async () => {
    const { rows } = await database.pool.query(
      'SELECT status, count(*)::int AS n FROM computer_status GROUP BY status',
    );
    return Object.fromEntries(rows.map((row) => [row.status, row.n])) as Record<string, number>;
  };
  const answer = async (fault: PathFinding) => {
    for (const one of checks.splice(0)) one(fault);
    await world.clock.advance(0);
  };
  const spans = async () => {
    const { rows } = await database.pool.query('SELECT * FROM deaf_spans ORDER BY from_fleet_ms');
    return rows.map((row) => [Number(row.from_fleet_ms) - START, Number(row.until_fleet_ms) - START, row.cause]);
  };

  it('looks at its own path before it calls nine tenths of ten computers silent, and believes it when it works', async () => {
    await fleet(10);
    await goOnUntil(64_000);
    expect(checks).to.have.lengthOf(0);
    await goOnUntil(66_000);
    expect(checks).to.have.lengthOf(1);
    expect(await statuses()).to.deep.equal({ online: 10 });
    expect(job.verdictState()).to.include({ state: 'held', reason: 'self-suspicion', until: START + 185_000 });
    await answer(null);
    await goOnUntil(67_000);
    expect(await statuses()).to.deep.equal({ late: 10 });
    expect(job.verdictState()).to.include({ state: 'active', reason: null, until: null });
    await goOnUntil(186_000);
    expect((await world.alerts()).map(({ raisedAt }) => raisedAt)).to.deep.equal(Array(10).fill(185_000));
    expect(await spans()).to.deep.equal([]);
    expect(checks).to.have.lengthOf(0);
  });

  it('writes nothing while its path is broken, and excuses that time', async () => {
    await fleet(20);
    await goOnUntil(65_000);
    await answer(FAULT);
    expect(ledger.deafness()?.cause).to.equal('self-suspicion');
    await goOnUntil(95_000, async () => answer(FAULT));
    expect(await statuses()).to.deep.equal({ online: 20 });
    expect(job.verdictState()).to.include({ state: 'held', reason: 'self-suspicion', until: START + 185_000 });
    await goOnUntil(96_000, async () => answer(FAULT));
    await goOnUntil(101_000);
    await answer(null);
    await goOnUntil(103_000);
    expect(job.verdictState()).to.include({ state: 'active' });
    const [[from, until, cause]] = (await spans()) as [[number, number, string]];
    // Nobody of them was heard after this: what they sent from then on may have been lost.
    expect([from, cause]).to.deep.equal([0, 'self-suspicion']);
    expect(until).to.be.within(101_000, 102_000);
    expect(await statuses()).to.deep.equal({ online: 20 });
  });

  it('goes on after two minutes however its path looks, once, and raises for all', async () => {
    await fleet(20);
    await goOnUntil(65_000);
    await goOnUntil(184_000, async () => answer(FAULT));
    expect(await world.alerts()).to.deep.equal([]);
    await goOnUntil(187_000, async () => answer(FAULT));
    expect(job.verdictState().state).to.equal('active');
    await goOnUntil(375_000, async () => answer(FAULT));
    expect(await world.alerts()).to.have.lengthOf(20);
    expect((await spans()).map(([, , cause]) => cause)).to.deep.equal(['self-suspicion']);
    const [[, until]] = (await spans()) as [[number, number]];
    expect(until).to.be.within(185_000, 187_000);
    expect(new Set((await world.alerts()).map(({ raisedAt }) => raisedAt))).to.deep.equal(new Set([until + 185_000]));
  });

  for (const [what, finding] of [
    ['nothing could be told of its path', async () => answer(undefined)],
    ['the look did not end', async () => {}],
  ] as const)
    it(`goes on after two minutes in which ${what}, and excuses them`, async () => {
      await fleet(20);
      await goOnUntil(184_000, finding);
      expect(await statuses()).to.deep.equal({ online: 20 });
      await goOnUntil(188_000, finding);
      expect(job.verdictState().state).to.equal('active');
      const [[from, until, cause]] = (await spans()) as [[number, number, string]];
      expect([from, cause]).to.deep.equal([0, 'self-suspicion']);
      expect(until).to.be.within(185_000, 188_000);
      expect(await statuses()).to.deep.equal({ online: 20 });
    });

  it('ends the doubt after two minutes also while the manager drains', async () => {
    let isDraining = false;
    const doubt = () => new Promise<PathFinding>((given) => checks.push(given));
    job = world.doubtingJob(ledger, doubt, () => isDraining);
    await fleet(20);
    await goOnUntil(66_000);
    await answer(FAULT);
    isDraining = true;
    await goOnUntil(190_000, async () => answer(FAULT));
    expect(ledger.deafness()).to.equal(undefined);
    const [[from, until, cause]] = (await spans()) as [[number, number, string]];
    expect([from, cause]).to.deep.equal([0, 'self-suspicion']);
    expect(until).to.be.within(185_000, 187_000);
    expect(await statuses()).to.deep.equal({ online: 20 });
  });

  it('believes nine computers, and a smaller share', async () => {
    await fleet(9);
    await goOnUntil(70_000);
    expect(await statuses()).to.deep.equal({ late: 9 });
    expect(checks).to.have.lengthOf(0);
  });

  it('believes a silence of eight in ten', async () => {
    await fleet(16);
    const there = await fleet(4);
    await goOnUntil(50_000);
    for (const id of there) await world.beat(id, [job]);
    await goOnUntil(70_000);
    expect(await statuses()).to.deep.equal({ late: 16, online: 4 });
    expect(checks).to.have.lengthOf(0);
  });

  it('counts nobody who was silent long before', async () => {
    const dead = await fleet(30);
    await world.clock.advance(0);
    job = world.doubtingJob(ledger, () => Promise.resolve(null));
    await goOnUntil(300_000);
    expect(await statuses()).to.deep.equal({ offline: 30 });
    job = world.doubtingJob(ledger, () => new Promise((given) => checks.push(given)));
    await fleet(10, 600_000);
    await fleet(1, 640_000);
    await goOnUntil(664_000);
    expect(checks).to.have.lengthOf(0);
    await goOnUntil(666_000);
    expect(checks).to.have.lengthOf(1);
    expect(dead).to.have.lengthOf(30);
    expect((await statuses())['late'] ?? 0).to.equal(0);
  });

  it('doubts itself anew when the computers had come back', async () => {
    const ids = await fleet(12);
    await goOnUntil(66_000);
    await answer(null);
    await goOnUntil(70_000);
    for (const id of ids) await world.beat(id, [job]);
    await goOnUntil(134_000);
    expect(checks).to.have.lengthOf(0);
    await goOnUntil(136_000);
    expect(checks).to.have.lengthOf(1);
    await answer(null);
    await goOnUntil(138_000);
    expect(await statuses()).to.deep.equal({ late: 12 });
  });

  it('counts at most once for a trickle of silences in a large fleet', async () => {
    const ids = await fleet(60);
    await goOnUntil(1000);
    for (let at = 30_000; at <= 120_000; at += 30_000) {
      await goOnUntil(at);
      for (const id of ids.slice(3)) await world.beat(id, [job]);
    }
    expect(await statuses()).to.deep.equal({ late: 3, online: 57 });
    expect(checks).to.have.lengthOf(0);
  });

  it('judges thousands that are due at once only after the look', async () => {
    await database.pool.query(
      `WITH made AS (SELECT gen_random_uuid() AS id FROM generate_series(1, 2500)),
       named AS (INSERT INTO computers (id, name, kind, policy_id, labels, revision, verdict_rules_fleet_ms, created_fleet_ms)
         SELECT id, 'web1', 'agent', $1::uuid, '{}', 1, 0, 0 FROM made),
       live AS (INSERT INTO computer_live (computer_id, last_seen_fleet_ms, contact_due_fleet_ms, confirmed_interval_ms)
         SELECT id, $2::bigint, $2::bigint + 60000, 60000 FROM made)
       INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms)
         SELECT id, 'online', 'in-contact', $2::bigint FROM made`,
      [world.policyId, START],
    );
    await goOnUntil(66_000);
    expect(checks).to.have.lengthOf(1);
    expect(await statuses()).to.deep.equal({ online: 2500 });
    await answer(null);
    await goOnUntil(68_000);
    expect(await statuses()).to.deep.equal({ late: 2500 });
  });
});
