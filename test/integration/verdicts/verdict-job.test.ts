import { expect } from 'chai';
import type { RunningListeningLedger } from '../../../server/listening/listening-ledger.js';
import type { VerdictJob } from '../../../server/verdicts/verdict-job.js';
import { useDatabase } from '../../support/database.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

const SECOND = 1000;

describe('making verdicts', () => {
  const database = useDatabase();
  let world: VerdictWorld;
  let ledger: RunningListeningLedger;
  let job: VerdictJob;

  beforeEach(async () => {
    world = new VerdictWorld(database);
    await world.open();
    ledger = await world.listen();
    job = world.job(ledger);
  });

  /** Time goes on for a listening manager whose job does not look yet. */
  const listenUntil = async (at: number, listening = ledger) => {
    while (world.clock.fleet() < START + at) {
      await world.clock.advance(Math.min(SECOND, START + at - world.clock.fleet()));
      await listening.renew();
    }
  };
  const lookAt = async (at: number) => {
    await listenUntil(at);
    await world.run(job);
  };
  const sql = (text: string, ...parameters: unknown[]) => database.pool.query(text, parameters);

  it('stamps the deadline, not the instant at which it looked', async () => {
    const web1 = await world.computer({ at: 0, due: 52 * SECOND });
    await lookAt(64_999);
    expect(await world.status(web1)).to.deep.equal(['online', 'in-contact', 0]);
    await lookAt(70_000);
    expect(await world.status(web1)).to.deep.equal(['late', 'heartbeat-missed', 65_000]);
    await lookAt(184_999);
    expect(await world.alerts()).to.deep.equal([]);
    await lookAt(200_000);
    expect(await world.status(web1)).to.deep.equal(['offline', 'unknown', 185_000]);
    expect(await world.alerts(web1)).to.deep.equal([
      { state: 'raised', reason: 'unknown', raisedAt: 185_000, closedAt: null, occurrences: 1 },
    ]);
    expect(await world.history(web1)).to.deep.equal([
      ['online', 'late', 65_000],
      ['late', 'offline', 185_000],
    ]);
  });

  it('resolves the alert at the instant of the return', async () => {
    const web1 = await world.computer({ at: 0 });
    await lookAt(200_000);
    await listenUntil(210_000);
    await world.beat(web1, [job]);
    expect(await world.status(web1)).to.deep.equal(['online', 'in-contact', 210_000]);
    expect(await world.alerts(web1)).to.deep.equal([
      { state: 'resolved', reason: 'unknown', raisedAt: 185_000, closedAt: 210_000, occurrences: 1 },
    ]);
    await lookAt(400_000);
    expect((await world.alerts(web1)).map(({ state, raisedAt }) => [state, raisedAt])).to.deep.equal([
      ['resolved', 185_000],
      ['raised', 395_000],
    ]);
  });

  it('excuses the time in which the manager was down, by the worked example of design.md §5', async () => {
    const dead = await world.computer({ at: 0, due: 52 * SECOND });
    const returns = await world.computer({ at: 0, due: 52 * SECOND });
    await lookAt(69_999);
    expect(await world.status(dead)).to.deep.equal(['late', 'heartbeat-missed', 65_000]);
    await listenUntil(70_000);
    await job.release();
    await world.clock.advance(330_000);
    ledger = await world.listen();
    job = world.job(ledger);
    await world.run(job);
    await listenUntil(401_000);
    await world.beat(returns, [job]);
    for (const at of [500_000, 514_999]) await lookAt(at);
    expect(await world.alerts()).to.deep.equal([]);
    await lookAt(515_000);
    expect((await world.alerts(dead))[0]?.raisedAt).to.equal(515_000);
    expect((await world.history(returns)).at(-1)).to.deep.equal(['online', 'late', 466_000]);
    await lookAt(590_000);
    expect((await world.alerts(returns))[0]?.raisedAt).to.equal(586_000);
  });

  it('excuses a second time down too', async () => {
    const dead = await world.computer({ at: 0, due: 52 * SECOND });
    await lookAt(70_000);
    for (const [back, until] of [
      [400_000, 420_000],
      [430_000, 524_999],
    ] as const) {
      await world.clock.advance(START + back - world.clock.fleet());
      ledger = await world.listen();
      job = world.job(ledger);
      await lookAt(until);
    }
    expect(await world.alerts(dead)).to.deep.equal([]);
    await lookAt(525_000);
    expect((await world.alerts(dead))[0]?.raisedAt).to.equal(525_000);
  });

  it('raises one alert when two jobs race for the same deadline', async () => {
    const ids = await Promise.all(Array.from({ length: 5 }, () => world.computer({ at: 0 })));
    await world.run(job);
    await listenUntil(200_000);
    const jobs = [job, world.job(ledger, 'n2'), world.job(ledger, 'n3')];
    await Promise.all(jobs.map((one) => world.run(one)));
    await listenUntil(215_000);
    await Promise.all(jobs.map((one) => world.run(one)));
    expect((await world.alerts()).map(({ raisedAt }) => raisedAt)).to.deep.equal(ids.map(() => 185_000));
    expect((await world.alerts()).map(({ occurrences }) => occurrences)).to.deep.equal(ids.map(() => 1));
  });

  it('waits until another listener, which proves once a second, has proven past the deadline', async () => {
    const web1 = await world.computer({ at: 0 });
    await world.run(job);
    await listenUntil(184_500);
    const other = await world.listen('n2');
    await world.clock.advance(800);
    other.witness();
    await ledger.renew();
    await world.run(job);
    expect(await world.alerts()).to.deep.equal([]);
    await world.clock.advance(400);
    await other.renew();
    await world.run(job);
    expect((await world.alerts(web1)).map(({ raisedAt }) => raisedAt)).to.deep.equal([185_000]);
  });

  it('lets a report that was received before be stored first, and believes it', async () => {
    const web1 = await world.computer({ at: 0 });
    let unsettled: (() => Promise<void>) | undefined;
    ledger = await world.listen('n1', async () => {
      const store = unsettled;
      unsettled = undefined;
      await store?.();
    });
    job = world.job(ledger);
    await lookAt(184_000);
    await listenUntil(186_000);
    unsettled = () => world.beat(web1, [job]);
    await world.run(job);
    expect(await world.alerts()).to.deep.equal([]);
    expect(await world.status(web1)).to.deep.equal(['online', 'in-contact', 186_000]);
  });

  it('is not kept busy by a hint that the database knows nothing of', async () => {
    const web1 = await world.computer({ at: 0 });
    await world.run(job);
    const contact = { lastSeenAt: START + 5, contactDueAt: START + 60_005, intervalMs: 60_000 };
    job.heard([{ computerId: web1, ...contact }]);
    await lookAt(186_000);
    expect(await world.alerts(web1)).to.have.lengthOf(1);
  });

  it('writes nothing after it lost its lease', async () => {
    const web1 = await world.computer({ at: 0 });
    await world.run(job);
    await listenUntil(184_000);
    await world.run(job);
    await sql(
      "UPDATE verdict_shards SET owner = 'n2', generation = generation + 1, lease_until_fleet_ms = $1",
      [START + 900_000].at(0),
    );
    await listenUntil(186_000);
    await world.run(job);
    await listenUntil(200_000);
    await world.run(job);
    expect(await world.alerts(web1)).to.deep.equal([]);
  });

  it('writes nothing for a live computer', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => world.computer({ at: 0 })));
    await world.run(job);
    const written = async () => {
      const { rows } = await sql(
        `SELECT string_agg(computer_live.xmin || ' ' || computer_status.xmin, ',' ORDER BY computer_live.computer_id) AS rows
         FROM computer_live JOIN computer_status USING (computer_id)`,
      );
      return rows[0].rows as string;
    };
    for (let round = 1; round <= 3; round += 1) {
      await listenUntil(round * 55 * SECOND);
      for (const id of ids) await world.beat(id, [job]);
      const before = await written();
      world.statements.length = 0;
      await lookAt(round * 55 * SECOND + 2 * SECOND);
      expect(await written()).to.equal(before);
      expect(
        world.statements.filter((text) => /computer_status|computer_live|alerts/.test(text)),
      ).to.have.lengthOf.at.most(2);
    }
    expect(await world.alerts()).to.deep.equal([]);
  });

  it('finds by itself what another process stored, and writes nothing for it', async () => {
    const web1 = await world.computer({ at: 0 });
    await world.run(job);
    await listenUntil(60_000);
    await world.beat(web1, []);
    await lookAt(100_000);
    expect(await world.status(web1)).to.deep.equal(['online', 'in-contact', 0]);
    expect(await world.history(web1)).to.deep.equal([]);
  });

  it('takes a constant number of statements for any number of transitions', async () => {
    for (let count = 0; count < 300; count += 1) await world.computer({ at: 0 });
    await lookAt(60_000);
    world.statements.length = 0;
    await lookAt(186_000);
    expect(await world.alerts()).to.have.lengthOf(300);
    const writes = world.statements.filter((text) =>
      /INSERT INTO (alerts|status_history)|UPDATE computer_status/.test(text),
    );
    expect(writes).to.have.lengthOf(3);
  });

  it('stays late when absence is unlimited', async () => {
    world.settings.rules = { ...world.settings.rules, missedAllowed: 'unlimited' };
    const web1 = await world.computer({ at: 0 });
    await lookAt(4_000_000 / 10);
    expect(await world.status(web1)).to.deep.equal(['late', 'absence-allowed', 65_000]);
    expect(await world.alerts()).to.deep.equal([]);
  });

  it('stamps a lowered threshold with the instant of the edit', async () => {
    world.settings.rules = { ...world.settings.rules, missedAllowed: 'unlimited' };
    const web1 = await world.computer({ at: 0 });
    await lookAt(300_000);
    world.settings.edit({ missedAllowed: 2 }, START + 300_000);
    await lookAt(301_000);
    expect(await world.status(web1)).to.deep.equal(['offline', 'unknown', 300_000]);
    expect((await world.alerts(web1))[0]?.raisedAt).to.equal(300_000);
  });

  it('takes an alert back when the threshold is raised above the silence', async () => {
    const web1 = await world.computer({ at: 0 });
    await lookAt(200_000);
    await listenUntil(250_000);
    world.settings.edit({ missedAllowed: 'unlimited' }, START + 250_000);
    await lookAt(251_000);
    expect((await world.status(web1)).slice(0, 2)).to.deep.equal(['late', 'absence-allowed']);
    expect((await world.alerts(web1)).map(({ state, closedAt }) => [state, closedAt])).to.deep.equal([
      ['resolved', 250_000],
    ]);
  });

  it('gives an announced restart its time and names the goodbye', async () => {
    const web1 = await world.computer({ at: 0 });
    await world.run(job);
    await world.inTransaction((tx) =>
      world.statuses.setGoodbyes(tx, [
        { computerId: web1, goodbye: { reason: 'restart', receivedAt: START, expectedBackMs: 250_000 } },
      ]),
    );
    job.reconsider([web1]);
    await lookAt(249_999);
    expect(await world.status(web1)).to.deep.equal(['late', 'goodbye-restart', 65_000]);
    await lookAt(251_000);
    expect(await world.status(web1)).to.deep.equal(['offline', 'goodbye-restart', 250_000]);
    expect((await world.alerts(web1))[0]).to.include({ raisedAt: 250_000, reason: 'goodbye-restart' });
  });

  it('raises at once at an uninstall, even where absence is unlimited', async () => {
    world.settings.rules = { ...world.settings.rules, missedAllowed: 'unlimited' };
    const web1 = await world.computer({ at: 0 });
    await world.run(job);
    await world.inTransaction((tx) =>
      world.statuses.setGoodbyes(tx, [
        { computerId: web1, goodbye: { reason: 'uninstall', receivedAt: START, expectedBackMs: null } },
      ]),
    );
    job.reconsider([web1]);
    await lookAt(1000);
    expect((await world.alerts(web1))[0]).to.include({ raisedAt: 0, reason: 'goodbye-uninstall' });
  });

  const stop = async (id: string, at: number, expiresAt: number | null = null) => {
    await sql(
      `UPDATE computers SET power_state = 'stopped', power_since_fleet_ms = ${START + at},
       power_expires_fleet_ms = ${expiresAt === null ? 'NULL' : START + expiresAt} WHERE id = '${id}'`,
    );
    job.reconsider([id]);
  };

  it('shows a stopped machine at once and raises nothing until its stop expires', async () => {
    const web1 = await world.computer({ at: 0 });
    await lookAt(10_000);
    await stop(web1, 10_000, 500_000);
    await lookAt(11_000);
    expect(await world.status(web1)).to.deep.equal(['stopped', 'power-stopped', 10_000]);
    await lookAt(499_000);
    expect(await world.alerts()).to.deep.equal([]);
    await lookAt(501_000);
    expect(await world.status(web1)).to.deep.equal(['offline', 'unknown', 500_000]);
    expect((await world.alerts(web1))[0]?.raisedAt).to.equal(500_000);
  });

  it('raises for a stopped machine at the deadline where the policy wants it', async () => {
    world.settings.rules = { ...world.settings.rules, offlineAlertForStoppedVm: true };
    const web1 = await world.computer({ at: 0 });
    await lookAt(10_000);
    await stop(web1, 10_000);
    await lookAt(190_000);
    expect(await world.status(web1)).to.deep.equal(['stopped', 'power-stopped', 10_000]);
    expect((await world.alerts(web1))[0]).to.include({ raisedAt: 185_000, reason: 'power-stopped' });
    await lookAt(400_000);
    expect((await world.alerts(web1))[0]?.occurrences).to.equal(1);
  });

  it('knows a stop that another process stored within two minutes', async () => {
    const web1 = await world.computer({ at: 0 });
    await lookAt(10_000);
    await sql(
      `UPDATE computers SET power_state = 'stopped', power_since_fleet_ms = ${START + 10_000} WHERE id = '${web1}'`,
    );
    await listenUntil(11_000);
    for (let at = 12_000; at < 80_000; at += 1000) await lookAt(at);
    expect((await world.status(web1))[0]).to.equal('stopped');
  });

  it('never alerts about a computer that was never seen', async () => {
    const lab1 = await world.computer({ status: 'pending' });
    await lookAt(400_000);
    expect((await world.status(lab1))[0]).to.equal('pending');
    await world.beat(lab1, [job]);
    await lookAt(600_000);
    expect((await world.status(lab1))[0]).to.equal('offline');
  });

  it('judges a computer that is new to it', async () => {
    await world.run(job);
    await listenUntil(10_000);
    const web1 = await world.computer({ at: 10_000 });
    await world.beat(web1, [job]);
    await lookAt(76_000);
    expect(await world.status(web1)).to.deep.equal(['late', 'heartbeat-missed', 75_000]);
  });

  it('forgets a deleted computer', async () => {
    const web1 = await world.computer({ at: 0 });
    await world.run(job);
    for (const table of ['computer_live', 'computer_status']) await sql(`DELETE FROM ${table}`);
    await sql('DELETE FROM computers');
    job.reconsider([web1]);
    await lookAt(300_000);
    expect(await world.alerts()).to.deep.equal([]);
  });

  it('sets a computer that cannot be judged aside and judges the others', async () => {
    const policyId = await world.policy();
    world.settings.broken.add(policyId);
    await world.computer({ at: 0, policyId });
    const web1 = await world.computer({ at: 0 });
    await lookAt(186_000);
    expect(await world.alerts(web1)).to.have.lengthOf(1);
    world.settings.broken.clear();
    await lookAt(260_000);
    expect(await world.alerts()).to.have.lengthOf(2);
  });

  it('judges nobody while it does not listen, and excuses that time', async () => {
    const web1 = await world.computer({ at: 0 });
    await lookAt(184_000);
    ledger.noteDeaf('refused-heartbeats');
    await world.clock.advance(900);
    await world.run(job);
    expect(await world.alerts(web1)).to.deep.equal([]);
    expect(job.verdictState()).to.include({ state: 'held', reason: 'refused-heartbeats' });
    await listenUntil(190_000);
    await world.run(job);
    expect(job.verdictState()).to.include({ state: 'active', reason: null });
    expect(await world.alerts(web1)).to.deep.equal([]);
    await lookAt(300_000);
    expect(await world.alerts(web1)).to.have.lengthOf(1);
  });

  it('is warming until its shards are loaded', async () => {
    expect(job.verdictState()).to.include({ state: 'warming' });
    await world.run(job);
    expect(job.verdictState()).to.include({ state: 'active' });
  });

  it('tells since when it has been so, whenever somebody asks', async () => {
    await world.run(job);
    const began = world.clock.fleet();
    await listenUntil(began - START + 5 * SECOND);
    expect(job.verdictState()).to.include({ state: 'active', since: began });
  });

  it('wakes at the deadline by itself', async () => {
    const web1 = await world.computer({ at: 0 });
    await world.run(job);
    const stopping = new AbortController();
    const fired: number[] = [];
    const loop = job.wakeUps(stopping.signal, async () => {
      fired.push(world.clock.fleet() - START);
      await world.run(job);
    });
    const poll = async (isDone: () => Promise<boolean>) => {
      while (!(await isDone())) await world.clock.advance(1);
    };
    for (let at = 500; at <= 65_000; at += 500) {
      await world.clock.advance(500);
      await ledger.renew();
    }
    await poll(async () => (await world.status(web1))[0] === 'late');
    expect(fired.some((at) => at >= 65_000)).to.equal(true);
    expect(await world.status(web1)).to.deep.equal(['late', 'heartbeat-missed', 65_000]);
    stopping.abort();
    await loop;
  });

  it('does not raise again for a computer whose alert was acknowledged', async () => {
    const web1 = await world.computer({ at: 0 });
    await lookAt(200_000);
    await sql("UPDATE alerts SET state = 'acknowledged'");
    job.reconsider([web1]);
    await lookAt(300_000);
    expect((await world.alerts(web1)).map(({ state, occurrences }) => [state, occurrences])).to.deep.equal([
      ['acknowledged', 1],
    ]);
  });
});
