import { expect } from 'chai';
import type { Report } from '../../../protocol/heartbeat-messages.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { LANE_LIMITS } from '../../../server/dials/dial-rules.js';
import { notifyDials } from '../../../server/dials/index.js';
import { useDialWorld, type DialledComputer } from '../../support/dial-world.js';
import type { FakeListener } from '../../support/fake-agent-listener.js';
import { addComputers, changePolicy } from '../../support/ingest-world.js';
import { eventually } from '../../support/poll.js';

const MANAGER_INITIATED = { direction: 'managerInitiated', listener: { state: 'listening', port: 4118 } } as const;

describe('The manager dials', function () {
  this.timeout(60_000);
  const world = useDialWorld();
  const { database } = world;

  /** What a good agent reports: it runs on the desired settings, whatever is asked. */
  const good = (): Partial<Report> => ({
    ...MANAGER_INITIATED,
    appliedFingerprint: world.desired().fingerprint,
    intervalSeconds: 60,
  });
  const heardOf = ({ id }: DialledComputer, count = 1) =>
    eventually(`${count} reports of ${id}`, () => world.heard(id).length >= count);
  const failedOf = async ({ id }: DialledComputer) => {
    const row = await world.dialRow(id);
    return row && row.last_result !== 'answered' ? row : undefined;
  };
  const edit = async (settings: Record<string, unknown>) => {
    await changePolicy(database.pool, settings);
    await world.ingest.settings.refresh();
  };

  it('dials managerInitiated computers when they are due, and those of no other direction', async () => {
    const due = await world.computer({}, { changes: good });
    const notBefore = performance.now() + 1500;
    const soon = await world.computer({ dueInMs: 1500 }, { changes: good });
    const later = await world.computer({ dueInMs: 600_000 }, { changes: good });
    const silent = { seenMsAgo: 0, dueInMs: 60_000 };
    const both = await world.computer({ direction: 'bidirectional', ...silent });
    const agents = await world.computer({ direction: 'agentInitiated', dueInMs: -600_000 });
    const old = await world.computer({ direction: null, dueInMs: -600_000 });
    const dueAt = performance.now() + 1500;
    const dials = world.dials();
    await dials.start();
    await heardOf(due);
    await heardOf(soon);
    // Whole milliseconds of another clock.
    expect(soon.listener.connections[0]?.at).to.be.within(notBefore - 2, dueAt + 2000);
    for (const { listener } of [later, both, agents, old]) expect(listener.connections).to.deep.equal([]);
    expect(world.heard(due.id)[0]?.dialledBy).to.equal('manager');
    await eventually('the orders are posted', () => due.listener.calls[1]?.orders?.effect === 'accepted');
    expect(due.listener.calls[1]?.orders?.nextContactInMs).to.be.within(1000, 60_000);
    await eventually('both are counted', () => dials.metrics.results.answered === 2);
    expect(await world.dialRow(due.id)).to.equal(undefined);
  });

  it('goes on at the interval that its answers order', async () => {
    await edit({ heartbeatIntervalSeconds: 5 });
    const web1 = await world.computer({ intervalMs: 5000 }, { changes: () => ({ ...good(), intervalSeconds: 5 }) });
    await world.dials().start();
    await heardOf(web1, 3);
    const [first = 0, second = 0, third = 0] = world.heard(web1.id).map(({ receivedAt }) => receivedAt);
    expect(second - first).to.be.within(3900, 6500);
    expect(third - second).to.be.within(3900, 6500);
    expect(web1.listener.connections).to.have.length(3);
    await edit({});
  });

  it('records failed dials and tells the verdicts, and forgets them with the first answer', async () => {
    const web1 = await world.computer({}, { mode: 'no-json', changes: good });
    const dials = world.dials();
    await dials.start();
    const row = await eventually('two failures are stored', async () => {
      const found = await failedOf(web1);
      return found && found.failures >= 2 ? found : undefined;
    });
    expect(row.last_result).to.equal('protocol');
    expect(row.failed_begun_fleet_ms).to.have.length(row.failures);
    expect(row.failed_ended_fleet_ms).to.have.length(row.failures);
    expect(Number(row.last_ended_fleet_ms)).to.be.at.least(Number(row.last_begun_fleet_ms));
    expect(world.reconsidered).to.include(web1.id);
    web1.listener.mode = 'good';
    dials.request([web1.id], 'settings');
    await heardOf(web1);
    const after = await eventually('the row says so', async () => {
      const found = await world.dialRow(web1.id);
      return found?.last_result === 'answered' ? found : undefined;
    });
    expect([after.failures, after.failed_begun_fleet_ms]).to.deep.equal([0, []]);
  });

  it('counts no dial that met an exchange of the agent', async () => {
    const web1 = await world.computer({}, { mode: 'busy', changes: good });
    const dials = world.dials();
    await dials.start();
    await eventually('it was busy twice', () => dials.metrics.results.busy >= 2);
    expect(await world.dialRow(web1.id)).to.equal(undefined);
    web1.listener.mode = 'good';
    await heardOf(web1);
  });

  it('dials nobody while it could not store an answer', async () => {
    world.isDeaf = true;
    const web1 = await world.computer({}, { changes: good });
    const dials = world.dials();
    await dials.start();
    await eventually('it is in the schedule', () => dials.metrics.scheduled() === 1);
    expect(web1.listener.connections).to.deep.equal([]);
    world.isDeaf = false;
    await heardOf(web1);
  });

  it('does not dial who is revoked, removed or not enrolled', async () => {
    const revoked = await world.computer();
    const removed = await world.computer();
    const made = await world.computer();
    const web1 = await world.computer({}, { changes: good });
    await database.pool.query("UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1", [revoked.id]);
    await database.pool.query('DELETE FROM computers WHERE id = $1', [removed.id]);
    await database.pool.query('UPDATE computers SET enrolled_fleet_ms = NULL WHERE id = $1', [made.id]);
    const dials = world.dials();
    await dials.start();
    dials.request([revoked.id, removed.id, made.id], 'settings');
    await heardOf(web1);
    for (const { listener } of [revoked, removed, made]) expect(listener.connections).to.deep.equal([]);
  });

  it('refuses to dial loopback for a computer that was observed elsewhere', async () => {
    const web1 = await world.computer({ observed: '10.99.99.99', address: '127.0.0.1' });
    await world.dials().start();
    const row = await eventually('the refusal is stored', () => failedOf(web1));
    expect(row.last_result).to.equal('address-refused');
    expect(web1.listener.connections).to.deep.equal([]);
  });

  it('dials at once one that enrolled under managerInitiated and was never heard', async () => {
    await edit({ communicationDirection: 'managerInitiated' });
    const web1 = await world.computer({ direction: null, seenMsAgo: null }, { changes: good });
    await database.pool.query('UPDATE computers SET address = $2 WHERE id = $1', [
      web1.id,
      `127.0.0.1:${web1.listener.port}`,
    ]);
    await world.dials().start();
    await heardOf(web1);
    await edit({});
  });

  it('brings an edit to a listening bidirectional agent at once', async () => {
    const { at, isAsleep } = world.standStill();
    const web1 = await world.computer(
      { direction: 'bidirectional', seenMsAgo: 0, dueInMs: 60_000 },
      { changes: () => ({ ...good(), direction: 'bidirectional' }) },
    );
    const closed = await world.computer({ direction: 'bidirectional', listenerState: 'failed', seenMsAgo: 0 });
    const dials = world.dials();
    await dials.start();
    await eventually('they are in the schedule', () => dials.metrics.scheduled() === 1 && isAsleep());
    expect(web1.listener.connections).to.deep.equal([]);
    await edit({ pingIntervalSeconds: 31 });
    await heardOf(web1);
    expect(world.heard(web1.id)[0]?.receivedAt).to.equal(at);
    expect(closed.listener.connections).to.deep.equal([]);
    await edit({});
  });

  it('tries the listener of a bidirectional agent that is overdue before its miss, and stays quiet otherwise', async () => {
    const changes = () => ({ ...good(), direction: 'bidirectional' as const });
    const web1 = await world.computer({ direction: 'bidirectional', seenMsAgo: 60_000, dueInMs: 0 }, { changes });
    const missAt = Date.now() + 5000;
    const quiet = await world.computer({ direction: 'bidirectional', seenMsAgo: 60_000, dueInMs: 1000 });
    const dials = world.dials();
    await dials.start();
    await eventually('both are in the schedule', () => dials.metrics.scheduled() === 2);
    const hint = { lastSeenAt: Date.now(), contactDueAt: Date.now() + 60_000, intervalMs: 60_000 };
    dials.heard([{ computerId: quiet.id, ...hint }]);
    await database.pool.query(
      'UPDATE computer_live SET last_seen_fleet_ms = $2, contact_due_fleet_ms = $3 WHERE computer_id = $1',
      [quiet.id, hint.lastSeenAt, hint.contactDueAt],
    );
    await heardOf(web1);
    expect(world.heard(web1.id)[0]?.receivedAt).to.be.within(missAt - 3500, missAt);
    expect(quiet.listener.connections).to.deep.equal([]);
  });

  it('tries the listener of a bidirectional agent that failed long ago for its own sake, though heartbeats come', async () => {
    const changes = () => ({ ...good(), direction: 'bidirectional' as const });
    const facts = { direction: 'bidirectional', seenMsAgo: 0, dueInMs: 60_000 } as const;
    const old = await world.computer(facts, { changes });
    const recent = await world.computer(facts, { changes });
    const failed = (id: string, msAgo: number) =>
      database.pool.query(
        `INSERT INTO computer_dials (computer_id, last_begun_fleet_ms, last_ended_fleet_ms, last_result, failures,
           failed_begun_fleet_ms, failed_ended_fleet_ms) VALUES ($1, $2, $2, 'timeout', 1, ARRAY[$2::bigint], ARRAY[$2::bigint])`,
        [id, Date.now() - msAgo],
      );
    await failed(old.id, 1_800_000);
    await failed(recent.id, 800_000);
    const dials = world.dials();
    await dials.start();
    await heardOf(old);
    await eventually('the row says so', async () => (await world.dialRow(old.id))?.last_result === 'answered');
    expect(recent.listener.connections).to.deep.equal([]);
    expect((await world.dialRow(recent.id))?.last_result).to.equal('timeout');
  });

  it('dials a candidate at its own port at once, again every few seconds, and only until its deadline', async () => {
    const web1 = await world.computer({ direction: 'agentInitiated', listenerState: 'closed', dueInMs: 60_000 });
    await web1.listener.close();
    const dials = world.dials();
    await dials.start();
    await eventually('its shard is claimed', async () => {
      const { rows } = await database.pool.query("SELECT 1 FROM dial_shards WHERE owner = 'node-1'");
      return rows.length === 64;
    });
    const waiting: FakeListener = await world.listen(web1.id, { mode: 'no-json', changes: good });
    await database.pool.query(
      `UPDATE computer_contacts SET candidate_fingerprint = decode($2, 'hex'), candidate_direction = 'managerInitiated',
         candidate_state = 'proving', candidate_port = $3, candidate_since_fleet_ms = $4 WHERE computer_id = $1`,
      [web1.id, world.desired().fingerprint, waiting.port, Date.now()],
    );
    dials.request([web1.id], 'candidate');
    await eventually('it is dialled twice', () => waiting.connections.length >= 2);
    const [first, second] = waiting.connections;
    expect((second?.at ?? 0) - (first?.at ?? 0)).to.be.within(2500, 5000);
    waiting.mode = 'good';
    await heardOf(web1);
  });

  it('hears of a computer from another process, and takes over what one leaves', async () => {
    const one = world.dials({ node: 'node-1' });
    const two = world.dials({ node: 'node-2', isApart: true });
    await one.start();
    await eventually('the first has the shards', async () => {
      const { rows } = await database.pool.query("SELECT 1 FROM dial_shards WHERE owner = 'node-1'");
      return rows.length === 64;
    });
    await two.start();
    const web1 = await world.computer({}, { changes: good });
    two.request([web1.id], 'settings');
    await heardOf(web1);
    await eventually('its dial ended', () => one.metrics.results.answered > 0);
    expect([one.metrics.results.answered, two.metrics.results.answered]).to.deep.equal([1, 0]);
    const db1 = await world.computer({ dueInMs: 2000 }, { changes: good });
    await one.stop();
    await eventually('the second took over', () => world.heard(db1.id).length > 0);
    const db2 = await world.computer({}, { changes: good });
    await notifyDials(sqlOfClient(database.pool), [db2.id]);
    await heardOf(db2);
  });

  it('cuts what is in flight when it stops, which nobody is blamed for', async () => {
    const web1 = await world.computer({}, { mode: 'mute' });
    const dials = world.dials();
    await dials.start();
    await eventually('it is dialled', () => web1.listener.calls.length > 0);
    const begun = performance.now();
    await dials.stop();
    expect(performance.now() - begun).to.be.below(4000);
    expect(await world.dialRow(web1.id)).to.equal(undefined);
    const { rows } = await database.pool.query('SELECT 1 FROM dial_shards WHERE owner IS NOT NULL');
    expect(rows).to.deep.equal([]);
  });

  it('keeps the first failed dials since the last report, and the last one', async () => {
    const web1 = await world.computer({ direction: 'agentInitiated' });
    const insert = (begun: number) =>
      database.pool.query(
        `INSERT INTO computer_dials VALUES ($1, $2, $3, 'refused', NULL, 40,
           (SELECT array_agg(n) FROM generate_series($2::bigint - 32, $2) AS n),
           (SELECT array_agg(n) FROM generate_series($3::bigint - 32, $3) AS n))
         ON CONFLICT (computer_id) DO UPDATE SET last_begun_fleet_ms = EXCLUDED.last_begun_fleet_ms,
           failed_begun_fleet_ms = EXCLUDED.failed_begun_fleet_ms, failed_ended_fleet_ms = EXCLUDED.failed_ended_fleet_ms`,
        [web1.id, begun, begun + 1],
      );
    const proving = () =>
      database.pool.query(
        `UPDATE computer_contacts SET candidate_fingerprint = '\\x00', candidate_direction = 'managerInitiated',
           candidate_state = 'proving', candidate_port = 1, candidate_since_fleet_ms = $2 WHERE computer_id = $1`,
        [web1.id, Date.now()],
      );
    await proving();
    await insert(Date.now() - 5000);
    const dials = world.dials();
    await dials.start();
    const full = await eventually('a failure is added', async () => {
      const row = await failedOf(web1);
      return row && row.failures === 41 ? row : undefined;
    });
    expect(full.failed_begun_fleet_ms).to.have.length(33);
    expect(full.failed_begun_fleet_ms.at(-1)).to.equal(full.last_begun_fleet_ms);
    await database.pool.query('UPDATE computer_live SET last_seen_fleet_ms = $2 WHERE computer_id = $1', [
      web1.id,
      Date.now() + 1000,
    ]);
    dials.request([web1.id], 'candidate');
    const fresh = await eventually('what is older than a report is void', async () => {
      const row = await failedOf(web1);
      return row && row.failures > 41 ? row : undefined;
    });
    expect(fresh.failed_begun_fleet_ms).to.have.length(1);
  });
});

describe('Tarpits among the dialled', function () {
  this.timeout(120_000);
  const world = useDialWorld();
  const { database } = world;
  const intervalMs = 5000;
  const changes = () => ({
    ...MANAGER_INITIATED,
    appliedFingerprint: world.desired().fingerprint,
    intervalSeconds: intervalMs / 1000,
  });

  before(async () => {
    await changePolicy(database.pool, { heartbeatIntervalSeconds: intervalMs / 1000 });
    await world.ingest.settings.refresh();
  });

  it('do not delay the others, though they hold every place that they may and never let go', async () => {
    const ids = await addComputers(database.pool, LANE_LIMITS.slow + LANE_LIMITS.fast + 1);
    const tarpit = await world.listen(ids[0] ?? '', { mode: 'tarpit', identity: undefined });
    for (const id of ids) await world.rows(id, tarpit.port, { intervalMs });
    await database.pool.query(
      `INSERT INTO computer_dials (computer_id, last_begun_fleet_ms, last_ended_fleet_ms, last_result, failures)
       SELECT id, $2, $2, 'timeout', 1 FROM unnest($1::uuid[]) AS known (id)`,
      [ids, world.clock.fleet() - 60_000],
    );
    const others: DialledComputer[] = [];
    for (let count = 0; count < 5; count += 1)
      others.push(await world.computer({ dueInMs: 600_000, seenMsAgo: 0, intervalMs }, { changes }));
    const dials = world.dials({ connectMs: 600_000, totalMs: 600_000 });
    await dials.start();
    await eventually('their places are all held', () => tarpit.connections.length >= LANE_LIMITS.slow);
    const hint = { lastSeenAt: world.clock.fleet(), contactDueAt: world.clock.fleet(), intervalMs };
    await database.pool.query(
      'UPDATE computer_live SET contact_due_fleet_ms = $2 WHERE computer_id = ANY($1::uuid[])',
      [others.map(({ id }) => id), hint.contactDueAt],
    );
    dials.heard(others.map(({ id: computerId }) => ({ computerId, ...hint })));
    await eventually('everybody else was heard twice', () => others.every(({ id }) => world.heard(id).length >= 2));
    // All the while.
    expect(tarpit.connections).to.have.length(LANE_LIMITS.slow);
    expect(tarpit.connections.filter(({ closedAt }) => closedAt !== null)).to.deep.equal([]);
    expect(dials.metrics.open.slow).to.equal(LANE_LIMITS.slow);
  });

  it('are cut and told, and then take the places of the slow', async () => {
    const tarpits: DialledComputer[] = [];
    for (const mode of ['tarpit', 'mute', 'tarpit', 'mute'] as const)
      tarpits.push(await world.computer({ intervalMs }, { mode, changes }));
    const dials = world.dials({ connectMs: 400, totalMs: 500 });
    await dials.start();
    await eventually('every tarpit was cut', async () => {
      const { rows } = await database.pool.query("SELECT 1 FROM computer_dials WHERE last_result = 'timeout'");
      return rows.length === tarpits.length;
    });
    await eventually('they are dialled among the slow', () => dials.metrics.open.slow > 0);
    await dials.stop();
    for (const { id, listener } of tarpits) {
      expect(world.heard(id)).to.deep.equal([]);
      await eventually('no connection is left', () => listener.connections.every(({ closedAt }) => closedAt !== null));
    }
  });
});
