import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import type { Page } from '../../../server/admin-api/page.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import type { ComputerDetailDto, StatusChangeDto } from '../../../server/computers/computer-dto.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import type { SettingsView } from '../../../server/policies/policy-settings-service.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { problemOf } from '../../support/domain-world.js';

const ENTITIES = [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity];

describe('computers', () => {
  const database = useDatabase({ entities: ENTITIES });
  let world: ComputerWorld;

  before(async () => {
    world = await startComputers(database);
  });

  const settingsOf = async (id: string) =>
    (await world.call<SettingsView>('get', '/computers/:id/settings', { params: { id } })).body;
  const rulesSinceOf = async (id: string) => {
    const text = 'SELECT verdict_rules_fleet_ms AS at FROM computers WHERE id = $1';
    return (await world.sql.query<{ at: number }>(text, [id]))[0]!.at;
  };
  const countOf = async (table: string, id: string, column = 'computer_id') => {
    const text = `SELECT count(*)::integer AS n FROM ${table} WHERE ${column} = $1`;
    return (await world.sql.query<{ n: number }>(text, [id]))[0]!.n;
  };

  it('are made beforehand, pending and never seen', async () => {
    const made = await world.makeComputer({ name: 'web1', address: 'web1:4118', labels: { site: 'a' } });
    expect(made).to.deep.include({
      name: 'web1',
      kind: 'agent',
      address: 'web1:4118',
      addressSource: 'manual',
      policy: { id: world.base.id, name: 'Base Policy' },
      labels: { site: 'a' },
      revision: 1,
      status: 'pending',
      statusReason: 'never-seen',
      lastSeenAt: null,
      missedHeartbeats: 0,
      nextExpectedAt: null,
      offlineAt: null,
      clockOffsetMs: null,
      settingsState: 'pending',
      communicationDirection: 'bidirectional',
      directionInForce: null,
      connectionMode: 'held',
      carrierInUse: 'https',
      channel: { state: 'none', since: null, reason: null },
      listenerReachable: null,
      lastDial: null,
      agentVersion: null,
      platform: null,
      flags: [],
      components: [],
      counters: null,
      facts: null,
      agentTimeAt: null,
      directionSince: null,
      listener: null,
      candidate: null,
      tls: null,
      certificate: null,
      enrolledAt: null,
    });
    expect(made.fingerprint).to.deep.equal({ desired: (await settingsOf(made.id)).fingerprint, applied: null });
    expect(world.reconsidered).to.include(made.id);
    const missing = world.makeComputer({ policyId: world.random.uuid() });
    expect((await problemOf(missing)).code).to.equal('policy-not-found');
  });

  it('show what follows from the rules at this instant', async () => {
    const policy = await world.makePolicy(world.base.id, { heartbeatsMissedAllowed: 1, heartbeatGraceSeconds: 0 });
    const { id } = await world.makeComputer({ policyId: policy.id });
    await world.hear(id);
    const heard = await world.read(id);
    const at = Date.parse(heard.lastSeenAt!);
    expect(at).to.equal(world.clock.wall());
    expect(Date.parse(heard.nextExpectedAt!)).to.equal(at + 60_000);
    expect(Date.parse(heard.offlineAt!)).to.equal(at + 120_000);
    world.clock.advance(59_999);
    expect((await world.read(id)).missedHeartbeats).to.equal(0);
    world.clock.advance(1);
    expect((await world.read(id)).missedHeartbeats).to.equal(1);
    world.clock.advance(120_000);
    expect((await world.read(id)).missedHeartbeats).to.equal(3);
  });

  it('show the ways to them as reports and dials told', async () => {
    const { id, fingerprint } = await world.makeComputer();
    await world.hear(id);
    const at = world.clock.fleet();
    const shown = (instant: number) => new Date(world.clock.toWall(instant)).toISOString();
    await world.sql.query(
      `INSERT INTO computer_contacts (computer_id, direction, direction_since_fleet_ms, listener_state, listener_port,
         candidate_fingerprint, candidate_direction, candidate_state, candidate_reason, candidate_since_fleet_ms)
       VALUES ($1, 'bidirectional', $2, 'listening', 4118, $3, 'managerInitiated', 'reverted', 'not-dialled', $2)`,
      [id, at, Buffer.from(fingerprint.desired, 'hex')],
    );
    await world.sql.query(
      `INSERT INTO computer_dials (computer_id, last_begun_fleet_ms, last_ended_fleet_ms, last_result, failures)
       VALUES ($1, $2, $3, 'refused', 2)`,
      [id, at + 10, at + 20],
    );
    const failing = await world.read(id);
    expect(failing).to.deep.include({
      settingsState: 'failed',
      communicationDirection: 'bidirectional',
      directionInForce: 'bidirectional',
      directionSince: shown(at),
      carrierInUse: 'https',
      listenerReachable: false,
      lastDial: { at: shown(at + 20), result: 'refused' },
      listener: { state: 'listening', port: 4118, detail: null },
    });
    expect(failing.candidate).to.deep.include({
      fingerprint: fingerprint.desired,
      communicationDirection: 'managerInitiated',
      state: 'reverted',
      reason: 'not-dialled',
      since: shown(at),
    });
    const heard = `UPDATE computer_live SET seen_by_agent_fleet_ms = $2, seen_by_dial_fleet_ms = $3 WHERE computer_id = $1`;
    await world.sql.query(heard, [id, at, at + 30]);
    const answered = { listenerReachable: true, carrierInUse: 'listener' };
    expect(await world.read(id)).to.deep.include({ ...answered, lastDial: { at: shown(at + 30), result: 'answered' } });
    const { items } = await world.list({ q: failing.name });
    expect(items.map(({ listenerReachable, settingsState }) => [listenerReachable, settingsState])).to.deep.equal([
      [true, 'failed'],
    ]);
    await world.patchSettings(id, { listenerPort: 4999 });
    expect((await world.read(id)).settingsState).to.equal('pending');
    await world.call('delete', '/computers/:id', { params: { id } });
    expect([await countOf('computer_contacts', id), await countOf('computer_dials', id)]).to.deep.equal([0, 0]);
  });

  it('are renamed, labelled and addressed under their own revision', async () => {
    const { id } = await world.makeComputer({ labels: { site: 'a', rack: '1' } });
    const generation = world.cache.generation().counter;
    const remember = () =>
      world.sql.query(`UPDATE computer_live SET state_digest = '\\x01' WHERE computer_id = $1`, [id]);
    const isStateForgotten = async () => {
      const text = 'SELECT 1 FROM computer_live WHERE computer_id = $1 AND state_digest IS NULL';
      return (await world.sql.query(text, [id])).length === 1;
    };
    await remember();
    await world.change(id, { name: 'db0' });
    expect(await isStateForgotten()).to.equal(false);
    const changed = await world.change(id, { name: 'db1', labels: { rack: null, owner: 'ada' }, address: '[::1]:1' });
    expect(changed).to.deep.include({
      name: 'db1',
      labels: { site: 'a', owner: 'ada' },
      address: '[::1]:1',
      revision: 3,
    });
    expect(await isStateForgotten()).to.equal(true);
    expect(await world.change(id, { address: null })).to.deep.include({ address: null, revision: 4 });
    await remember();
    expect(await world.change(id, { name: 'db1', address: null })).to.include({ revision: 4 });
    expect(await isStateForgotten()).to.equal(false);
    expect(world.cache.generation().counter).to.equal(generation);
    expect(await countOf('computer_revisions', id)).to.equal(4);
    const stale = world.call('patch', '/computers/:id', { params: { id }, body: { name: 'x' }, ifMatch: 1 });
    expect((await problemOf(stale)).code).to.equal('revision-stale');
  });

  it('take the settings of the policy that they are moved to', async () => {
    const [slow, fast] = [
      await world.makePolicy(world.base.id, { heartbeatIntervalSeconds: 600 }),
      await world.makePolicy(world.base.id, { heartbeatIntervalSeconds: 10 }),
    ];
    const { id } = await world.makeComputer({ policyId: slow.id });
    const generation = world.cache.generation().counter;
    const moved = await world.change(id, { policyId: fast.id });
    expect(moved.policy).to.deep.equal({ id: fast.id, name: fast.name });
    expect((await settingsOf(id)).settings.heartbeatIntervalSeconds).to.deep.include({ value: 10, inherited: true });
    expect(world.cache.generation().counter).to.equal(generation + 1);
    const nowhere = world.change(id, { policyId: world.random.uuid() });
    expect((await problemOf(nowhere)).code).to.equal('policy-not-found');
  });

  it('override settings with provenance, and null returns to the policy', async () => {
    const policy = await world.makePolicy(world.base.id, { heartbeatIntervalSeconds: 600 });
    const made = await world.makeComputer({ policyId: policy.id });
    const own = await world.patchSettings(made.id, { heartbeatIntervalSeconds: 30 });
    const { heartbeatIntervalSeconds: setting } = own.settings;
    expect(setting).to.deep.include({ value: 30, inherited: false });
    expect(setting.source).to.deep.equal({ kind: 'computer', id: made.id, name: made.name });
    expect(setting.shadows[0]).to.deep.equal({ kind: 'policy', id: policy.id, name: policy.name, value: 600 });
    expect(own.revision).to.equal(2);
    expect((await world.read(made.id)).fingerprint.desired).to.equal(own.fingerprint);
    const back = await world.patchSettings(made.id, { heartbeatIntervalSeconds: null });
    expect(back.settings.heartbeatIntervalSeconds).to.deep.include({ value: 600, inherited: true });
    const [row] = await world.sql.query<{ overrides: unknown }>('SELECT overrides FROM computers WHERE id = $1', [
      made.id,
    ]);
    expect(row!.overrides).to.equal(null);
  });

  it('are refused what a lock above voids, and what their kind forbids', async () => {
    const policy = await world.makePolicy(world.base.id, { communicationDirection: 'agentInitiated' });
    const params = { id: policy.id, key: 'heartbeatIntervalSeconds' };
    await world.call('put', '/policies/:id/locks/:key', { params, body: { mode: 'locked' }, ifMatch: 1 });
    const appliance = await world.makeComputer({ kind: 'appliance', policyId: policy.id });
    const locked = await problemOf(world.patchSettings(appliance.id, { heartbeatIntervalSeconds: 30 }));
    expect(locked.code).to.equal('setting-locked');
    expect(locked.members['policy']).to.deep.include({ name: policy.name });
    const forced = await problemOf(world.patchSettings(appliance.id, { communicationDirection: 'managerInitiated' }));
    expect(forced.code).to.equal('forced-by-kind');
    expect(appliance.communicationDirection).to.equal('bidirectional');
    const { communicationDirection } = (await settingsOf(appliance.id)).settings;
    expect(communicationDirection).to.deep.include({ value: 'bidirectional', source: { kind: 'forced' } });
    expect(communicationDirection.void[0]).to.deep.include({ reason: 'forced by kind', name: policy.name });
  });

  it('are judged by new rules from the edit or move on that changes them, and from no other', async () => {
    const strict = await world.makePolicy(world.base.id, { heartbeatsMissedAllowed: 0 });
    const same = await world.makePolicy(world.base.id);
    const { id } = await world.makeComputer();
    const begin = await rulesSinceOf(id);
    world.clock.advance(10_000);
    await world.patchSettings(id, { heartbeatIntervalSeconds: 30 });
    await world.change(id, { policyId: same.id });
    expect(await rulesSinceOf(id)).to.equal(begin);
    await world.change(id, { policyId: strict.id });
    expect(await rulesSinceOf(id)).to.equal(world.clock.fleet());
    world.clock.advance(10_000);
    await world.patchSettings(id, { heartbeatsMissedAllowed: 4 });
    expect(await rulesSinceOf(id)).to.equal(world.clock.fleet());
  });

  it('keep a policy from being deleted, or move with it', async () => {
    const [from, to] = [await world.makePolicy(world.base.id), await world.makePolicy(world.base.id)];
    const [a, b] = [await world.makeComputer({ policyId: from.id }), await world.makeComputer({ policyId: from.id })];
    const params = { id: from.id };
    const refused = await problemOf(world.call('delete', '/policies/:id', { params }));
    expect(refused.code).to.equal('in-use');
    const named = refused.members['computers'] as { name: string }[];
    expect(named.map(({ name }) => name).toSorted()).to.deep.equal([a.name, b.name].toSorted());
    await world.call('delete', '/policies/:id', { params, query: { reassignTo: to.id } });
    for (const { id } of [a, b]) {
      const moved = await world.read(id);
      expect([moved.policy.id, moved.revision]).to.deep.equal([to.id, 2]);
      expect(await countOf('computer_revisions', id)).to.equal(2);
    }
  });

  it('are stopped at once by a power state, and run again at once', async () => {
    const { id } = await world.makeComputer();
    await world.hear(id);
    world.clock.advance(1000);
    const put = (body: object) =>
      world.call<ComputerDetailDto>('put', '/computers/:id/power-state', { params: { id }, body });
    const stopped = (await put({ state: 'stopped', source: 'vcenter' })).body;
    expect(stopped).to.deep.include({ status: 'stopped', statusReason: 'power-stopped', revision: 1 });
    expect(Date.parse(stopped.statusSince)).to.equal(world.clock.wall());
    expect(stopped.powerState).to.deep.include({ state: 'stopped', source: 'vcenter' });
    world.clock.advance(1000);
    expect((await put({ state: 'stopped' })).body.powerState.since).to.equal(stopped.powerState.since);
    expect((await put({ state: 'running' })).body.status).to.equal('online');
    const history = await world.call<Page<StatusChangeDto>>('get', '/computers/:id/status-history', { params: { id } });
    expect(history.body.items.map(({ status, previousStatus }) => [previousStatus, status])).to.deep.equal([
      ['stopped', 'online'],
      ['online', 'stopped'],
    ]);
    const expired = put({ state: 'stopped', expiresAt: new Date(world.clock.wall()).toISOString() });
    expect((await problemOf(expired)).code).to.equal('request-invalid');
    const later = new Date(world.clock.wall() + 5000).toISOString();
    expect((await put({ state: 'stopped', expiresAt: later })).body.powerState.expiresAt).to.equal(later);
  });

  it('resolve their offline alert when they are said to be stopped', async () => {
    const { id } = await world.makeComputer();
    await world.hear(id);
    const since = world.clock.fleet();
    world.clock.advance(3_600_000);
    const offline = {
      computerId: id,
      from: 'online',
      to: 'offline',
      reason: 'unknown',
      since,
      offlineAt: since,
    } as const;
    const offlineAlert = { raisedAt: since, reason: 'unknown' };
    await world.inTransaction(async () => world.statuses.apply(world.sql, [{ ...offline, offlineAlert }], since));
    await world.call('put', '/computers/:id/power-state', { params: { id }, body: { state: 'stopped' } });
    const states = await world.sql.query('SELECT state FROM alerts WHERE computer_id = $1', [id]);
    expect(states).to.deep.equal([{ state: 'resolved' }]);
  });

  const insertCertificate = (id: string, serial: string) =>
    world.sql.query(
      `INSERT INTO certificates (serial, computer_id, key_digest, pem, not_before, not_after, issued_at)
       VALUES ($1, $2, '\\x00', '', '2026-11-01', '2026-12-01', '2026-11-01')`,
      [serial, id],
    );

  it('are revoked once, with their certificates', async () => {
    const { id } = await world.makeComputer();
    await insertCertificate(id, `serial ${id}`);
    await world.sql.query('UPDATE computer_live SET is_clock_drifting = true WHERE computer_id = $1', [id]);
    const revoke = () => world.call<ComputerDetailDto>('post', '/computers/:id/revoke', { params: { id } });
    const revoked = (await revoke()).body;
    expect(revoked).to.include({ status: 'revoked', statusReason: 'revoked', nextExpectedAt: null });
    expect(revoked.certificate).to.deep.include({ serial: `serial ${id}` });
    await revoke();
    expect(await countOf('status_history', id)).to.equal(1);
    const [row] = await world.sql.query('SELECT revoked_reason FROM certificates WHERE computer_id = $1', [id]);
    expect(row).to.deep.equal({ revoked_reason: 'computer-revoked' });
    const [live] = await world.sql.query('SELECT is_clock_drifting FROM computer_live WHERE computer_id = $1', [id]);
    expect(live).to.deep.equal({ is_clock_drifting: false });
  });

  it('that only the manager dials are to be told that they were revoked and removed, where they were reached', async () => {
    const { id } = await world.makeComputer({ address: 'web1.example.com' });
    await world.sql.query(
      `INSERT INTO computer_contacts (computer_id, direction, direction_since_fleet_ms, listener_state)
       VALUES ($1, 'managerInitiated', 0, 'failed')`,
      [id],
    );
    const farewells = () =>
      world.sql.query('SELECT address, port, attempts FROM farewells WHERE computer_id = $1', [id]);
    await world.patchSettings(id, { listenerPort: 4999 });
    await world.call('post', '/computers/:id/revoke', { params: { id } });
    const ordered = [{ address: 'web1.example.com', port: 4999, attempts: 0 }];
    expect(await farewells()).to.deep.equal(ordered);
    await world.sql.query('UPDATE farewells SET attempts = 3 WHERE computer_id = $1', [id]);
    await world.call('post', '/computers/:id/revoke', { params: { id } });
    expect(await farewells()).to.deep.equal([{ ...ordered[0], attempts: 3 }]);
    await world.call('delete', '/computers/:id', { params: { id } });
    expect(await farewells()).to.deep.equal(ordered);
  });

  it('are forgotten but for their history, and their certificates count no more', async () => {
    const { id } = await world.makeComputer();
    await insertCertificate(id, `serial ${id}`);
    const raised = {
      type: 'component-offline',
      subject: `${id}/x`,
      computerId: id,
      raisedAt: 1,
      reason: 'x',
      detail: {},
    };
    await world.alerts.raise(world.sql, [raised]);
    const stale = world.call('delete', '/computers/:id', { params: { id }, ifMatch: 7 });
    expect((await problemOf(stale)).code).to.equal('revision-stale');
    await world.call('delete', '/computers/:id', { params: { id } });
    expect((await problemOf(world.read(id))).code).to.equal('computer-not-found');
    for (const table of ['computer_live', 'computer_status']) expect(await countOf(table, id)).to.equal(0);
    const [certificate] = await world.sql.query('SELECT revoked_reason FROM certificates WHERE computer_id = $1', [id]);
    expect(certificate).to.deep.equal({ revoked_reason: 'computer-removed' });
    expect(await world.sql.query('SELECT state FROM alerts WHERE computer_id = $1', [id])).to.deep.equal([
      { state: 'resolved' },
    ]);
    expect((await problemOf(world.call('delete', '/computers/:id', { params: { id } }))).code).to.equal(
      'computer-not-found',
    );
  });

  it('are not forgotten while they are isolated, unless the caller says so', async () => {
    const { id } = await world.makeComputer();
    await world.sql.query(
      `INSERT INTO computer_contacts (computer_id, isolated_by, isolated_since_fleet_ms) VALUES ($1, $1, 1)`,
      [id],
    );
    const params = { id };
    await world.call('post', '/computers/:id/revoke', { params });
    for (const query of [{}, { force: 'false' }])
      expect((await problemOf(world.call('delete', '/computers/:id', { params, query }))).code).to.equal(
        'computer-isolated',
      );
    expect((await world.read(id)).status).to.equal('revoked');
    await world.call('delete', '/computers/:id', { params, query: { force: 'true' } });
    expect((await problemOf(world.read(id))).code).to.equal('computer-not-found');
  });

  it('are not there for who may not see their policy', async () => {
    const [mine, other] = [await world.makePolicy(world.base.id), await world.makePolicy(world.base.id)];
    const [seen, hidden] = [
      await world.makeComputer({ policyId: mine.id }),
      await world.makeComputer({ policyId: other.id }),
    ];
    const scope = Scope.subtrees([mine.id]);
    expect((await world.list({}, { scope })).items.map(({ id }) => id)).to.deep.equal([seen.id]);
    const params = { id: hidden.id };
    const refused = [
      world.call('get', '/computers/:id', { params, scope }),
      world.call('get', '/computers/:id/settings', { params, scope }),
      world.call('get', '/computers/:id/status-history', { params, scope }),
      world.call('get', '/computers/:id/gaps', { params, scope }),
      world.call('get', '/computers/:id/events', { params, scope }),
      world.call('patch', '/computers/:id', { params, scope, body: { name: 'x' }, ifMatch: 1 }),
      world.call('patch', '/computers/:id/settings', { params, scope, body: {}, ifMatch: 1 }),
      world.call('put', '/computers/:id/power-state', { params, scope, body: { state: 'running' } }),
      world.call('post', '/computers/:id/revoke', { params, scope }),
      world.call('delete', '/computers/:id', { params, scope }),
    ];
    for (const { code } of await Promise.all(refused.map(problemOf))) expect(code).to.equal('computer-not-found');
    const moves = [
      world.call('patch', '/computers/:id', {
        params: { id: seen.id },
        scope,
        body: { policyId: other.id },
        ifMatch: 1,
      }),
      world.call('post', '/computers', { scope, body: { name: 'x', policyId: other.id } }),
    ];
    for (const { code } of await Promise.all(moves.map(problemOf))) expect(code).to.equal('policy-not-found');
  });

  it('leave an audit row with before and after for every change', async () => {
    const { id } = await world.makeComputer();
    world.audit.entries.length = 0;
    await world.change(id, { name: 'audited' });
    await world.patchSettings(id, { heartbeatGraceSeconds: 1 });
    await world.call('put', '/computers/:id/power-state', { params: { id }, body: { state: 'stopped' } });
    await world.call('post', '/computers/:id/revoke', { params: { id } });
    await world.call('delete', '/computers/:id', { params: { id } });
    expect(world.audit.entries.map(({ action }) => action)).to.deep.equal([
      'computer.changed',
      'computer.settings-changed',
      'computer.power-told',
      'computer.revoked',
      'computer.deleted',
    ]);
    expect(world.audit.entries[1]!.before).to.deep.include({ overrides: null, revision: 2 });
    expect(world.audit.entries[1]!.after).to.deep.include({ overrides: { heartbeatGraceSeconds: 1 }, revision: 3 });
  });
});
