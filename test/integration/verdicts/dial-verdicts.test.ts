import { expect } from 'chai';
import type { RunningListeningLedger } from '../../../server/listening/listening-ledger.js';
import type { VerdictJob } from '../../../server/verdicts/verdict-job.js';
import { useDatabase } from '../../support/database.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

const SECOND = 1000;

describe('verdicts about computers that only the manager dials', () => {
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

  const listenUntil = async (at: number) => {
    while (world.clock.fleet() < START + at) {
      await world.clock.advance(Math.min(SECOND, START + at - world.clock.fleet()));
      await ledger.renew();
    }
  };
  const lookAt = async (at: number) => {
    await listenUntil(at);
    await world.run(job);
  };
  const dialled = async (options: Parameters<VerdictWorld['computer']>[0] = {}): Promise<string> => {
    const id = await world.computer({ at: 0, due: 52 * SECOND, ...options });
    await world.direct(id, 'managerInitiated');
    return id;
  };
  /** A dial that fails now, of the dialler in this process. */
  const failNow = async (id: string, begun: number, result?: string) => {
    await world.failDial(id, [begun, world.clock.fleet() - START], result);
    job.reconsider([id]);
    await world.run(job);
  };
  const suspectReads = () => world.statements.filter((text) => text.includes('offline_alert_open'));

  it('never find one late for as long as nobody dials it', async () => {
    const web1 = await dialled();
    for (let at = 60_000; at <= 900_000; at += 60_000) await lookAt(at);
    expect(await world.status(web1)).to.deep.equal(['online', 'in-contact', 0]);
    expect(await world.alerts()).to.deep.equal([]);
  });

  it('pay no heed to a dial that was begun before the contact was due', async () => {
    const web1 = await dialled();
    await world.failDial(web1, [51_999, 62_000]);
    await lookAt(300_000);
    expect(await world.status(web1)).to.deep.equal(['online', 'in-contact', 0]);
  });

  it('stamp the deadline where a dial failed before it', async () => {
    const web1 = await dialled();
    await lookAt(53_000);
    await failNow(web1, 52_000);
    await lookAt(64_999);
    expect((await world.status(web1))[0]).to.equal('online');
    await lookAt(70_000);
    expect(await world.status(web1)).to.deep.equal(['late', 'heartbeat-missed', 65_000]);
  });

  it('stamp the end of the first dial that was begun when it was due, where that is later', async () => {
    const web1 = await dialled();
    await lookAt(110_000);
    await failNow(web1, 100_000, 'timeout');
    expect(await world.status(web1)).to.deep.equal(['late', 'timeout', 110_000]);
    await lookAt(200_000);
    await failNow(web1, 171_000, 'timeout');
    await lookAt(203_000);
    expect((await world.status(web1))[0]).to.equal('late');
    await failNow(web1, 202_000, 'refused');
    expect(await world.status(web1)).to.deep.equal(['offline', 'refused', 203_000]);
    expect(await world.alerts(web1)).to.deep.equal([
      { state: 'raised', reason: 'refused', raisedAt: 203_000, closedAt: null, occurrences: 1 },
    ]);
    await lookAt(300_000);
    await failNow(web1, 299_000, 'timeout');
    expect(await world.alerts(web1)).to.have.lengthOf(1);
    expect(await world.history(web1)).to.deep.equal([
      ['online', 'late', 110_000],
      ['late', 'offline', 203_000],
    ]);
  });

  it('find a dial that another process stored within a second or two', async () => {
    const web1 = await dialled();
    await lookAt(100_000);
    await world.failDial(web1, [99_000, 100_500]);
    await lookAt(102_000);
    expect(await world.status(web1)).to.deep.equal(['late', 'heartbeat-missed', 100_500]);
  });

  it('wake up by themselves to ask for such dials', async () => {
    const web1 = await dialled();
    await lookAt(100_000);
    const stopping = new AbortController();
    const loop = job.wakeUps(stopping.signal, () => world.run(job));
    await world.failDial(web1, [99_000, 100_500]);
    while ((await world.status(web1))[0] === 'online') {
      await world.clock.advance(100);
      await ledger.renew();
      expect(world.clock.fleet() - START).to.be.lessThan(130_000);
    }
    stopping.abort();
    await loop;
    expect(await world.status(web1)).to.deep.equal(['late', 'heartbeat-missed', 100_500]);
  });

  it('take up the waiting after a restart, and dials that failed before it', async () => {
    const [silent, failed] = [await dialled(), await dialled()];
    await lookAt(60_000);
    await world.failDial(failed, [55_000, 56_000], 'refused');
    await listenUntil(70_000);
    await job.release();
    await world.clock.advance(330_000);
    ledger = await world.listen();
    job = world.job(ledger);
    await lookAt(474_999);
    expect((await world.status(failed))[0]).to.equal('late');
    expect((await world.status(silent))[0]).to.equal('online');
    await lookAt(520_000);
    expect((await world.status(failed))[0]).to.equal('late');
    await failNow(silent, 519_000);
    expect(await world.status(silent)).to.deep.equal(['offline', 'unknown', 520_000]);
    await failNow(failed, 519_000, 'refused');
    expect(await world.status(failed)).to.deep.equal(['offline', 'refused', 520_000]);
  });

  it('judge by the silence alone again once the agent dials by itself', async () => {
    const web1 = await dialled();
    await lookAt(300_000);
    expect((await world.status(web1))[0]).to.equal('online');
    await world.beat(web1, [job]);
    await world.direct(web1, 'agentInitiated');
    await lookAt(364_999);
    expect((await world.status(web1))[0]).to.equal('online');
    await lookAt(366_000);
    await lookAt(500_000);
    expect((await world.history(web1)).at(-1)).to.deep.equal(['late', 'offline', 485_000]);
  });

  it('see it return with the dial that succeeds, and begin anew', async () => {
    const web1 = await dialled();
    await lookAt(200_000);
    await failNow(web1, 190_000, 'refused');
    expect((await world.status(web1))[0]).to.equal('offline');
    await listenUntil(210_000);
    await world.beat(web1, [job]);
    expect(await world.status(web1)).to.deep.equal(['online', 'in-contact', 210_000]);
    expect((await world.alerts(web1)).map(({ state, closedAt }) => [state, closedAt])).to.deep.equal([
      ['resolved', 210_000],
    ]);
    await lookAt(600_000);
    expect((await world.status(web1))[0]).to.equal('online');
    await failNow(web1, 599_000);
    expect(await world.status(web1)).to.deep.equal(['offline', 'unknown', 600_000]);
  });

  it('do not stay offline by the silence alone where an edit makes it late again', async () => {
    world.settings.rules = { ...world.settings.rules, missedAllowed: 0 };
    const web1 = await dialled();
    await lookAt(70_000);
    await failNow(web1, 60_000);
    expect(await world.status(web1)).to.deep.equal(['offline', 'unknown', 70_000]);
    await listenUntil(400_000);
    world.settings.edit({ missedAllowed: 2 }, START + 400_000);
    await lookAt(401_000);
    expect((await world.status(web1))[0]).to.equal('late');
    expect((await world.alerts(web1)).map(({ state }) => state)).to.deep.equal(['resolved']);
  });

  it('do not bring one back because a later dial has taken the place of the last one', async () => {
    const web1 = await dialled();
    await lookAt(200_000);
    await failNow(web1, 190_000);
    expect((await world.status(web1))[0]).to.equal('offline');
    await world.listen('n2');
    await world.clock.advance(1500);
    await ledger.renew();
    await database.pool.query(
      `UPDATE computer_dials SET failed_begun_fleet_ms = ARRAY[$1::bigint], failed_ended_fleet_ms = ARRAY[$2::bigint]`,
      [START + 200_500, START + 201_400],
    );
    job.reconsider([web1]);
    await world.run(job);
    expect(await world.history(web1)).to.have.lengthOf(1);
    expect(await world.status(web1)).to.deep.equal(['offline', 'unknown', 200_000]);
  });

  it('cost little while a thousand computers wait for dials', async () => {
    const ids = await Promise.all(Array.from({ length: 1000 }, () => dialled()));
    await lookAt(70_000);
    world.statements.length = 0;
    for (let at = 71_000; at <= 100_000; at += 500) await lookAt(at);
    expect(suspectReads()).to.deep.equal([]);
    expect(world.statements.filter((text) => text.includes('seen.ended_fleet_ms'))).to.have.lengthOf.within(28, 32);
    expect((await world.status(ids[0]!))[0]).to.equal('online');
  });

  it('of one that dials itself too count no dial, but say why the dial before the miss failed', async () => {
    const web1 = await world.computer({ at: 0, due: 52 * SECOND });
    await world.direct(web1, 'bidirectional');
    await lookAt(62_000);
    await failNow(web1, 61_000, 'refused');
    expect(await world.status(web1)).to.deep.equal(['online', 'in-contact', 0]);
    await lookAt(65_000);
    expect(await world.status(web1)).to.deep.equal(['late', 'refused', 65_000]);
    await lookAt(185_000);
    expect(await world.status(web1)).to.deep.equal(['offline', 'refused', 185_000]);
    expect(await world.alerts()).to.deep.include.members([
      { state: 'raised', reason: 'refused', raisedAt: 185_000, closedAt: null, occurrences: 1 },
    ]);
    const { rows } = await database.pool.query("SELECT detail FROM alerts WHERE type = 'computer-offline'");
    expect(rows[0].detail).to.deep.include({ reason: 'refused', missedHeartbeats: 3 });
    expect(rows[0].detail).to.not.have.property('hostUp');
  });

  it('of one that dials itself too change the reason of a late one behind a slow dial, and tell whether the machine is up', async () => {
    const web1 = await world.computer({ at: 0, due: 52 * SECOND });
    await world.direct(web1, 'bidirectional');
    await lookAt(66_000);
    expect(await world.status(web1)).to.deep.equal(['late', 'heartbeat-missed', 65_000]);
    await world.failDial(web1, [62_000, 66_000], 'timeout');
    await database.pool.query('UPDATE computer_dials SET last_host_up = false');
    job.reconsider([web1]);
    await world.run(job);
    expect(await world.status(web1)).to.deep.equal(['late', 'timeout', 65_000]);
    await lookAt(185_000);
    const { rows } = await database.pool.query("SELECT detail FROM alerts WHERE type = 'computer-offline'");
    expect(rows[0].detail).to.deep.include({ reason: 'timeout', hostUp: false });
  });

  it('of one that dials itself too pay no heed to a dial before its last report', async () => {
    const web1 = await world.computer({ at: 0, due: 52 * SECOND });
    await world.direct(web1, 'bidirectional');
    await world.failDial(web1, [-2000, -1000], 'refused');
    await lookAt(65_000);
    expect(await world.status(web1)).to.deep.equal(['late', 'heartbeat-missed', 65_000]);
  });
});
