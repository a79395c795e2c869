import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import { listAlerts } from '../../../server/alerts/alert-overview-query.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { useDatabase } from '../../support/database.js';
import { IncidentWorld } from '../../support/incident-world.js';
import type { IncidentJob } from '../../../server/incidents/index.js';

const SECOND = 1000;
const MINUTE = 60_000;

describe('mass outages', () => {
  const database = useDatabase();
  let world: IncidentWorld;
  let job: IncidentJob;
  beforeEach(async () => {
    world = new IncidentWorld(database);
    await world.open();
    job = world.incidents();
  });

  /** A second passes, and the job looks. */
  const tick = async (looking = job) => {
    await world.clock.advance(SECOND);
    await world.look(looking);
  };

  /** Three sites of 100, seen in full by the job. */
  const sites = async () => {
    const [a, b, c] = [
      await world.site({ count: 100, net: 1, labels: { site: 'berlin' } }),
      await world.site({ count: 100, net: 2, labels: { site: 'lyon' } }),
      await world.site({ count: 100, net: 3, labels: { site: 'oslo' } }),
    ];
    await world.look(job);
    return { a, b, c };
  };

  const cutOff = async (ids: readonly string[], looking = job) => {
    await world.late(ids);
    await tick(looking);
    await world.clock.advance(2 * MINUTE);
    await world.offline(ids);
    await tick(looking);
  };

  it('are one incident that holds the alerts of a site, shrinks as it returns and releases who does not', async () => {
    const { a, b } = await sites();
    await world.late([...a, ...b.slice(0, 2)]);
    await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 100/100 0']);

    await world.clock.advance(2 * MINUTE);
    await world.offline([...a, ...b.slice(0, 2)]);
    await tick();
    expect(await world.held()).to.deep.equal({ 'subnet/10.0.1.0/24': 100, none: 2 });
    const [incident] = await world.outages();
    expect(incident?.detail).to.deep.equal({
      factor: 'subnet',
      value: '10.0.1.0/24',
      of: 100,
      silent: 100,
      children: 100,
      peak: 100,
      since: '2026-11-21T12:00:00.000Z',
      sample: (await namesOf(a)).slice(0, 10),
    });

    await world.back(a.slice(0, 50));
    await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 50/100 50']);
    expect(await world.held()).to.deep.equal({ 'subnet/10.0.1.0/24': 50, none: 2 });
    expect(await world.releasedAlerts()).to.deep.equal([]);

    await world.back(a.slice(50, 76));
    await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 resolved 24/100 24']);
    expect(await world.held()).to.deep.equal({ none: 26 });
    expect(await world.releasedAlerts()).to.deep.equal(a.slice(76));
    await tick();
    expect(await world.outages()).to.have.length(1);
  });

  const namesOf = async (ids: readonly string[]): Promise<string[]> => {
    const { rows } = await database.pool.query('SELECT name FROM computers WHERE id = ANY($1) ORDER BY id', [ids]);
    return rows.map(({ name }) => name);
  };

  it('list the alerts they hold', async () => {
    const { a } = await sites();
    await cutOff(a);
    await world.back(a.slice(0, 10));
    await tick();
    const [incident] = await world.outages();
    const children = async (state?: 'raised') => {
      const query = { limit: 200, incidentId: incident?.id, ...(state && { state }) };
      const { items } = await listAlerts(sqlOfClient(database.pool), Scope.all, query);
      return items;
    };
    expect((await children()).map(({ computerId }) => computerId).sort()).to.deep.equal(a);
    expect(await children('raised')).to.have.length(90);
    expect(new Set((await children()).map(({ incidentId }) => incidentId))).to.deep.equal(new Set([incident?.id]));
  });

  it('are stamped with the instant at which their share was reached', async () => {
    const { a } = await sites();
    await world.late(a.slice(0, 54));
    await tick();
    expect(await world.outages()).to.deep.equal([]);
    const reachedAt = world.clock.fleet();
    await world.late(a.slice(54, 60));
    await tick();
    const { rows } = await database.pool.query(`SELECT raised_fleet_ms FROM alerts WHERE type = 'mass-outage'`);
    expect(rows.map((row) => Number(row.raised_fleet_ms))).to.deep.equal([reachedAt]);
  });

  it('are two incidents for two sites, and one when the whole fleet follows', async () => {
    const { a, b, c } = await sites();
    await cutOff(a);
    await cutOff(b);
    expect(await world.told()).to.deep.equal([
      'subnet/10.0.1.0/24 raised 100/100 100',
      'subnet/10.0.2.0/24 raised 100/100 100',
    ]);
    const [first] = await world.outages();
    await cutOff(c);
    expect(await world.told()).to.deep.equal(['fleet raised 300/300 300', 'subnet/10.0.2.0/24 resolved 100/100 100']);
    const [kept, merged] = await world.outages();
    expect(kept?.id).to.equal(first?.id);
    expect(merged?.detail.continuedBy).to.equal(first?.id);
    expect(await world.held()).to.deep.equal({ fleet: 300 });
    expect(await world.releasedAlerts()).to.deep.equal([]);
    await world.back([...a, ...b, ...c]);
    await tick();
    expect(await world.told()).to.deep.equal(['fleet resolved 0/300 0', 'subnet/10.0.2.0/24 resolved 100/100 100']);
  });

  it('are the loss of what falls silent together, not of what is away for long', async () => {
    const { a } = await sites();
    for (let minute = 0; minute < 90; minute += 1) {
      await world.late([a[minute]!]);
      await tick();
      await world.clock.advance(MINUTE);
    }
    expect(await world.outages()).to.deep.equal([]);
    // Seven of the ten that were left, with the four of the last five minutes.
    await world.late(a.slice(90, 97));
    await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 11/14 0']);
  });

  it('hold who said goodbye like everybody else: it explains a silence and excuses none', async () => {
    const { a } = await sites();
    await world.goodbye(a.slice(0, 80), 'shutdown');
    await cutOff(a.slice(0, 80));
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 80/100 80']);
    expect(await world.held()).to.deep.equal({ 'subnet/10.0.1.0/24': 80 });
  });

  it('wait for who restarts as announced until he is offline', async () => {
    const { a } = await sites();
    await world.goodbye(a.slice(0, 40), 'restart');
    await world.goodbye(a.slice(40, 80), 'update');
    await world.late(a.slice(0, 80));
    for (let second = 0; second < 70; second += 1) await tick();
    expect(await world.outages()).to.deep.equal([]);
    await world.offline(a.slice(0, 56));
    await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 56/100 56']);
  });

  it('do not count who is stopped or in maintenance', async () => {
    const { a, b, c } = await sites();
    for (const id of c) world.excused.add(id);
    await world.late(c);
    for (const stopped of [a, b]) await world.move(stopped, 'online', 'stopped');
    await tick();
    expect(await world.outages()).to.deep.equal([]);
    // Of those that remain, three of five are most.
    world.excused.clear();
    await world.move(c, 'late', 'online');
    const five = await world.site({ count: 5, net: 1 });
    await world.move(five, 'pending', 'online');
    await tick();
    await world.late(five.slice(0, 3));
    await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 3/5 0']);
  });

  it('name a subtree of policies by its name', async () => {
    const [above, below] = [await world.policy(), await world.policy()];
    world.names.set(above, { name: 'Sites', parentId: null });
    world.names.set(below, { name: 'Berlin', parentId: above });
    const ids = [
      ...(await world.site({ count: 5, net: 1, policyId: above })),
      ...(await world.site({ count: 5, net: 2, policyId: below })),
    ];
    await world.site({ count: 10, net: 3 });
    await world.look(job);
    await world.late(ids);
    await tick();
    const [incident] = await world.outages();
    expect(incident?.subject).to.equal(`policySubtree/${above}`);
    expect(incident?.detail.name).to.equal('Sites');
  });

  it('take in who follows within the window, and leave later losses alone', async () => {
    const { a } = await sites();
    await world.late(a.slice(0, 60));
    await tick();
    await world.clock.advance(4 * MINUTE);
    await world.late(a.slice(60, 70));
    await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 70/100 0']);
    await world.clock.advance(6 * MINUTE);
    await world.late(a.slice(70, 72));
    await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 70/98 0']);
  });

  it('hold an alert that is raised anew while they last', async () => {
    const { a } = await sites();
    await cutOff(a);
    await world.back([a[0]!]);
    await world.late([a[0]!]);
    await world.offline([a[0]!]);
    await tick();
    expect(await world.held()).to.deep.equal({ 'subnet/10.0.1.0/24': 100 });
  });

  it('forget computers that are deleted', async () => {
    const { a } = await sites();
    await cutOff(a);
    for (const table of ['computer_status', 'computer_live', 'computer_facts'])
      await database.pool.query(`DELETE FROM ${table} WHERE computer_id = ANY($1)`, [a.slice(0, 60)]);
    await database.pool.query('DELETE FROM computers WHERE id = ANY($1)', [a.slice(0, 60)]);
    for (let second = 0; second < 130; second += 1) await tick();
    expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 raised 40/40 40']);
  });

  describe('with more than one manager, and after a restart', () => {
    it('are looked for by one of them, and by the next when it is gone', async () => {
      const other = world.incidents('n2');
      const { a, b } = await sites();
      await world.late(a);
      await tick(other);
      expect(await world.outages()).to.deep.equal([]);
      await tick();
      expect(await world.outages()).to.have.length(1);

      await world.clock.advance(20 * SECOND);
      await tick(other);
      await world.late(b);
      await world.offline(a);
      await tick(other);
      expect(await world.told()).to.deep.equal([
        'subnet/10.0.1.0/24 raised 100/100 100',
        'subnet/10.0.2.0/24 raised 100/100 0',
      ]);
      await world.clock.advance(5 * SECOND);
      await world.look(job);
      expect(await world.outages()).to.have.length(2);
      expect(await world.held()).to.deep.equal({ 'subnet/10.0.1.0/24': 100 });
    });

    it('are found again and raised no second time', async () => {
      const { a } = await sites();
      await cutOff(a);
      const before = await world.outages();
      const next = world.incidents();
      await tick(next);
      expect(await world.outages()).to.deep.equal(before);
      await world.back(a.slice(0, 90));
      await tick(next);
      expect(await world.told()).to.deep.equal(['subnet/10.0.1.0/24 resolved 10/100 10']);
      expect(await world.releasedAlerts()).to.deep.equal(a.slice(90));
    });

    it('do not gather again what was released', async () => {
      const { a } = await sites();
      const rack = await world.site({ count: 10, net: 1, labels: { rack: '7' } });
      await tick(world.incidents());
      job = world.incidents();
      await cutOff([...a, ...rack]);
      await world.back(a);
      await tick();
      expect(await world.held()).to.deep.equal({ none: 10 });
      job = world.incidents();
      await tick();
      await tick();
      expect(await world.held()).to.deep.equal({ none: 10 });
      expect(await world.outages()).to.have.length(1);
    });

    it('are ended to the last child by the next life of a manager that stopped half-way', async () => {
      const { a } = await sites();
      await cutOff(a);
      await database.pool.query(
        `UPDATE alerts SET state = 'resolved', closed_fleet_ms = $1 WHERE type = 'mass-outage'`,
        [world.clock.fleet()],
      );
      await tick(world.incidents());
      expect(await world.held()).to.deep.equal({ none: 100 });
      expect(await world.releasedAlerts()).to.deep.equal(a);
    });
  });
});
