import { expect } from 'chai';
import { toRfc3339 } from '../../../lib/clock.js';
import { Scope } from '../../../server/access/scope.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/index.js';
import type { AvailabilityItemDto, AvailabilityReply } from '../../../server/reports/availability-dto.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { problemOf, type Call } from '../../support/domain-world.js';
import { DAY, HOUR, makeOlder, MINUTE, writeHistory } from './report-history.js';

const PATH = '/reports/availability';

describe('the availability report', function () {
  this.timeout(60_000);
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;
  let now: number;
  let servers: string;
  let webs: string;
  const ids: Record<string, string> = {};

  const wall = (instant: number): string => toRfc3339(world.clock.toWall(instant));
  const last = (lengthMs: number) => ({ from: wall(now - lengthMs), to: wall(now) });
  const ask = async (query: object, more: Call = {}): Promise<AvailabilityReply> =>
    (await world.call<AvailabilityReply>('get', PATH, { ...more, query })).body;
  const csv = async (query: object): Promise<string[][]> => {
    const { stream } = await world.call('get', PATH, { query: { format: 'csv', ...query } });
    let text = '';
    for await (const piece of stream!) text += piece;
    expect(text.endsWith('\r\n')).to.equal(true);
    return text
      .slice(0, -2)
      .split('\r\n')
      .map((line) => line.split(','));
  };
  const of = (reply: AvailabilityReply, name: string): AvailabilityItemDto =>
    reply.items.find((item) => item.name === name)!;
  const named = ({ items }: AvailabilityReply) => items.map(({ name }) => name);

  before(async () => {
    world = await startComputers(database);
    now = world.clock.fleet();
    servers = (await world.makePolicy(world.base.id)).id;
    webs = (await world.makePolicy(servers)).id;
    const make = async (name: string, policyId: string, labels: object = {}) => {
      ids[name] = (await world.makeComputer({ name, policyId, labels })).id;
      await makeOlder(world, ids[name], now - 300 * DAY);
      return ids[name];
    };
    // Online for long: nothing of it is in the history that a short range looks at.
    await writeHistory(world, await make('steady', servers, { site: 'Bonn' }), [[now - 290 * DAY, 'online']]);
    // Offline for an hour of the last day, and late before it.
    await writeHistory(world, await make('shaky', webs, { site: 'Bonn' }), [
      [now - 290 * DAY, 'online'],
      [now - 10 * HOUR, 'late'],
      [now - 9 * HOUR, 'offline', 'unknown', now - 8.9 * HOUR],
      [now - 8 * HOUR, 'online'],
    ]);
    // Offline since before the day, which was noticed within it; stopped at last.
    await writeHistory(world, await make('gone', webs, { site: 'Ulm' }), [
      [now - 290 * DAY, 'online'],
      [now - 30 * HOUR, 'offline', 'unknown', now - 20 * HOUR],
      [now - 6 * HOUR, 'stopped'],
    ]);
    await make('never', webs);
    await makeOlder(world, ids['never']!, now - 12 * HOUR);
  });
  after(() => world.setSpans([]));

  it('tells the seconds of every status by computer, and the totals where all fit', async () => {
    const reply = await ask(last(DAY));
    expect(named(reply)).to.deep.equal(['gone', 'never', 'shaky', 'steady']);
    expect(reply).to.include({ ...last(DAY), coveredFrom: last(DAY).from, next: null });
    expect(of(reply, 'steady')).to.deep.include({
      id: ids['steady'],
      rangeSeconds: 86_400,
      onlineSeconds: 86_400,
      availabilityPercent: 100,
      outages: 0,
      mttrSeconds: null,
    });
    expect(of(reply, 'shaky')).to.include({
      onlineSeconds: 22 * 3600,
      lateSeconds: 3600,
      offlineSeconds: 3600,
      availabilityPercent: 95.8333,
      outages: 1,
      longestOutageSeconds: 3600,
      mttrSeconds: 3600,
    });
    expect(of(reply, 'gone')).to.include({
      offlineSeconds: 18 * 3600,
      stoppedSeconds: 6 * 3600,
      availabilityPercent: 0,
      outages: 1,
      mttrSeconds: null,
    });
    expect(of(reply, 'never')).to.include({
      notEnrolledSeconds: 12 * 3600,
      pendingSeconds: 12 * 3600,
      availabilityPercent: null,
    });
    expect(reply.totals).to.include({ computers: 4, rangeSeconds: 4 * 86_400, outages: 2, mttrSeconds: 3600 });
  });

  it('tells of a past range what was, whatever came later', async () => {
    const range = { from: wall(now - 9.5 * HOUR), to: wall(now - 8.5 * HOUR) };
    const reply = await ask(range);
    expect(of(reply, 'shaky')).to.include({ lateSeconds: 1800, offlineSeconds: 1800, outages: 1, mttrSeconds: null });
    expect(of(reply, 'gone')).to.include({ offlineSeconds: 3600 });
    const long = await ask({ from: wall(now - 200 * DAY), to: wall(now - 199 * DAY) });
    for (const name of ['steady', 'shaky', 'gone']) expect(of(long, name)).to.include({ onlineSeconds: 86_400 });
    expect(of(long, 'never')).to.include({ notEnrolledSeconds: 86_400 });
  });

  it('pages by computer with a cursor; totals are those of whole answers only', async () => {
    const first = await ask({ ...last(DAY), limit: 3 });
    expect(named(first)).to.deep.equal(['gone', 'never', 'shaky']);
    expect(first.totals).to.equal(null);
    const second = await ask({ ...last(DAY), limit: 3, cursor: first.next });
    expect(named(second)).to.deep.equal(['steady']);
    expect(second).to.include({ totals: null, next: null });
    expect(named(await ask({ ...last(DAY), limit: 2, sort: '-name' }))).to.deep.equal(['steady', 'shaky']);
  });

  it('sums by subtree, each policy with all below it', async () => {
    const reply = await ask({ ...last(DAY), groupBy: 'policy' });
    const sums = Object.fromEntries(
      reply.items.map(({ id, computers, onlineSeconds }) => [id, [computers, onlineSeconds]]),
    );
    expect(sums).to.deep.equal({
      [world.base.id]: [4, 46 * 3600],
      [servers]: [4, 46 * 3600],
      [webs]: [3, 22 * 3600],
    });
    expect(reply.totals).to.include({ computers: 4, onlineSeconds: 46 * 3600 });
    expect((await ask({ ...last(DAY), groupBy: 'policy', policyId: webs })).items.map(({ id }) => id)).to.deep.equal([
      webs,
    ]);
  });

  it('sums by the values of a label, those without it last', async () => {
    const reply = await ask({ ...last(DAY), groupBy: 'label', key: 'site' });
    expect(reply.items.map(({ name, id, computers }) => [name, id, computers])).to.deep.equal([
      ['Bonn', null, 2],
      ['Ulm', null, 1],
      [null, null, 1],
    ]);
    expect(of(reply, 'Bonn')).to.include({ outages: 1, availabilityPercent: 97.9166 });
  });

  it('is narrowed to a subtree, a label, a computer and the scope', async () => {
    expect(named(await ask({ ...last(DAY), policyId: webs, label: ['site'] }))).to.deep.equal(['gone', 'shaky']);
    expect(named(await ask({ ...last(DAY), label: ['site=Bonn'] }))).to.deep.equal(['shaky', 'steady']);
    expect(named(await ask({ ...last(DAY), computerId: ids['gone'] }))).to.deep.equal(['gone']);
    const scope = Scope.subtrees([webs]);
    expect(named(await ask(last(DAY), { scope }))).to.deep.equal(['gone', 'never', 'shaky']);
    const byPolicy = await ask({ ...last(DAY), groupBy: 'policy' }, { scope });
    expect(byPolicy.items.map(({ id, computers }) => [id, computers])).to.deep.equal([[webs, 3]]);
    for (const [query, code] of [
      [{ policyId: servers }, 'policy-not-found'],
      [{ computerId: ids['steady'] }, 'computer-not-found'],
    ] as const)
      expect((await problemOf(ask({ ...last(DAY), ...query }, { scope }))).code).to.equal(code);
  });

  it('never counts our own deafness against a computer', async () => {
    world.setSpans([{ from: now - 8.5 * HOUR, until: now - 7 * HOUR }]);
    const reply = await ask(last(DAY));
    world.setSpans([]);
    expect(of(reply, 'shaky')).to.include({
      onlineSeconds: 21 * 3600,
      offlineSeconds: 1800,
      deafSeconds: 5400,
      longestOutageSeconds: 1800,
    });
    expect(of(reply, 'never')).to.include({ deafSeconds: 5400, pendingSeconds: 10.5 * 3600 });
  });

  it('tells maintenance apart where it is to be excluded', async () => {
    // The test clock stands at noon: the outage of 08:59 to 10:00 before now lies from 03:00 to 04:00.
    const windows = [{ cron: '30 3 * * *', durationMinutes: 60, timeZone: 'Etc/UTC' }];
    await world.patchSettings(ids['shaky']!, { maintenanceWindows: windows });
    const [included, excluded] = [
      await ask({ ...last(DAY), computerId: ids['shaky'] }),
      await ask({ ...last(DAY), computerId: ids['shaky'], maintenance: 'exclude' }),
    ];
    expect(included.items[0]).to.include({ offlineSeconds: 3600, maintenanceSeconds: 3600, onlineSeconds: 22 * 3600 });
    expect(excluded.items[0]).to.include({
      offlineSeconds: 1800,
      maintenanceSeconds: 3600,
      onlineSeconds: 21.5 * 3600,
      longestOutageSeconds: 1800,
    });
    await world.patchSettings(ids['shaky']!, { maintenanceWindows: null });
  });

  it('knows windows that somebody asked for once, whoever they are aimed at', async () => {
    const order = (aim: { computer?: string; policy?: string; label?: string }, from: number, until: number) =>
      world.sql.query(
        `INSERT INTO maintenance_windows (id, computer_id, policy_id, label, starts_at, ends_at, comment, created_at, created_by)
         VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, '', $4, 'ada')`,
        [aim.computer ?? null, aim.policy ?? null, aim.label ?? null, wall(from), wall(until)],
      );
    await order({ computer: ids['shaky']! }, now - 9 * HOUR, now - 8.75 * HOUR);
    await order({ policy: servers }, now - 8.75 * HOUR, now - 8.5 * HOUR);
    await order({ label: 'site=Bonn' }, now - 8.25 * HOUR, now - 7 * HOUR);
    await order({ label: 'site=Ulm' }, now - 8.5 * HOUR, now - 8.25 * HOUR);
    await order({ policy: servers }, now - 50 * HOUR, now - 49 * HOUR);
    const reply = await ask({ ...last(DAY), maintenance: 'exclude' });
    expect(of(reply, 'shaky')).to.include({ offlineSeconds: 900, maintenanceSeconds: 6300 });
    expect(of(reply, 'never')).to.include({ maintenanceSeconds: 900 });
    await world.sql.query('DELETE FROM maintenance_windows');
  });

  it('is written as CSV whole, with cells that no spreadsheet runs', async () => {
    const evil = await world.makeComputer({ name: '=cmd|calc', policyId: webs });
    const [header, ...records] = await csv({ ...last(DAY), limit: 1 });
    expect(header!.slice(0, 5)).to.deep.equal(['coveredFrom', 'to', 'id', 'name', 'availabilityPercent']);
    expect(records.map((record) => record[3])).to.deep.equal(["'=cmd|calc", 'gone', 'never', 'shaky', 'steady']);
    expect(records.find((record) => record[3] === 'never')!.slice(2, 5)).to.deep.equal([ids['never'], 'never', '']);
    expect(new Set(records.map((record) => record.length))).to.deep.equal(new Set([header!.length]));
    await world.call('delete', '/computers/:id', { params: { id: evil.id } });
    const byLabel = await csv({ ...last(DAY), groupBy: 'label', key: 'site' });
    expect(byLabel.slice(1).map((record) => record.slice(2, 4))).to.deep.equal([
      ['', 'Bonn'],
      ['', 'Ulm'],
      ['', ''],
    ]);
  });

  it('begins no CSV before groups are summed up: what takes too long is a problem still', async () => {
    const firstPiece = async (query: object): Promise<string> => {
      const { stream } = await world.call('get', PATH, { query: { format: 'csv', ...last(DAY), ...query } });
      const pieces = stream![Symbol.asyncIterator]();
      const { value } = await pieces.next();
      await pieces.return?.();
      return value as string;
    };
    expect((await firstPiece({ groupBy: 'policy' })).split('\r\n')).to.have.length.above(3);
    const { monotonic } = world.clock;
    let turns = 0;
    Object.assign(world.clock, { monotonic: () => ++turns * 31_000 });
    try {
      for (const query of [{ groupBy: 'policy' }, { groupBy: 'label', key: 'site' }, { groupBy: 'policy' }])
        expect((await problemOf(firstPiece(query))).detail).to.include('not ready within 30 s');
    } finally {
      Object.assign(world.clock, { monotonic });
    }
    expect((await firstPiece({ groupBy: 'policy' })).split('\r\n')).to.have.length.above(3);
  });

  it('answers what is not kept any more with the instant from which on it counts', async () => {
    const { shaky = '' } = ids;
    const reply = await ask({ from: wall(now - 500 * DAY), to: wall(now - 399 * DAY), computerId: shaky });
    const kept = Date.parse(reply.coveredFrom);
    expect(reply.coveredFrom).to.match(/T00:00:00.000Z$/);
    expect(Date.parse(wall(now)) - kept).to.be.within(400 * DAY, 401 * DAY);
    expect(reply.items[0]!.rangeSeconds * 1000).to.equal(Date.parse(reply.to) - kept);
    const lost = await ask({ from: wall(now - 500 * DAY), to: wall(now - 450 * DAY), computerId: shaky });
    expect(lost.items[0]).to.include({ rangeSeconds: 0, availabilityPercent: null });
  });

  it('refuses a range that cannot be, and names every field', async () => {
    const errors = async (query: object) => (await problemOf(ask(query))).errors.map(({ pointer }) => pointer);
    expect(await errors({ from: wall(now - DAY), to: wall(now + MINUTE) })).to.deep.equal(['#/to']);
    expect(await errors({ from: wall(now), to: wall(now - DAY) })).to.include.members(['#/from', '#/to']);
    expect(await errors({ from: wall(now - 900 * DAY), to: wall(now), groupBy: 'label', sort: 'x' })).to.deep.equal([
      '#/from',
      '#/to',
      '#/key',
      '#/sort',
    ]);
    const refused = await problemOf(csv({ from: wall(now), to: wall(now - DAY) }));
    expect(refused.code).to.equal('request-invalid');
  });

  it('forgets nobody for a wall clock that was set back meanwhile', async () => {
    // From two hours ago on the clock showed a day less; what was noticed then stands in the partition of yesterday.
    await world.sql.query('INSERT INTO clock_offsets (fleet_ms, offset_ms) VALUES ($1, 0)', [now - 2 * HOUR]);
    const { toWall } = world.clock;
    Object.assign(world.clock, { toWall: (at: number) => (at >= now - 2 * HOUR ? at : at + DAY) });
    const { id } = await world.makeComputer({ name: 'back', policyId: webs });
    await makeOlder(world, id, now - 3 * DAY);
    await writeHistory(world, id, [
      [now - 2 * DAY, 'online'],
      [now - HOUR, 'offline'],
    ]);
    const reply = await ask({ from: wall(now - 27 * HOUR), computerId: id });
    expect(reply.items[0]).to.include({ offlineSeconds: 3600, outages: 1 });
    Object.assign(world.clock, { toWall });
    await world.sql.query('DELETE FROM clock_offsets');
  });
});
