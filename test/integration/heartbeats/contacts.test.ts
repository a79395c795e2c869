import { expect } from 'chai';
import type { CandidateReport, Orders, Report } from '../../../protocol/heartbeat-messages.js';
import { useDatabase } from '../../support/database.js';
import {
  addComputers,
  changePolicy,
  createIngestWorld,
  seedForest,
  type IngestWorld,
} from '../../support/ingest-world.js';

type Told = Partial<Report>;
type Direction = NonNullable<Report['direction']>;

const LISTENING = { state: 'listening', port: 4118 } as const;
const MERGED = 'a1'.repeat(32);

describe('the ways to a computer', () => {
  const database = useDatabase();
  let world: IngestWorld;
  let id: string;
  /** What the agent's reports tell until it changes. */
  let told: Told;

  before(async () => {
    await seedForest(database.pool);
    world = createIngestWorld(database.pool);
  });

  const one = async (sql: string, ...parameters: unknown[]) => (await database.pool.query(sql, parameters)).rows[0];
  const contacts = () => one('SELECT * FROM computer_contacts WHERE computer_id = $1', id);
  const live = () => one('SELECT * FROM computer_live WHERE computer_id = $1', id);
  const facts = () => one('SELECT * FROM computer_facts WHERE computer_id = $1', id);
  const alerts = async (type: string) =>
    (
      await database.pool.query(
        'SELECT state, occurrences, reason, detail, closed_fleet_ms FROM alerts WHERE computer_id = $1 AND type = $2 ORDER BY raised_fleet_ms, id',
        [id, type],
      )
    ).rows;
  const states = async (type: string) => (await alerts(type)).map(({ state }) => state);

  /** The agent's heartbeat, over a connection of its own. */
  const beat = (changes: Told = {}): Promise<Orders> => {
    world.clock.now += 1000;
    return world.beat(id, { ...told, ...changes });
  };
  const dialledExchange = (changes: Told = {}) => {
    world.clock.now += 1000;
    const exchange = world.report(id, { ...told, ...changes });
    return { ...exchange, dialledBy: 'manager', address: '198.51.100.7' } as const;
  };
  /** The same, over the manager's dial. */
  const dialled = (changes: Told = {}): Promise<Orders> => world.batcher.submit(dialledExchange(changes));

  const candidate = (fingerprint: string, direction: Direction, changes: Partial<CandidateReport> = {}) => ({
    candidate: { fingerprint, direction, state: 'proving' as const, port: 4118, ...changes },
  });

  /** An agent in contact, with the settings in force that the policy says. */
  const settle = async (direction: Direction, settings: Record<string, unknown> = {}): Promise<void> => {
    await changePolicy(database.pool, { communicationDirection: direction, ...settings });
    [id] = (await addComputers(database.pool, 1)) as [string];
    const listener = direction === 'agentInitiated' ? ({ state: 'closed' } as const) : LISTENING;
    told = { direction, listener };
    const contact = direction === 'managerInitiated' ? dialled : beat;
    const { settings: sent } = await contact();
    told = { ...told, appliedFingerprint: sent!.fingerprint };
    await contact();
    world.dialled.length = 0;
  };

  /** An edit of the direction, delivered: the agent runs on the merged document and proves the rest. */
  const edit = async (direction: Direction, settings: Record<string, unknown> = {}): Promise<string> => {
    await changePolicy(database.pool, { communicationDirection: direction, ...settings });
    const contact = told.direction === 'managerInitiated' ? dialled : beat;
    const { settings: sent, committed } = await contact();
    expect(committed).to.equal(undefined);
    told = { ...told, appliedFingerprint: MERGED };
    return sent!.fingerprint;
  };

  it('are stored when they change, and cost a steady report nothing', async () => {
    await settle('bidirectional');
    const first = await contacts();
    expect([first.direction, first.listener_state, first.listener_port]).to.deep.equal([
      'bidirectional',
      'listening',
      4118,
    ]);
    const began = world.metrics.statements;
    await beat();
    await dialled();
    await beat();
    await dialled();
    expect(world.metrics.statements - began).to.equal(4 * 4);
    const failed = { listener: { state: 'failed', detail: 'EADDRINUSE' } } as const;
    await beat(failed);
    const second = await contacts();
    expect([second.listener_state, second.listener_port, second.listener_detail]).to.deep.equal([
      'failed',
      null,
      'EADDRINUSE',
    ]);
    expect(second.direction_since_fleet_ms).to.equal(first.direction_since_fleet_ms);
  });

  it('keep what is known of the connections of a bidirectional agent when the manager dials', async () => {
    await settle('bidirectional');
    await dialled({ factsDigest: 'b'.repeat(64) });
    const stored = await facts();
    expect([stored.observed_address, stored.carrier, stored.facts_digest.toString('hex')]).to.deep.equal([
      '192.0.2.1',
      'https',
      'b'.repeat(64),
    ]);
    const row = await live();
    expect(row.seen_by_dial_fleet_ms).to.equal(world.clock.now);
    expect(row.seen_by_agent_fleet_ms).to.equal(world.clock.now - 1000);
  });

  it('of a managerInitiated agent are the ones that were dialled, and the listener that closes is forgotten', async () => {
    await settle('managerInitiated');
    expect([(await facts()).observed_address, (await facts()).carrier]).to.deep.equal(['198.51.100.7', 'listener']);
    expect((await live()).seen_by_agent_fleet_ms).to.equal(null);
    await beat({ listener: { state: 'closed' } });
    expect((await live()).seen_by_dial_fleet_ms).to.equal(null);
    expect([(await facts()).observed_address, (await facts()).carrier]).to.deep.equal(['192.0.2.1', 'https']);
  });

  for (const from of ['bidirectional', 'agentInitiated'] as const)
    it(`lead from ${from} to managerInitiated by a dial that is stored`, async () => {
      await settle(from);
      const desired = await edit('managerInitiated', { heartbeatIntervalSeconds: 600 });
      expect((await live()).delivered_interval_ms).to.equal(600_000);
      const proving = { ...candidate(desired, 'managerInitiated'), listener: LISTENING, intervalSeconds: 600 };
      const followUp = await beat(proving);
      expect([followUp.settings, followUp.committed]).to.deep.equal([null, undefined]);
      expect(world.dialled).to.deep.equal([id]);
      const waiting = await live();
      expect([waiting.confirmed_interval_ms, waiting.delivered_interval_ms, waiting.pending_contacts]).to.deep.equal([
        600_000,
        null,
        0,
      ]);
      const stored = await contacts();
      expect([stored.direction, stored.candidate_state, stored.candidate_direction]).to.deep.equal([
        from,
        'proving',
        'managerInitiated',
      ]);
      expect(stored.candidate_fingerprint.toString('hex')).to.equal(desired);
      expect([stored.candidate_port, stored.candidate_since_fleet_ms]).to.deep.equal([4118, world.clock.now]);
      const proof = dialledExchange(proving);
      const commit = await world.batcher.submit(proof);
      expect([commit.settings, commit.committed]).to.deep.equal([null, desired]);
      // An answer that is lost on the way is given again over the same way.
      expect((await world.batcher.submit(proof)).committed).to.equal(desired);
      expect((await world.batcher.submit({ ...proof, dialledBy: 'agent' })).committed).to.equal(undefined);
      const since = (await contacts()).direction_since_fleet_ms;
      const done = { direction: 'managerInitiated', listener: LISTENING, appliedFingerprint: desired } as const;
      expect((await dialled({ ...done, intervalSeconds: 600 })).committed).to.equal(undefined);
      const after = await contacts();
      expect([after.direction, after.candidate_fingerprint, after.candidate_since_fleet_ms]).to.deep.equal([
        'managerInitiated',
        null,
        null,
      ]);
      expect(after.direction_since_fleet_ms).to.be.greaterThan(since);
      expect([await states('settings-pending'), await states('settings-reverted')]).to.deep.equal([[], []]);
    });

  for (const to of ['bidirectional', 'agentInitiated'] as const)
    it(`lead from managerInitiated to ${to} by a report that the agent dials`, async () => {
      await settle('managerInitiated');
      const desired = await edit(to);
      const proving = candidate(desired, to);
      expect((await dialled(proving)).committed).to.equal(undefined);
      expect(world.dialled).to.deep.equal([]);
      const commit = await beat(proving);
      expect([commit.settings, commit.committed]).to.deep.equal([null, desired]);
      const listener = to === 'agentInitiated' ? ({ state: 'closed' } as const) : LISTENING;
      expect((await beat({ direction: to, listener, appliedFingerprint: desired })).settings).to.equal(null);
      expect((await contacts()).direction).to.equal(to);
    });

  it('never raise settings-pending while settings are proven', async () => {
    await settle('bidirectional', { settingsPendingContactsAllowed: 0 });
    const desired = await edit('managerInitiated', { settingsPendingContactsAllowed: 0 });
    // Not in hand yet: as for any settings, the contact after the delivery counts.
    await beat();
    expect(await states('settings-pending')).to.deep.equal(['raised']);
    for (let n = 0; n < 4; n += 1) await beat(candidate(desired, 'managerInitiated'));
    expect(await states('settings-pending')).to.deep.equal(['resolved']);
    expect((await live()).pending_contacts).to.equal(0);
  });

  const reverted = (fingerprint: string) =>
    candidate(fingerprint, 'managerInitiated', { state: 'reverted', reason: 'listener-failed', detail: 'EADDRINUSE' });

  it('tell what was reverted, send it no more, and raise settings-reverted once', async () => {
    await settle('bidirectional');
    const desired = await edit('managerInitiated');
    await beat(candidate(desired, 'managerInitiated'));
    const orders = await beat(reverted(desired));
    expect([orders.settings, orders.committed]).to.deep.equal([null, undefined]);
    for (let n = 0; n < 5; n += 1) expect((await beat(reverted(desired))).settings).to.equal(null);
    const [alert, ...more] = await alerts('settings-reverted');
    expect(more).to.deep.equal([]);
    expect([alert.state, alert.reason]).to.deep.equal(['raised', 'listener-failed']);
    expect(alert.detail).to.deep.equal({
      desired,
      applied: MERGED,
      communicationDirection: 'managerInitiated',
      listenerPort: 4118,
      detail: 'EADDRINUSE',
    });
    expect(await states('settings-pending')).to.deep.equal([]);
    expect((await contacts()).candidate_state).to.equal('reverted');
    const began = world.metrics.statements;
    await beat(reverted(desired));
    expect(world.metrics.statements - began).to.equal(4);
    // A dial proves nothing that was given up.
    expect((await dialled(reverted(desired))).committed).to.equal(undefined);
  });

  const readdress = (address: string | null) => {
    world.clock.now += 1000;
    return database.pool.query(
      `WITH now_at AS (UPDATE computers SET address = $2, revision = revision + 1 WHERE id = $1 RETURNING *),
         forgotten AS (UPDATE computer_live SET state_digest = NULL WHERE computer_id = $1)
       INSERT INTO computer_revisions (computer_id, revision, changed_at, changed_fleet_ms, actor_id, actor_name,
         comment, name, policy_id, labels, address, overrides)
       SELECT id, revision, '2026-11-21', $3, 'x', 'x', '', name, policy_id, labels, address, overrides FROM now_at`,
      [id, address, world.clock.now],
    );
  };
  /** The revision that the computer was made with. */
  const firstRevision = () =>
    database.pool.query(
      `INSERT INTO computer_revisions (computer_id, revision, changed_at, changed_fleet_ms, actor_id, actor_name,
         comment, name, policy_id, labels, address, overrides)
       SELECT id, revision, '2026-11-21', 0, 'x', 'x', '', name, policy_id, labels, address, overrides
       FROM computers WHERE id = $1 ON CONFLICT DO NOTHING`,
      [id],
    );

  it('have what was reverted tried again once when the address was changed since, whatever answer is lost', async () => {
    await settle('bidirectional');
    await firstRevision();
    const desired = await edit('managerInitiated');
    await readdress('web1.example.com');
    await beat(candidate(desired, 'managerInitiated'));
    expect((await beat(reverted(desired))).retryCandidate).to.equal(undefined);
    await readdress('web2.example.com');
    world.clock.now += 1000;
    const lost = world.report(id, { ...told, ...reverted(desired) });
    for (const orders of [await world.batcher.submit(lost), await world.batcher.submit(lost)])
      expect([orders.retryCandidate, orders.settings?.fingerprint]).to.deep.equal([desired, desired]);
    expect(await states('settings-pending')).to.deep.equal([]);
    await beat(candidate(desired, 'managerInitiated'));
    const again = await beat(reverted(desired));
    expect([again.retryCandidate, again.settings]).to.deep.equal([undefined, null]);
    expect(await states('settings-reverted')).to.deep.equal(['raised']);
    const began = world.metrics.statements;
    await beat(reverted(desired));
    expect(world.metrics.statements - began).to.equal(4);
  });

  it('keep settings-reverted open while the same settings are tried again, until they are in force', async () => {
    await settle('bidirectional');
    const desired = await edit('managerInitiated');
    await beat(reverted(desired));
    // After its hour the agent says nothing of them, and they are offered again.
    expect((await beat()).settings?.fingerprint).to.equal(desired);
    await beat(candidate(desired, 'managerInitiated'));
    await beat(reverted(desired));
    expect((await beat()).settings?.fingerprint).to.equal(desired);
    await beat(candidate(desired, 'managerInitiated'));
    expect(await states('settings-reverted')).to.deep.equal(['raised']);
    expect((await dialled(candidate(desired, 'managerInitiated'))).committed).to.equal(desired);
    await dialled({ direction: 'managerInitiated', appliedFingerprint: desired });
    const [alert] = await alerts('settings-reverted');
    expect([alert.state, alert.closed_fleet_ms]).to.deep.equal(['resolved', world.clock.now]);
  });

  it('resolve settings-reverted when other settings are delivered, reported or not', async () => {
    for (const isReported of [true, false]) {
      await settle('bidirectional');
      const first = await edit('managerInitiated');
      await beat(reverted(first));
      if (!isReported) await beat();
      expect(await states('settings-reverted')).to.deep.equal(['raised']);
      await changePolicy(database.pool, { communicationDirection: 'managerInitiated', listenerPort: 4119 });
      const second = await beat(isReported ? reverted(first) : {});
      expect(second.settings?.fingerprint).to.be.a('string').and.not.equal(first);
      expect(await states('settings-reverted')).to.deep.equal(['resolved']);
    }
  });

  it('resolve settings-reverted when the edit is taken back', async () => {
    for (const isReported of [true, false]) {
      await settle('bidirectional');
      const before = told.appliedFingerprint!;
      const desired = await edit('managerInitiated');
      told = { ...told, appliedFingerprint: before };
      await beat(reverted(desired));
      if (!isReported) await beat();
      await changePolicy(database.pool, { communicationDirection: 'bidirectional' });
      // Sent once more, those in force make the agent forget what it reverted.
      const { settings } = await beat(isReported ? reverted(desired) : {});
      expect(settings?.fingerprint).to.equal(isReported ? before : undefined);
      expect(await states('settings-reverted')).to.deep.equal(['resolved']);
    }
  });

  it('count settings-reverted once per revert, whatever else of the state is new', async () => {
    await settle('bidirectional');
    const desired = await edit('managerInitiated');
    const counted = async () =>
      (await alerts('settings-reverted')).map(({ state, occurrences }) => [state, occurrences]);
    await beat(reverted(desired));
    await beat({ ...reverted(desired), agentVersion: '0.2.0' });
    await dialled({ ...reverted(desired), listener: { state: 'failed', detail: 'EACCES' } });
    // Asked for again because they are not stored: the state stays new for two reports.
    const unknown = { ...reverted(desired), factsDigest: 'c'.repeat(64), facts: undefined } as Told;
    await beat(unknown);
    await beat({ ...unknown, facts: { hostname: 'web2' } });
    world.clock.now += 86_400_000;
    await beat(reverted(desired));
    expect(await counted()).to.deep.equal([['raised', 1]]);
    // After its hour they are offered again.
    await beat();
    await beat(candidate(desired, 'managerInitiated'));
    await beat(reverted(desired));
    await beat({ ...reverted(desired), agentVersion: '0.2.0' });
    expect(await counted()).to.deep.equal([['raised', 2]]);
  });

  it('raise settings-reverted anew when settings that were replaced come back', async () => {
    await settle('bidirectional');
    const desired = await edit('managerInitiated');
    await beat(reverted(desired));
    await changePolicy(database.pool, { communicationDirection: 'agentInitiated' });
    await beat(reverted(desired));
    await changePolicy(database.pool, { communicationDirection: 'managerInitiated' });
    expect((await beat(reverted(desired))).settings).to.equal(null);
    expect((await states('settings-reverted')).toSorted()).to.deep.equal(['raised', 'resolved']);
  });

  it('withdraw a candidate whose settings are desired no more', async () => {
    await settle('bidirectional');
    const before = told.appliedFingerprint!;
    const desired = await edit('managerInitiated');
    told = { ...told, appliedFingerprint: before };
    await beat(candidate(desired, 'managerInitiated'));
    await changePolicy(database.pool, { communicationDirection: 'bidirectional' });
    world.dialled.length = 0;
    const answer = await dialled(candidate(desired, 'managerInitiated'));
    expect([answer.settings?.fingerprint, answer.committed]).to.deep.equal([before, undefined]);
    expect(world.dialled).to.deep.equal([]);
    expect((await beat()).settings).to.equal(null);
  });

  it('ask for dials of a candidate that arises in many reports of one batch, and only of those', async () => {
    await settle('bidirectional');
    const ids = await addComputers(database.pool, 10);
    const desired = (await beat()).settings;
    expect(desired).to.equal(null);
    await changePolicy(database.pool, { communicationDirection: 'managerInitiated' });
    const { fingerprint } = (await beat()).settings!;
    const telling = ids.slice(0, 6);
    await Promise.all(
      ids.map((each) =>
        world.beat(each, { ...told, ...(telling.includes(each) ? candidate(fingerprint, 'managerInitiated') : {}) }),
      ),
    );
    expect(world.dialled.toSorted()).to.deep.equal(telling);
    const stored = await one(
      `SELECT count(*)::int AS n FROM computer_contacts WHERE computer_id = ANY($1) AND candidate_state = 'proving'`,
      ids,
    );
    expect(stored.n).to.equal(6);
  });

  it('of an agent that says nothing of them are unknown, also after one that did', async () => {
    await settle('bidirectional');
    told = { appliedFingerprint: told.appliedFingerprint! };
    await beat({ agentVersion: '0.0.9' });
    const row = await contacts();
    expect([row.direction, row.direction_since_fleet_ms, row.listener_state]).to.deep.equal([null, null, null]);
  });

  it('of an appliance are both, whatever the policy says', async () => {
    await changePolicy(database.pool, { communicationDirection: 'bidirectional' });
    [id] = (await addComputers(database.pool, 1)) as [string];
    await database.pool.query(`UPDATE computers SET kind = 'appliance' WHERE id = $1`, [id]);
    told = { direction: 'bidirectional', listener: LISTENING };
    const { settings } = await beat();
    told = { ...told, appliedFingerprint: settings!.fingerprint };
    await changePolicy(database.pool, { communicationDirection: 'managerInitiated' });
    expect((await beat()).settings).to.equal(null);
    expect(settings!.json).to.contain('"communicationDirection":"bidirectional"');
    const { committed } = await dialled(candidate(MERGED, 'managerInitiated'));
    expect(committed).to.equal(undefined);
  });
});
