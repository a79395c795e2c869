import { expect } from 'chai';
import { toRfc3339 } from '../../../lib/clock.js';
import { Scope } from '../../../server/access/scope.js';
import { readDto } from '../../../server/admin-api/read-dto.js';
import type { Page } from '../../../server/admin-api/page.js';
import { ComputerEntity, ComputerRevisionEntity } from '../../../server/computers/index.js';
import {
  CreateMaintenanceWindowBody,
  type MaintenanceWindowDto,
  type SettingMaintenanceDto,
} from '../../../server/maintenance/maintenance-dto.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';
import { problemOf, type Call } from '../../support/domain-world.js';

const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;
const path = '/maintenance-windows';

describe('maintenance windows by API', () => {
  const database = useDatabase({
    entities: [PolicyEntity, PolicyRevisionEntity, ComputerEntity, ComputerRevisionEntity],
  });
  let world: ComputerWorld;
  let top: string;
  let low: string;
  let side: string;

  before(async () => {
    world = await startComputers(database);
    top = (await world.makePolicy(world.base.id)).id;
    low = (await world.makePolicy(top)).id;
    side = (await world.makePolicy(null)).id;
  });

  beforeEach(() => database.pool.query('DELETE FROM maintenance_windows'));

  const wall = (inMs: number) => toRfc3339(world.clock.wall() + inMs);
  const make = async (body: object, call: Call = {}) => {
    const given = { endsAt: wall(60 * MINUTE_MS), comment: 'patch day', ...body };
    return (await world.call<MaintenanceWindowDto>('post', path, { ...call, body: given })).body;
  };
  const list = async (query: object = {}, call: Call = {}) =>
    (
      await world.call<Page<MaintenanceWindowDto> & { setting?: SettingMaintenanceDto }>('get', path, {
        ...call,
        query,
      })
    ).body;
  const end = (id: string, call: Call = {}) => world.call('delete', `${path}/:id`, { ...call, params: { id } });
  const maintenanceOf = async (id: string) => (await world.read(id)).maintenance;

  it('cover a computer, a subtree or a label, and nothing else', async () => {
    const web1 = await world.makeComputer({ policyId: low, labels: { site: 'berlin' } });
    const db1 = await world.makeComputer({ policyId: side, labels: { site: 'paris' } });
    const covered = async (body: object) => {
      const { id } = await make(body);
      const present = [await maintenanceOf(web1.id), await maintenanceOf(db1.id)].map((shown) => shown !== null);
      await end(id);
      return present;
    };
    expect(await covered({ computerId: web1.id })).to.deep.equal([true, false]);
    expect(await covered({ policyId: top })).to.deep.equal([true, false]);
    expect(await covered({ policyId: side })).to.deep.equal([false, true]);
    expect(await covered({ label: 'site' })).to.deep.equal([true, true]);
    expect(await covered({ label: 'site=berlin' })).to.deep.equal([true, false]);
    expect(await covered({ label: 'site:paris' })).to.deep.equal([false, true]);
    expect(await covered({ label: 'site:berlin', policyId: side })).to.deep.equal([false, false]);
  });

  it('are shown as an overlay from their beginning to their end, and write nothing of the computer', async () => {
    const web1 = await world.makeComputer({ policyId: low });
    const before = await world.read(web1.id);
    const { id } = await make({ policyId: top, startsAt: wall(10 * MINUTE_MS), endsAt: wall(20 * MINUTE_MS) });
    expect(await maintenanceOf(web1.id)).to.equal(null);
    world.clock.advance(10 * MINUTE_MS);
    const expected = { until: wall(10 * MINUTE_MS), source: { kind: 'window', id, name: 'patch day' } };
    expect(await maintenanceOf(web1.id)).to.deep.equal(expected);
    const listed = (await world.list({ policyId: low })).items.find((item) => item.id === web1.id);
    expect(listed?.maintenance).to.deep.equal(expected);
    const { status, revision, settingsState, fingerprint } = await world.read(web1.id);
    expect({ status, revision, settingsState, fingerprint }).to.deep.equal({
      status: before.status,
      revision: before.revision,
      settingsState: before.settingsState,
      fingerprint: before.fingerprint,
    });
    world.clock.advance(10 * MINUTE_MS);
    expect(await maintenanceOf(web1.id)).to.equal(null);
    expect((await list()).items.map(({ state }) => state)).to.deep.equal(['over']);
  });

  it('run on into those of the setting', async () => {
    const web1 = await world.makeComputer({ policyId: low });
    // It is some minutes past noon.
    await world.patchSettings(web1.id, {
      maintenanceWindows: [{ cron: '0 * * * *', durationMinutes: 50, timeZone: 'UTC' }],
    });
    const source = { kind: 'computer', id: web1.id, name: web1.name };
    expect(await maintenanceOf(web1.id)).to.deep.equal({ until: '2026-11-21T12:50:00.000Z', source });
    await make({ computerId: web1.id, startsAt: '2026-11-21T12:50:00Z', endsAt: '2026-11-21T13:00:00Z' });
    expect(await maintenanceOf(web1.id)).to.deep.equal({ until: '2026-11-21T13:50:00.000Z', source });
    const { setting, items } = await list({ computerId: web1.id });
    expect(items).to.have.lengthOf(1);
    expect(setting?.source).to.deep.equal(source);
    expect(setting?.until).to.equal('2026-11-21T12:50:00.000Z');
    expect(setting?.next).to.have.lengthOf(10);
    expect(setting?.next[0]).to.deep.equal({
      startsAt: '2026-11-21T13:00:00.000Z',
      endsAt: '2026-11-21T13:50:00.000Z',
    });
    world.clock.advance(Date.parse('2026-11-21T12:55:00Z') - world.clock.wall());
    expect((await list({ computerId: web1.id })).setting?.until).to.equal(null);
  });

  it('tell the running window of a setting that is inherited', async () => {
    const daily = [{ cron: '0 0 * * *', durationMinutes: 1439, timeZone: 'UTC' }];
    const above = await world.makePolicy(low, { maintenanceWindows: daily });
    const web1 = await world.makeComputer({ policyId: (await world.makePolicy(above.id)).id });
    const { setting } = await list({ computerId: web1.id });
    const source = { kind: 'policy', id: above.id, name: above.name };
    const until = `${new Date(world.clock.wall()).toISOString().slice(0, 10)}T23:59:00.000Z`;
    expect({ source: setting?.source, until: setting?.until }).to.deep.equal({ source, until });
    expect(await maintenanceOf(web1.id)).to.deep.equal({ source, until });
    const free = await world.makeComputer({ policyId: side });
    expect((await list({ computerId: free.id })).setting).to.deep.include({ until: null, next: [] });
  });

  it('take a label by two spellings and answer one', async () => {
    for (const label of ['site:a=b', 'site=a=b']) expect((await make({ label })).label).to.equal('site=a=b');
    expect((await make({ label: 'site' })).label).to.equal('site');
  });

  it('that have begun are ended and stay, for reports; that have not are forgotten; that are over are left alone', async () => {
    const [active, upcoming] = [
      await make({ policyId: top }),
      await make({ policyId: top, startsAt: wall(MINUTE_MS) }),
    ];
    world.clock.advance(1000);
    const endedAt = wall(0);
    await end(active.id);
    await end(upcoming.id);
    world.clock.advance(1000);
    expect((await list()).items.map(({ id, endsAt, state }) => [id, endsAt, state])).to.deep.equal([
      [active.id, endedAt, 'over'],
    ]);
    expect((await problemOf(end(active.id))).code).to.equal('maintenance-window-not-found');
    expect((await problemOf(end(upcoming.id))).code).to.equal('maintenance-window-not-found');
    const audited = world.audit.entries.filter(({ subjectId }) => subjectId === active.id || subjectId === upcoming.id);
    expect(audited.map(({ action }) => action)).to.deep.equal([
      'maintenance-window.created',
      'maintenance-window.created',
      'maintenance-window.ended',
      'maintenance-window.deleted',
    ]);
    expect(audited[2]?.after).to.include({ endsAt: endedAt });
  });

  it('are listed by state, text and computer, page by page', async () => {
    const web1 = await world.makeComputer({ policyId: low, labels: { site: 'rome' } });
    const mine = await make({ computerId: web1.id, comment: 'mine' });
    const subtree = await make({ policyId: top, startsAt: wall(MINUTE_MS) });
    const labelled = await make({ label: 'site:rome', startsAt: wall(2 * MINUTE_MS) });
    await make({ label: 'site:oslo', startsAt: wall(3 * MINUTE_MS) });
    await make({ policyId: side, startsAt: wall(4 * MINUTE_MS) });
    const ids = async (query: object) => (await list(query)).items.map(({ id }) => id);
    expect(await ids({ computerId: web1.id })).to.deep.equal([labelled.id, subtree.id, mine.id]);
    expect(await ids({ state: 'active' })).to.deep.equal([mine.id]);
    expect(await ids({ state: 'over' })).to.deep.equal([]);
    expect(await ids({ state: 'upcoming' })).to.have.lengthOf(4);
    expect(await ids({ q: 'MIN' })).to.deep.equal([mine.id]);
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await list({ limit: 2, sort: 'startsAt', ...(cursor === undefined ? {} : { cursor }) });
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.next ?? undefined;
    } while (cursor !== undefined);
    expect(seen).to.have.lengthOf(5);
    expect(seen[0]).to.equal(mine.id);
    expect(new Set(seen).size).to.equal(5);
  });

  it('are within the scope of who makes, sees and ends them', async () => {
    const web1 = await world.makeComputer({ policyId: low, labels: { site: 'rome' } });
    await world.makeComputer({ policyId: side, labels: { site: 'oslo' } });
    const ours = { scope: Scope.subtrees([top]) };
    const theirs = { scope: Scope.subtrees([side]) };
    const codeOf = async (work: Promise<unknown>) => (await problemOf(work)).code;
    expect(await codeOf(make({ computerId: web1.id }, theirs))).to.equal('computer-not-found');
    expect(await codeOf(make({ policyId: low }, theirs))).to.equal('policy-not-found');
    expect(await codeOf(make({ policyId: '00000000-0000-4000-8000-000000000000' }))).to.equal('policy-not-found');
    expect((await problemOf(make({ label: 'site' }, ours))).errors.map(({ pointer }) => pointer)).to.deep.equal([
      '#/policyId',
    ]);
    const { id } = await make({ computerId: web1.id }, ours);
    await make({ policyId: low, label: 'site' }, ours);
    const everywhere = await make({ label: 'site' });
    expect((await list({}, ours)).items).to.have.lengthOf(3);
    expect((await list({}, theirs)).items.map((item) => item.id)).to.deep.equal([everywhere.id]);
    await make({ label: 'site=rome' });
    expect((await list({}, ours)).items).to.have.lengthOf(4);
    expect((await list({}, theirs)).items, 'of a label that none of them bears').to.have.lengthOf(1);
    expect(await codeOf(end(id, theirs))).to.equal('maintenance-window-not-found');
    expect(await codeOf(end(everywhere.id, ours))).to.equal('beyond-scope');
    expect(await codeOf(list({ computerId: web1.id }, theirs))).to.equal('computer-not-found');
    await end(id, ours);
  });

  it('name every field that is wrong', async () => {
    const web1 = await world.makeComputer({ policyId: low });
    const refused = async (body: object) => (await problemOf(make(body))).errors.map(({ pointer }) => pointer);
    expect(await refused({ endsAt: wall(0) })).to.deep.equal(['#/computerId', '#/policyId', '#/label', '#/endsAt']);
    expect(await refused({ computerId: web1.id, policyId: low, label: 'x' })).to.deep.equal(['#/policyId', '#/label']);
    expect(await refused({ policyId: low, startsAt: wall(60 * MINUTE_MS) })).to.deep.equal(['#/endsAt']);
    expect(await refused({ policyId: low, endsAt: wall(367 * DAY_MS) })).to.deep.equal(['#/endsAt']);
    const read = (body: object) => () => readDto(CreateMaintenanceWindowBody, body);
    const faults = (body: object) => {
      try {
        read(body)();
      } catch (error) {
        return (error as { facts: { errors: { pointer: string }[] } }).facts.errors
          .map(({ pointer }) => pointer)
          .sort();
      }
      return [];
    };
    expect(faults({})).to.deep.equal(['#/comment', '#/computerId', '#/endsAt', '#/label', '#/policyId']);
    expect(
      faults({
        computerId: 'x',
        policyId: 7,
        label: ':x',
        startsAt: 'now',
        endsAt: '2026-02-30T00:00:00Z',
        comment: '',
        more: 1,
      }),
    ).to.deep.equal(['#/comment', '#/computerId', '#/endsAt', '#/label', '#/more', '#/policyId', '#/startsAt']);
    for (const label of ['a b', '', 'a:\n', '\u0000', 'ä'.repeat(400), null])
      expect(faults({ label, endsAt: wall(1), comment: 'x' }), JSON.stringify(label)).to.deep.equal(['#/label']);
    expect(faults({ label: 'site:Sankt Pölten', endsAt: wall(1), comment: 'x' })).to.deep.equal([]);
  });
});
