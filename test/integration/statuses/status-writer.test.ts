import { expect } from 'chai';
import { sqlOfClient } from '../../../server/database/sql.js';
import { useDatabase } from '../../support/database.js';
import { START, VerdictWorld } from '../../support/verdict-world.js';

describe('storing statuses', () => {
  const database = useDatabase();
  let world: VerdictWorld;
  const sql = () => sqlOfClient(database.pool);

  beforeEach(async () => {
    world = new VerdictWorld(database);
    await world.open();
  });

  const offline = (computerId: string) => ({
    computerId,
    from: 'online' as const,
    to: 'offline' as const,
    reason: 'unknown',
    since: START + 50,
    offlineAt: START + 50,
    offlineAlert: { raisedAt: START + 50, reason: 'unknown', detail: { missedHeartbeats: 3 } },
  });

  it('stores status, history and alert, the history by the instant of noticing', async () => {
    const web1 = await world.computer();
    await world.statuses.apply(sql(), [offline(web1)], START + 90);
    const { rows } = await database.pool.query('SELECT * FROM status_history');
    expect(rows).to.have.lengthOf(1);
    expect(rows[0]).to.include({ status: 'offline', previous_status: 'online', noticed_fleet_ms: START + 90 });
    expect((rows[0].partition_at as Date).getTime()).to.equal(START + 90);
    const alerts = await database.pool.query('SELECT * FROM alerts');
    expect(alerts.rows[0]).to.deep.include({ severity: 'high', computer_id: web1, detail: { missedHeartbeats: 3 } });
  });

  it('counts a repeat and keeps the first time', async () => {
    const web1 = await world.computer();
    await world.statuses.apply(sql(), [offline(web1)], START + 90);
    const again = { ...offline(web1), offlineAlert: { raisedAt: START + 99, reason: 'unknown' } };
    await world.statuses.apply(sql(), [again], START + 99);
    expect(await world.alerts()).to.deep.equal([
      { state: 'raised', reason: 'unknown', raisedAt: 50, closedAt: null, occurrences: 2 },
    ]);
  });

  it('raises anew after the one before was closed', async () => {
    const web1 = await world.computer();
    await world.statuses.apply(sql(), [offline(web1)], START + 90);
    const back = { ...offline(web1), to: 'online' as const, since: START + 95, offlineAlert: null };
    await world.statuses.apply(sql(), [back], START + 95);
    await world.statuses.apply(sql(), [offline(web1)], START + 99);
    expect((await world.alerts()).map(({ state }) => state).sort()).to.deep.equal(['raised', 'resolved']);
  });

  it('resolves every alert of a revoked computer and none of another', async () => {
    const [web1, db1] = [await world.computer(), await world.computer()];
    await world.statuses.apply(sql(), [offline(web1), offline(db1)], START + 90);
    const revoked = { ...offline(web1), to: 'revoked' as const, since: START + 95, offlineAlert: null };
    await world.statuses.apply(sql(), [revoked], START + 95);
    expect((await world.alerts(web1))[0]).to.include({ state: 'resolved', closedAt: 95 });
    expect((await world.alerts(db1))[0]).to.include({ state: 'raised' });
  });

  it('sets and clears flags once, each with its row of history', async () => {
    const web1 = await world.computer();
    const degraded = { computerId: web1, flag: 'degraded' as const, at: START + 10 };
    await world.statuses.setFlags(sql(), [{ ...degraded, on: true }]);
    await world.statuses.setFlags(sql(), [{ ...degraded, on: true, at: START + 11 }]);
    const flags = async () => (await database.pool.query('SELECT flags FROM computer_status')).rows[0].flags;
    expect(await flags()).to.deep.equal(['degraded']);
    await world.statuses.setFlags(sql(), [
      { ...degraded, on: false, at: START + 12 },
      { computerId: web1, flag: 'isolated', on: true, at: START + 12 },
    ]);
    expect(await flags()).to.deep.equal(['isolated']);
    const { rows } = await database.pool.query('SELECT reason FROM status_history ORDER BY noticed_fleet_ms, reason');
    expect(rows.map(({ reason }) => reason)).to.deep.equal(['degraded', 'degraded-ended', 'isolated']);
  });

  it('stores and forgets a goodbye', async () => {
    const web1 = await world.computer();
    const goodbye = { reason: 'update', receivedAt: START + 5, expectedBackMs: 60_000 };
    const read = async () => {
      const { rows } = await database.pool.query(
        'SELECT goodbye_reason, goodbye_fleet_ms, goodbye_expected_ms FROM computer_status',
      );
      return rows[0];
    };
    await world.statuses.setGoodbyes(sql(), [{ computerId: web1, goodbye }]);
    expect(await read()).to.deep.equal({
      goodbye_reason: 'update',
      goodbye_fleet_ms: START + 5,
      goodbye_expected_ms: 60_000,
    });
    await world.statuses.setGoodbyes(sql(), [{ computerId: web1, goodbye: null }]);
    expect((await read()).goodbye_reason).to.equal(null);
  });

  it('writes nothing for no change', async () => {
    const nothing = { query: () => Promise.reject(new Error('a statement')) };
    await world.statuses.apply(nothing, [], START);
    await world.statuses.setFlags(nothing, []);
    await world.statuses.setGoodbyes(nothing, []);
  });
});
