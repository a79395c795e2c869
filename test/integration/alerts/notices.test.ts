import { expect } from 'chai';
import type { AlertActReply, AlertReply } from '../../../server/alerts/alert-dto.js';
import type { Page } from '../../../server/admin-api/page.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import { readToldAlerts } from '../../../server/notifications/told-alert-query.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { Scope } from '../../../server/access/scope.js';
import { toRfc3339 } from '../../../lib/clock.js';
import { useDatabase } from '../../support/database.js';
import { problemOf } from '../../support/domain-world.js';
import { startNotices, type NoticeWorld } from '../../support/notice-world.js';

const MINUTE_MS = 60_000;
const SITE = 30;
const ENTITIES = [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity];

describe('the notices of alerts', () => {
  const database = useDatabase({ entities: ENTITIES });
  let world: NoticeWorld;

  beforeEach(async () => {
    await database.pool.query(
      `DELETE FROM alerts; DELETE FROM alert_outbox; DELETE FROM alert_notices; DELETE FROM computer_flaps;
       DELETE FROM maintenance_windows; DELETE FROM jobs; DELETE FROM computer_revisions; DELETE FROM computers; DELETE FROM computer_live;
       DELETE FROM computer_status; DELETE FROM policy_revisions; DELETE FROM policies; DELETE FROM policy_forest; DELETE FROM users`,
    );
    world = await startNotices(database);
  });

  const computer = async (body: object = {}) => {
    const { id } = await world.makeComputer(body);
    await world.hear(id);
    world.clock.advance(4 * MINUTE_MS);
    return id;
  };
  const only = async () => {
    const [alert, ...others] = await world.alerts();
    expect(others).to.deep.equal([]);
    return alert!;
  };
  const wall = (inMs: number) => toRfc3339(world.clock.wall() + inMs);

  it('are held for a minute, in which an incident could gather the alert, and told once', async () => {
    const web1 = await computer();
    await world.fail([web1]);
    await world.run();
    expect(world.heard()).to.deep.equal([]);
    expect(await only()).to.include({ heldBy: 'hold', told: 'nothing' });
    await world.pass(59_000);
    expect(world.heard()).to.deep.equal([]);
    await world.pass(1000);
    expect(world.heard()).to.deep.equal(['raised']);
    expect(await only()).to.include({ heldBy: null, told: 'open' });
    await world.pass(5 * MINUTE_MS, 10_000);
    expect(world.heard()).to.deep.equal([]);
    await world.recover([web1]);
    await world.run();
    expect(world.heard()).to.deep.equal(['resolved']);
    expect(await only()).to.include({ state: 'resolved', told: 'closed' });
  });

  it('are held no longer than an interval', async () => {
    const { id: policyId } = await world.makePolicy(world.base.id, { heartbeatIntervalSeconds: 10 });
    const { id } = await world.makeComputer({ policyId });
    await world.hear(id, 10_000);
    await world.fail([id]);
    await world.pass(10_000);
    expect(world.heard()).to.deep.equal(['raised']);
  });

  it('say nothing of what came and went within the hold, and keep nothing of it', async () => {
    const web1 = await computer();
    await world.fail([web1]);
    await world.pass(30_000, 5000);
    await world.recover([web1]);
    await world.pass(2 * MINUTE_MS, 5000);
    expect(world.heard()).to.deep.equal([]);
    const { rows } = await database.pool.query('SELECT * FROM alert_notices');
    expect(rows).to.deep.equal([]);
  });

  it('of other types are told at once', async () => {
    const web1 = await computer();
    const condition = { type: 'clock-drift', subject: web1, computerId: web1, reason: 'clock-drift', detail: {} };
    await world.raise([{ ...condition, raisedAt: world.clock.fleet() }]);
    await world.run();
    expect(world.heard()).to.deep.equal(['raised']);
  });

  it('are decided in the transaction that takes them, or not at all', async () => {
    const web1 = await computer();
    await world.fail([web1]);
    await world.run();
    world.clock.advance(MINUTE_MS);
    world.setFailing(true);
    await expectFailure(world.run());
    expect(await only()).to.include({ told: 'nothing', heldBy: 'hold' });
    world.setFailing(false);
    await world.run();
    expect(world.heard()).to.deep.equal(['raised']);
  });

  it('are decided by one manager of two, and by the other when the first lets go', async () => {
    const web1 = await computer();
    const other = world.makeJob('n2');
    await world.fail([web1]);
    await world.run();
    world.clock.advance(MINUTE_MS);
    await world.run();
    await world.run(other);
    expect(world.heard()).to.deep.equal(['raised']);
    await world.job.close();
    await world.recover([web1]);
    await world.run(other);
    expect(world.heard()).to.deep.equal(['resolved']);
  });

  it('take a constant number of statements for any number of alerts, and none but a look when nothing is due', async () => {
    const spent = async (work: () => Promise<void>) => {
      world.statements.length = 0;
      await work();
      return world.statements.length;
    };
    const life = async (ids: readonly string[]) => [
      await spent(() => world.fail(ids)),
      await spent(() => world.run()),
      await spent(() => world.pass(MINUTE_MS, MINUTE_MS)),
      await spent(() => world.recover(ids)),
      await spent(() => world.run()),
      await spent(() => world.run()),
    ];
    // The first run of a process looks at all that windows hold back.
    await world.run();
    const few = await life([await computer(), await computer()]);
    const ids: string[] = [];
    for (let count = 0; count < SITE; count += 1) ids.push(await computer());
    expect(await life(ids)).to.deep.equal(few);
    expect(few.at(-1)).to.equal(0);
    expect(world.heard()).to.have.lengthOf(2 * (SITE + 2));
    expect((await database.pool.query('SELECT * FROM alert_outbox')).rows).to.deep.equal([]);
  });

  it('of the children of an incident are held, and told when it lets them go and they do not follow the others back', async () => {
    const [web1, web2, web3] = [await computer(), await computer(), await computer()];
    await world.fail([web1, web2, web3]);
    const gather = (incidentId: string | null, ids: readonly string[]) =>
      world.hot(async (sql) => {
        await sql.query('UPDATE alerts SET incident_id = $1 WHERE computer_id = ANY($2::uuid[])', [incidentId, ids]);
        const rows = await sql.query<{ id: string }>('SELECT id FROM alerts WHERE computer_id = ANY($1::uuid[])', [
          ids,
        ]);
        const at = world.clock.fleet();
        await world.outbox.append(
          sql,
          rows.map(({ id }) => ({ alertId: id, change: 'incident', at })),
        );
      });
    await gather(world.base.id, [web1, web2, web3]);
    await world.pass(3 * MINUTE_MS, 10_000);
    expect(world.heard()).to.deep.equal([]);
    expect((await world.alerts({ heldBy: 'incident', incidentId: world.base.id })).length).to.equal(3);
    await world.recover([web1]);
    await gather(null, [web2, web3]);
    await world.pass(MINUTE_MS, 10_000);
    expect(world.heard()).to.deep.equal([]);
    expect((await world.alerts({ heldBy: 'incident' })).length).to.equal(2);
    await world.recover([web3]);
    await world.pass(30_000, 10_000);
    expect(world.heard()).to.deep.equal(['raised']);
    expect((await world.alerts({ state: 'raised' })).map(({ told }) => told)).to.deep.equal(['open']);
  });

  describe('in maintenance', () => {
    const window = (body: object) =>
      world.call<{ id: string }>('post', '/maintenance-windows', { body: { comment: 'patch day', ...body } });

    it('say nothing of what came and went inside a window', async () => {
      const web1 = await computer();
      await window({ computerId: web1, endsAt: wall(30 * MINUTE_MS) });
      await world.fail([web1]);
      await world.pass(2 * MINUTE_MS, 10_000);
      expect(await only()).to.include({ heldBy: 'maintenance', told: 'nothing' });
      await world.recover([web1]);
      await world.pass(40 * MINUTE_MS, MINUTE_MS);
      expect(world.heard()).to.deep.equal([]);
    });

    it('tell at its end what began inside and goes on', async () => {
      const web1 = await computer();
      await window({ computerId: web1, endsAt: wall(30 * MINUTE_MS) });
      await world.fail([web1]);
      await world.pass(30 * MINUTE_MS - 1000, 29_000);
      expect(world.heard()).to.deep.equal([]);
      await world.pass(5000);
      expect(world.heard()).to.deep.equal(['raised']);
    });

    it('tell at its end what ended inside, when it is settled', async () => {
      const web1 = await computer();
      await world.fail([web1]);
      await world.pass(MINUTE_MS, MINUTE_MS);
      await world.pass(MINUTE_MS, MINUTE_MS);
      expect(world.heard()).to.deep.equal(['raised']);
      await window({ computerId: web1, endsAt: wall(10 * MINUTE_MS) });
      await world.run();
      expect(await only()).to.include({ heldBy: 'maintenance', told: 'open' });
      await world.pass(8 * MINUTE_MS + 30_000, 30_000);
      // Heard 90 s before the window ends, it is due 30 s before that, and 25 s late at the end of it: late.
      await world.recover([web1]);
      await world.pass(90_000, 5000);
      expect(await only()).to.include({ state: 'resolved', heldBy: 'maintenance', told: 'open' });
      await world.pass(20_000, 5000);
      expect(world.heard(), 'it may go down again').to.deep.equal([]);
      await world.hear(web1);
      await world.pass(2 * MINUTE_MS, 5000);
      expect(world.heard()).to.deep.equal(['resolved']);
    });

    it('wait at its end until the allowance after deaf time is over', async () => {
      const web1 = await computer();
      await window({ computerId: web1, endsAt: wall(2 * MINUTE_MS) });
      await world.fail([web1]);
      await world.run();
      const now = world.clock.fleet();
      const span = { from: now + 90_000, until: now + 119_000, listener: 'n1', cause: 'killed' as const };
      world.setSpans([span]);
      await world.pass(2 * MINUTE_MS + 70_000, 2000);
      expect(world.heard()).to.deep.equal([]);
      await world.pass(10_000, 1000);
      expect(world.heard()).to.deep.equal(['raised']);
    });

    it('tell as soon as a window is ended early', async () => {
      const web1 = await computer();
      const { body } = await window({ computerId: web1, endsAt: wall(300 * MINUTE_MS) });
      await world.fail([web1]);
      await world.pass(2 * MINUTE_MS, 10_000);
      await world.call('delete', '/maintenance-windows/:id', { params: { id: body.id } });
      await world.pass(1000);
      expect(world.heard()).to.deep.equal(['raised']);
    });

    it('follow the inherited setting, and an edit of it at once', async () => {
      const { id: policyId } = await world.makePolicy(world.base.id);
      const web1 = await computer({ policyId });
      const settings = async (value: unknown) => {
        const path = '/policies/:id/settings';
        const { revision } = await world.call('get', path, { params: { id: world.base.id } });
        const body = { maintenanceWindows: value };
        await world.call('patch', path, { params: { id: world.base.id }, body, ifMatch: revision });
        await world.cache.refresh();
      };
      const { fingerprint } = await world.read(web1);
      // The clock stands at 2026-11-21, 12:04 UTC: 13:04 in Berlin.
      await settings([{ cron: '0 13 * * *', durationMinutes: 120, timeZone: 'Europe/Berlin' }]);
      const shown = await world.read(web1);
      expect(shown.maintenance).to.deep.equal({
        until: '2026-11-21T14:00:00.000Z',
        source: { kind: 'policy', id: world.base.id, name: world.base.name },
      });
      expect(shown.fingerprint).to.deep.equal(fingerprint);
      await world.fail([web1]);
      await world.pass(2 * MINUTE_MS, 10_000);
      expect(await only()).to.include({ heldBy: 'maintenance' });
      await settings(null);
      await world.pass(1000);
      expect(world.heard()).to.deep.equal(['raised']);
      await settings([{ cron: '0 13 * * *', durationMinutes: 120, timeZone: 'Europe/Berlin' }]);
      await world.pass(1000);
      expect(await only()).to.include({ heldBy: 'maintenance', told: 'open' });
    });

    it('are held again from the beginning of the next window', async () => {
      const web1 = await computer();
      await window({ computerId: web1, startsAt: wall(10 * MINUTE_MS), endsAt: wall(20 * MINUTE_MS) });
      await world.fail([web1]);
      await world.pass(MINUTE_MS, MINUTE_MS);
      await world.pass(MINUTE_MS, MINUTE_MS);
      expect(await only()).to.include({ heldBy: null, told: 'open' });
      await world.pass(9 * MINUTE_MS, MINUTE_MS);
      expect(await only()).to.include({ heldBy: 'maintenance', told: 'open' });
      await world.pass(10 * MINUTE_MS, MINUTE_MS);
      expect(await only()).to.include({ heldBy: null, told: 'open' });
      expect(world.heard()).to.deep.equal(['raised']);
    });
  });

  describe('of a flapping computer', () => {
    const outage = async (id: string) => {
      await world.fail([id]);
      await world.pass(3 * MINUTE_MS, 20_000);
      await world.recover([id]);
      await world.pass(3 * MINUTE_MS, 20_000);
    };

    it('say that it flaps, then nothing, and in the end what differs', async () => {
      const web1 = await computer();
      await outage(web1);
      await outage(web1);
      expect(world.heard()).to.deep.equal(['raised', 'resolved', 'raised', 'resolved']);
      await outage(web1);
      expect(world.heard()).to.deep.equal(['raised', 'flapping']);
      expect((await world.alerts({ limit: 1 }))[0]).to.include({ flapping: true, heldBy: 'flapping', told: 'open' });
      for (let count = 0; count < 5; count += 1) await outage(web1);
      expect(world.heard()).to.deep.equal([]);
      await world.fail([web1]);
      await world.pass(10 * MINUTE_MS, 20_000);
      expect(world.heard()).to.deep.equal([]);
      expect((await world.alerts({ limit: 1 }))[0]).to.include({ state: 'raised', flapping: true, told: 'nothing' });
      await world.pass(70 * MINUTE_MS, MINUTE_MS);
      expect(world.heard()).to.have.members(['resolved', 'raised']);
      expect((await world.alerts({ limit: 1 }))[0]).to.include({ flapping: false, heldBy: null, told: 'open' });
      const held = (await world.alerts({ limit: 500 })).filter(({ heldBy }) => heldBy !== null);
      expect(held).to.deep.equal([]);
    });

    it('does not count what happens in maintenance', async () => {
      const web1 = await computer();
      const body = { computerId: web1, endsAt: wall(60 * MINUTE_MS), comment: 'reboots' };
      await world.call('post', '/maintenance-windows', { body });
      for (let count = 0; count < 5; count += 1) await outage(web1);
      expect((await database.pool.query('SELECT * FROM computer_flaps')).rows).to.deep.equal([]);
      expect(world.heard()).to.deep.equal([]);
    });

    it('does not spread to another', async () => {
      const [web1, web2] = [await computer(), await computer()];
      for (let count = 0; count < 4; count += 1) await outage(web1);
      world.heard();
      await outage(web2);
      expect(world.heard()).to.deep.equal(['raised', 'resolved']);
    });
  });

  describe('that somebody acts on', () => {
    const told = async () => {
      const web1 = await computer();
      await world.fail([web1]);
      await world.run();
      await world.pass(MINUTE_MS, MINUTE_MS);
      expect(world.heard()).to.deep.equal(['raised']);
      return { web1, alert: await only() };
    };

    it('tell an acknowledgement once', async () => {
      const { alert } = await told();
      await world.act(alert.id, 'acknowledge', { comment: 'mine' });
      await world.pass(3000);
      await world.act(alert.id, 'acknowledge');
      await world.pass(1000);
      expect(world.heard()).to.deep.equal(['acknowledged']);
      expect(await only()).to.include({ acknowledgedBy: '0ada0000-0000-4000-8000-000000000000', comment: 'mine' });
    });

    it('are silent while snoozed, and tell the difference after', async () => {
      const { web1, alert } = await told();
      const until = wall(10 * MINUTE_MS);
      expect((await world.act(alert.id, 'snooze', { until, comment: 'later' })).snoozedUntil).to.equal(until);
      await world.run();
      expect(await only()).to.include({ heldBy: 'snoozed' });
      await world.recover([web1]);
      await world.pass(5 * MINUTE_MS, MINUTE_MS);
      expect(world.heard()).to.deep.equal([]);
      await world.hear(web1);
      for (let minute = 0; minute < 6; minute += 1) {
        await world.hear(web1);
        await world.pass(MINUTE_MS, 10_000);
      }
      expect(world.heard()).to.deep.equal(['resolved']);
    });

    it('wake when snoozing is ended', async () => {
      const web1 = await computer();
      await world.fail([web1]);
      const alert = await only();
      await world.act(alert.id, 'snooze', { until: wall(600 * MINUTE_MS) });
      await world.pass(5 * MINUTE_MS, MINUTE_MS);
      expect(world.heard()).to.deep.equal([]);
      const params = { id: alert.id };
      expect((await world.call('delete', '/alerts/:id/snooze', { params })).body).to.include({ snoozedUntil: null });
      await world.run();
      expect(world.heard()).to.deep.equal(['raised']);
    });

    it('refuse what makes no sense, and name the field', async () => {
      const { web1, alert } = await told();
      const refused = async (act: string, body: object) => {
        const { code, errors } = await problemOf(world.act(alert.id, act, body));
        return `${code} ${errors.map(({ pointer }) => pointer).join()}`;
      };
      expect(await refused('snooze', { until: wall(0) })).to.equal('request-invalid #/until');
      expect(await refused('snooze', { until: wall(400 * 1440 * MINUTE_MS) })).to.equal('request-invalid #/until');
      expect(await refused('assign', { assignee: 'nobody' })).to.equal('request-invalid #/assignee');
      const elsewhere = Scope.subtrees([(await world.makePolicy(null)).id]);
      const call = { params: { id: alert.id }, scope: elsewhere };
      for (const [method, act, body] of [
        ['post', 'snooze', { until: wall(1000) }],
        ['post', 'comment', { comment: 'x' }],
        ['post', 'assign', { assignee: null }],
        ['delete', 'snooze', undefined],
        ['get', 'history', undefined],
      ] as const)
        expect((await problemOf(world.call(method, `/alerts/:id/${act}`, { ...call, body }))).code).to.equal(
          'alert-not-found',
        );
      await world.recover([web1]);
      expect(await refused('snooze', { until: wall(1000) })).to.equal('alert-already-closed ');
      expect(await refused('assign', { assignee: null })).to.equal('alert-already-closed ');
    });

    it('keep who did what and when', async () => {
      const { alert } = await told();
      await database.pool.query(
        `INSERT INTO users (id, name, role, password_hash, created_at, password_changed_at)
         VALUES ($1, 'rex', 'operator', '', '2026-11-21T12:00:00Z', '2026-11-21T12:00:00Z')`,
        [alert.id],
      );
      expect(await world.act(alert.id, 'assign', { assignee: 'rex' })).to.include({ assignee: 'rex' });
      expect((await world.alerts({ assignee: 'rex' })).map(({ id }) => id)).to.deep.equal([alert.id]);
      expect(await world.alerts({ assignee: 'ada' })).to.deep.equal([]);
      world.clock.advance(1000);
      expect(await world.act(alert.id, 'comment', { comment: 'the cable' })).to.include({ comment: 'the cable' });
      world.clock.advance(1000);
      const until = wall(5000);
      await world.act(alert.id, 'snooze', { until });
      world.clock.advance(1000);
      await world.act(alert.id, 'acknowledge');
      world.clock.advance(1000);
      await world.act(alert.id, 'assign', { assignee: null });
      const { items } = (
        await world.call<Page<AlertActReply>>('get', '/alerts/:id/history', { params: { id: alert.id } })
      ).body;
      expect(
        items.map(({ action, actorName, comment, until: to, assignee }) => [action, actorName, comment, to, assignee]),
      ).to.deep.equal([
        ['assigned', 'ada', null, null, null],
        ['acknowledged', 'ada', null, null, null],
        ['snoozed', 'ada', null, until, null],
        ['commented', 'ada', 'the cable', null, null],
        ['assigned', 'ada', null, null, 'rex'],
      ]);
      expect(items[0]?.at).to.equal(wall(0));
    });

    it('answer what changes nothing, and note nothing; only a comment is news when it says the same', async () => {
      const { alert } = await told();
      const notes = async () => ({
        audit: world.audit.entries.length,
        outbox: (await database.pool.query('SELECT id FROM alert_outbox')).rowCount,
      });
      const params = { id: alert.id };
      const unsnooze = async () => (await world.call<AlertReply>('delete', '/alerts/:id/snooze', { params })).body;
      const until = wall(MINUTE_MS);
      const seen = await world.act(alert.id, 'acknowledge', { comment: 'seen' });
      await world.act(alert.id, 'snooze', { until });
      const before = await notes();
      expect(await world.act(alert.id, 'acknowledge')).to.deep.equal({ ...seen, snoozedUntil: until });
      expect(await world.act(alert.id, 'acknowledge', { comment: 'seen' })).to.include({ comment: 'seen' });
      expect(await world.act(alert.id, 'snooze', { until })).to.include({ snoozedUntil: until });
      expect(await world.act(alert.id, 'assign', { assignee: null })).to.include({ assignee: null });
      expect(await notes()).to.deep.equal(before);
      expect(await unsnooze()).to.include({ snoozedUntil: null });
      const after = { audit: before.audit + 1, outbox: (before.outbox ?? 0) + 1 };
      expect(await notes()).to.deep.equal(after);
      expect(await unsnooze()).to.include({ snoozedUntil: null });
      expect(await notes()).to.deep.equal(after);
      world.clock.advance(1000);
      await world.act(alert.id, 'comment', { comment: 'seen' });
      const { items } = (await world.call<Page<AlertActReply>>('get', '/alerts/:id/history', { params })).body;
      expect(items.map(({ action, comment }) => [action, comment])[0]).to.deep.equal(['commented', 'seen']);
      expect(items).to.have.lengthOf(4);
    });
  });

  it('keep the last name of a computer whose record is removed, closed ones too', async () => {
    const { id } = await world.makeComputer();
    await world.fail([id]);
    await world.recover([id]);
    await world.fail([id]);
    await world.call('patch', '/computers/:id', { params: { id }, body: { name: 'renamed' }, ifMatch: 1 });
    await world.call('delete', '/computers/:id', { params: { id } });
    const alerts = await world.alerts({ computerId: id, q: 'RENAM' });
    expect(alerts.map(({ state, computerName }) => [state, computerName])).to.deep.equal([
      ['resolved', 'renamed'],
      ['resolved', 'renamed'],
    ]);
    const [told] = (await readToldAlerts(world.sql, [alerts[0]?.id ?? ''])).values();
    expect(told).to.include({ computerId: id, computerName: 'renamed' });
  });
});

async function expectFailure(work: Promise<unknown>): Promise<void> {
  const failure = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).to.be.instanceOf(Error);
}
