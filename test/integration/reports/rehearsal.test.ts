import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/index.js';
import type { RehearsalReply } from '../../../server/reports/rehearsal-dto.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { problemOf, type Call } from '../../support/domain-world.js';
import { DAY, HOUR, MINUTE, writeGap, writeHistory } from './report-history.js';

const SECOND = 1000;

describe('the rehearsal of thresholds', function () {
  this.timeout(60_000);
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;
  let now: number;

  const rehearse = async (id: string, body: object, more: Call = {}): Promise<RehearsalReply> => {
    const call = { ...more, params: { id }, body };
    return (await world.call<RehearsalReply>('post', '/policies/:id/rehearse', call)).body;
  };
  const codes = ({ caveats }: RehearsalReply) => caveats.map(({ code }) => code);
  const raise = async (computerId: string, raised: number, closed: number | null) =>
    world.sql.query(
      `INSERT INTO alerts (id, type, severity, state, subject, computer_id, raised_fleet_ms, closed_fleet_ms, reason, detail)
       VALUES (gen_random_uuid(), 'computer-offline', 'high', $3, $1::text, $1::uuid, $2, $4, 'unknown', '{}')`,
      [computerId, raised, closed === null ? 'raised' : 'resolved', closed],
    );
  const makeComputer = async (policyId: string, name: string) => {
    const { id } = await world.makeComputer({ name, policyId });
    await world.hear(id);
    return id;
  };

  before(async () => {
    world = await startComputers(database);
    now = world.clock.fleet();
  });
  afterEach(() => world.setSpans([]));

  it('counts the alerts of recorded gaps, the short ones, and those raised in fact', async () => {
    const policy = (await world.makePolicy(world.base.id)).id;
    const [one, two] = [await makeComputer(policy, 'one'), await makeComputer(policy, 'two')];
    // By the settings in force (2 of 60 s, 5 s grace) an alert comes after 185 s.
    await writeGap(world, one, [now - 3 * DAY, now - 3 * DAY + 200 * SECOND]);
    await writeGap(world, one, [now - 2 * DAY, now - 2 * DAY + 130 * SECOND]);
    await writeGap(world, one, [now - DAY, now - DAY + HOUR]);
    await writeGap(world, two, [now - DAY, now - DAY + 90 * SECOND]);
    // Ended before the days that are asked for.
    await writeGap(world, two, [now - 9 * DAY, now - 9 * DAY + HOUR]);
    await raise(one, now - 3 * DAY + 185 * SECOND, now - 3 * DAY + 200 * SECOND);
    await raise(one, now - DAY + 185 * SECOND, now - DAY + HOUR);
    await raise(two, now - 9 * DAY + 185 * SECOND, null);

    const same = await rehearse(policy, { days: 7 });
    expect(same.computers).to.equal(2);
    expect(same.present).to.deep.equal({ alerts: 2, flash: 1, computers: 1 });
    expect(same.rehearsed).to.deep.equal(same.present);
    expect(same.raised).to.deep.equal({ alerts: 2, flash: 1, computers: 1 });
    expect(codes(same)).to.deep.equal([]);

    const strict = await rehearse(policy, { days: 7, settings: { heartbeatsMissedAllowed: 0 } });
    expect(strict.rehearsed).to.deep.equal({ alerts: 4, flash: 1, computers: 2 });
    expect(strict.present).to.deep.equal(same.present);
    expect(strict.sample).to.deep.equal([
      { id: one, name: 'one', rehearsed: 3, present: 2, raised: 2 },
      { id: two, name: 'two', rehearsed: 1, present: 0, raised: 0 },
    ]);
    expect(codes(strict)).to.deep.equal(['goodbyes-partly-known']);

    const mild = await rehearse(policy, { days: 7, settings: { heartbeatsMissedAllowed: 4 } });
    expect(mild.rehearsed).to.deep.equal({ alerts: 1, flash: 0, computers: 1 });
    const never = await rehearse(policy, { days: 7, settings: { heartbeatsMissedAllowed: 'unlimited' } });
    expect(never.rehearsed.alerts).to.equal(0);
    expect((await rehearse(policy, { days: 2 })).present.alerts).to.equal(1);
    expect((await rehearse(policy, { days: 10 })).present.alerts).to.equal(3);
  });

  it('counts computers that are silent still, and our deafness for nobody', async () => {
    const policy = (await world.makePolicy(world.base.id)).id;
    const silent = await makeComputer(policy, 'silent');
    const seen = now - 5 * HOUR;
    await world.sql.query(
      'UPDATE computer_live SET last_seen_fleet_ms = $2, contact_due_fleet_ms = $3 WHERE computer_id = $1',
      [silent, seen, seen + MINUTE],
    );
    const settings = { heartbeatsMissedAllowed: 400 };
    expect((await rehearse(policy, { days: 1 })).present).to.deep.equal({ alerts: 1, flash: 0, computers: 1 });
    expect((await rehearse(policy, { days: 1, settings })).rehearsed.alerts).to.equal(0);
    world.setSpans([{ from: seen + 10 * SECOND, until: now - 20 * SECOND }]);
    expect((await rehearse(policy, { days: 1 })).present.alerts).to.equal(0);
  });

  it('leaves out what a stopped machine or an announced restart excused', async () => {
    const policy = (await world.makePolicy(world.base.id)).id;
    const [stopped, restarted] = [await makeComputer(policy, 'vm'), await makeComputer(policy, 'restarted')];
    const from = now - 10 * HOUR;
    await writeGap(world, stopped, [from, from + 2 * HOUR]);
    await writeHistory(world, stopped, [
      [from - HOUR, 'online'],
      [from + MINUTE, 'stopped', 'power-stopped'],
      [from + 2 * HOUR, 'online', 'in-contact'],
    ]);
    await writeGap(world, restarted, [from, from + 280 * SECOND]);
    await writeHistory(world, restarted, [
      [from - HOUR, 'online'],
      [from + 65 * SECOND, 'late', 'goodbye-restart'],
      [from + 280 * SECOND, 'online', 'in-contact'],
    ]);
    expect((await rehearse(policy, { days: 1 })).present.alerts).to.equal(0);
    const strict = await rehearse(policy, {
      days: 1,
      settings: { offlineAlertForStoppedVm: true, goodbyeToleranceSeconds: 10 },
    });
    expect(strict.rehearsed).to.deep.equal({ alerts: 2, flash: 0, computers: 2 });
    expect(codes(strict)).to.deep.equal(['goodbyes-partly-known']);
  });

  it('resolves the subtree: overrides stay, locks void them, elsewhere nothing changes', async () => {
    const top = (await world.makePolicy(world.base.id)).id;
    const own = (await world.makePolicy(top, { heartbeatsMissedAllowed: 1 })).id;
    const below = (await world.makePolicy(top)).id;
    const computers = [
      await makeComputer(own, 'own'),
      await makeComputer(below, 'below'),
      await makeComputer(top, 'top'),
    ];
    await world.patchSettings(computers[2]!, { heartbeatsMissedAllowed: 10 });
    for (const id of computers) await writeGap(world, id, [now - HOUR, now - HOUR + 200 * SECOND]);
    const rehearsed = await rehearse(top, { days: 1, settings: { heartbeatsMissedAllowed: 5 } });
    expect(rehearsed.present.alerts).to.equal(2);
    expect(rehearsed.sample.map(({ name }) => name)).to.deep.equal(['own']);
    expect((await rehearse(below, { days: 1, settings: { heartbeatsMissedAllowed: 5 } })).computers).to.equal(1);
    await world.call('put', '/policies/:id/locks/:key', {
      params: { id: top, key: 'heartbeatsMissedAllowed' },
      body: { mode: 'locked' },
      ifMatch: 1,
    });
    const locked = await rehearse(top, { days: 1, settings: { heartbeatsMissedAllowed: 0 } });
    expect([locked.present.alerts, locked.rehearsed.alerts]).to.deep.equal([3, 3]);
    expect((await problemOf(rehearse(own, { days: 1, settings: { heartbeatsMissedAllowed: 5 } }))).code).to.equal(
      'setting-locked',
    );
  });

  it('says what recorded gaps cannot tell', async () => {
    const policy = (await world.makePolicy(world.base.id)).id;
    const computer = await makeComputer(policy, 'slow');
    await writeGap(world, computer, [now - HOUR, now - HOUR + 700 * SECOND, 300 * SECOND]);
    // Of the recorded interval 300 s it was due at 300; by 20 s and two misses the alert comes at 345 at the latest.
    const short = await rehearse(policy, {
      days: 400,
      settings: { heartbeatIntervalSeconds: 20, heartbeatGraceSeconds: 0 },
    });
    expect(short.rehearsed.alerts).to.equal(1);
    expect(codes(short)).to.include.members(['shorter-interval', 'shorter-than-recorded']);
    for (const { detail } of short.caveats) expect(detail).to.match(/\.$/);
    const long = await rehearse(policy, { days: 1, settings: { heartbeatIntervalSeconds: 600 } });
    expect(codes(long)).to.deep.equal(['longer-interval']);
    await world.patchSettings(computer, { communicationDirection: 'managerInitiated' });
    expect(codes(await rehearse(policy, { days: 1 }))).to.deep.equal(['dialled-by-manager', 'shorter-interval']);
  });

  it('refuses what PATCH would refuse and what no alert rests on, and whatever is out of scope', async () => {
    const policy = (await world.makePolicy(world.base.id)).id;
    const settings = { listenerPort: 4000, heartbeatIntervalSeconds: 1, nonsense: 1, heartbeatGraceSeconds: null };
    const { code, errors } = await problemOf(rehearse(policy, { days: 1, settings }));
    expect(code).to.equal('request-invalid');
    expect(errors.map(({ pointer }) => pointer)).to.have.members([
      '#/settings/listenerPort',
      '#/settings/heartbeatIntervalSeconds',
      '#/settings/nonsense',
    ]);
    const scope = Scope.subtrees([policy]);
    expect((await problemOf(rehearse(world.base.id, { days: 1 }, { scope }))).code).to.equal('policy-not-found');
    expect((await rehearse(policy, { days: 1 }, { scope })).rehearsed.alerts).to.equal(0);
  });
});
