import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import type { Page } from '../../../server/admin-api/page.js';
import type { PolicyDto, PolicyRevisionDto, PolicyTreeDto } from '../../../server/policies/policy-dto.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { policyRoutes } from '../../../server/policies/policy-routes.js';
import { sqlOfManager } from '../../../server/database/sql.js';
import { createPolicyService } from '../../../server/policies/policy-service.js';
import { createPolicySettingsService, type SettingsView } from '../../../server/policies/policy-settings-service.js';
import { useDatabase } from '../../support/database.js';
import { callerOf, problemOf, startForest, type ForestWorld } from '../../support/domain-world.js';

describe('policies', () => {
  const database = useDatabase({ entities: [PolicyEntity, PolicyRevisionEntity] });
  let world: ForestWorld;
  let call: ReturnType<typeof callerOf>;
  let base: PolicyDto;
  let names = 0;

  before(async () => {
    world = await startForest(database);
    const deps = { ...world, dependents: [] };
    call = callerOf(
      policyRoutes({
        sql: sqlOfManager(world.manager),
        policies: createPolicyService(deps),
        settings: createPolicySettingsService(deps),
      }),
    );
    base = (await call<Page<PolicyDto>>('get', '/policies')).body.items[0]!;
  });

  const make = async (parentId: string | null, settings: object = {}, name = `policy ${(names += 1)}`) =>
    (await call<PolicyDto>('post', '/policies', { body: { name, parentId, settings } })).body;
  const settingsOf = async (id: string) =>
    (await call<SettingsView>('get', '/policies/:id/settings', { params: { id } })).body;
  const patch = async (id: string, body: object) => {
    const { revision } = await settingsOf(id);
    return call<SettingsView>('patch', '/policies/:id/settings', { params: { id }, body, ifMatch: revision });
  };
  const lock = async (id: string, key: string, mode: string) => {
    const { revision } = await settingsOf(id);
    return call<SettingsView>('put', '/policies/:id/locks/:key', {
      params: { id, key },
      body: { mode },
      ifMatch: revision,
    });
  };

  it('begins with the built-in Base Policy that holds every default as its own value', async () => {
    const { settings, revision } = await settingsOf(base.id);
    expect(base).to.include({ name: 'Base Policy', builtIn: true, parentId: null, revision: 1 });
    expect(revision).to.equal(1);
    expect(settings.heartbeatIntervalSeconds).to.deep.include({ value: 60, inherited: false });
    expect(settings.heartbeatIntervalSeconds.source).to.deep.equal({
      kind: 'policy',
      id: base.id,
      name: 'Base Policy',
    });
  });

  it("hands a parent's edit down with its provenance, and null returns to it", async () => {
    const parent = await make(base.id);
    const child = await make(parent.id);
    await patch(parent.id, { heartbeatIntervalSeconds: 600 });
    const inherited = (await settingsOf(child.id)).settings.heartbeatIntervalSeconds;
    expect(inherited).to.deep.include({ value: 600, inherited: true });
    expect(inherited.source).to.deep.equal({ kind: 'policy', id: parent.id, name: parent.name });
    expect(inherited.shadows.map(({ value }) => value)).to.deep.equal([60, 60]);
    const own = await patch(child.id, { heartbeatIntervalSeconds: 30 });
    expect(own.body.settings.heartbeatIntervalSeconds).to.deep.include({ value: 30, inherited: false });
    const back = await patch(child.id, { heartbeatIntervalSeconds: null });
    expect(back.body.settings.heartbeatIntervalSeconds).to.deep.include({ value: 600, inherited: true });
    expect(back.revision).to.equal(3);
  });

  it('falls back to the catalogue in a root of its own', async () => {
    await patch(base.id, { heartbeatGraceSeconds: 9 });
    const root = await make(null);
    const { settings } = await settingsOf(root.id);
    expect(settings.heartbeatGraceSeconds).to.deep.include({ value: 5, inherited: true, source: { kind: 'default' } });
    await patch(base.id, { heartbeatGraceSeconds: 5 });
  });

  it('moves the fingerprint with what the agent acts on, and leaves it with what only the manager does', async () => {
    const policy = await make(base.id);
    const before = (await settingsOf(policy.id)).fingerprint;
    expect((await patch(policy.id, { heartbeatsMissedAllowed: 7 })).body.fingerprint).to.equal(before);
    expect((await patch(policy.id, { heartbeatIntervalSeconds: 61 })).body.fingerprint).to.not.equal(before);
  });

  it('refuses what a lock above voids, and names the locking policy', async () => {
    const parent = await make(base.id, { heartbeatIntervalSeconds: 120 });
    const child = await make(parent.id, { heartbeatIntervalSeconds: 60 });
    const other = await make(parent.id);
    await lock(parent.id, 'heartbeatIntervalSeconds', 'locked');
    const refused = await problemOf(patch(other.id, { heartbeatIntervalSeconds: 30 }));
    expect(refused.code).to.equal('setting-locked');
    expect(refused.members['policy']).to.deep.equal({ id: parent.id, name: parent.name });
    const voided = (await settingsOf(child.id)).settings.heartbeatIntervalSeconds;
    expect(voided).to.deep.include({ value: 120, inherited: true });
    expect(voided.void).to.deep.equal([
      {
        kind: 'policy',
        id: child.id,
        name: child.name,
        value: 60,
        reason: 'locked',
        by: { id: parent.id, name: parent.name },
      },
    ]);
    expect((await patch(child.id, { heartbeatGraceSeconds: 1 })).revision).to.equal(2);
    const { revision } = await settingsOf(parent.id);
    const params = { id: parent.id, key: 'heartbeatIntervalSeconds' };
    await call('delete', '/policies/:id/locks/:key', { params, ifMatch: revision });
    expect((await settingsOf(child.id)).settings.heartbeatIntervalSeconds).to.deep.include({ value: 60, lock: null });
  });

  it('lets a tightenOnly lock pass what is stricter', async () => {
    const parent = await make(base.id, { heartbeatIntervalSeconds: 120 });
    const child = await make(parent.id);
    await lock(parent.id, 'heartbeatIntervalSeconds', 'tightenOnly');
    expect((await problemOf(patch(child.id, { heartbeatIntervalSeconds: 121 }))).code).to.equal('setting-locked');
    expect((await patch(child.id, { heartbeatIntervalSeconds: 60 })).revision).to.equal(2);
  });

  const refusals: readonly [string, object, string, string][] = [
    [
      'an unknown key, naming the nearest',
      { heartbeatIntervalSecond: 1 },
      'request-invalid',
      'heartbeatIntervalSeconds',
    ],
    [
      'a value below the range, naming both bounds',
      { heartbeatIntervalSeconds: 1 },
      'request-invalid',
      'from 5 to 86400',
    ],
    ['a wrong type', { heartbeatIntervalSeconds: '60' }, 'request-invalid', 'integer'],
  ];
  for (const [name, body, code, says] of refusals)
    it(`refuses ${name}`, async () => {
      const policy = await make(base.id);
      const refused = await problemOf(patch(policy.id, body));
      expect(refused.code).to.equal(code);
      expect(refused.errors[0]!.detail).to.contain(says);
      expect((await settingsOf(policy.id)).revision).to.equal(1);
    });

  it('refuses a lock without an order and a key that is none', async () => {
    const policy = await make(base.id);
    expect((await problemOf(lock(policy.id, 'managerUrls', 'tightenOnly'))).code).to.equal('request-invalid');
    expect((await problemOf(lock(policy.id, 'managerUrl', 'locked'))).code).to.equal('setting-not-found');
  });

  it('refuses a stale If-Match everywhere and stores nothing', async () => {
    const policy = await make(base.id);
    await patch(policy.id, { heartbeatGraceSeconds: 1 });
    const params = { id: policy.id, key: 'heartbeatGraceSeconds' };
    const stale = [
      call('patch', '/policies/:id', { params, body: { name: 'stale' }, ifMatch: 1 }),
      call('patch', '/policies/:id/settings', { params, body: { heartbeatGraceSeconds: 2 }, ifMatch: 1 }),
      call('put', '/policies/:id/locks/:key', { params, body: { mode: 'locked' }, ifMatch: 1 }),
      call('delete', '/policies/:id/locks/:key', { params, ifMatch: 1 }),
    ];
    for (const refused of await Promise.all(stale.map(problemOf))) expect(refused.code).to.equal('revision-stale');
    expect((await settingsOf(policy.id)).settings.heartbeatGraceSeconds).to.deep.include({ value: 1, lock: null });
  });

  it('advances the generation once per edit, and not for one that changes nothing', async () => {
    const policy = await make(base.id);
    const before = world.cache.generation().counter;
    await patch(policy.id, { heartbeatGraceSeconds: 1 });
    await patch(policy.id, { heartbeatGraceSeconds: 1 });
    await problemOf(patch(policy.id, { heartbeatGraceSeconds: 1000 }));
    expect(world.cache.generation().counter).to.equal(before + 1);
  });

  it('keeps names unique among siblings only', async () => {
    const parent = await make(base.id);
    await make(parent.id, {}, 'Same');
    expect((await problemOf(make(parent.id, {}, 'Same'))).code).to.equal('name-taken');
    const elsewhere = await make(base.id, {}, `${parent.name} Same`);
    const params = { id: elsewhere.id };
    const body = { name: 'Same', parentId: parent.id };
    expect((await problemOf(call('patch', '/policies/:id', { params, body, ifMatch: 1 }))).code).to.equal('name-taken');
    const root = await make(null, {}, 'Lonely root');
    expect((await problemOf(make(null, {}, 'Lonely root'))).code).to.equal('name-taken');
    expect(root.parentId).to.equal(null);
  });

  it('refuses cycles, depth beyond 32 and a parent that is not there', async () => {
    const top = await make(base.id);
    const low = await make(top.id);
    const move = (id: string, parentId: string) =>
      problemOf(call('patch', '/policies/:id', { params: { id }, body: { parentId }, ifMatch: 1 }));
    expect((await move(top.id, low.id)).code).to.equal('policy-cycle');
    expect((await move(top.id, top.id)).code).to.equal('policy-cycle');
    expect((await move(top.id, world.random.uuid())).code).to.equal('policy-not-found');
    let deepest = await make(null);
    for (let level = 2; level <= 32; level += 1) deepest = await make(deepest.id);
    expect((await problemOf(make(deepest.id))).code).to.equal('policy-too-deep');
    expect((await move(top.id, deepest.id)).code).to.equal('policy-too-deep');
  });

  it('cannot be made a cycle by two moves at the same time', async () => {
    const [a, b] = [await make(base.id), await make(base.id)];
    const move = (id: string, parentId: string) =>
      call('patch', '/policies/:id', { params: { id }, body: { parentId }, ifMatch: 1 }).then(
        () => 'moved',
        (error: { code: string }) => error.code,
      );
    const outcomes = await Promise.all([move(a.id, b.id), move(b.id, a.id)]);
    expect(outcomes.toSorted()).to.deep.equal(['moved', 'policy-cycle']);
  });

  it('keeps the Base Policy where it is', async () => {
    const other = await make(null);
    const { revision } = await settingsOf(base.id);
    const params = { id: base.id };
    const move = call('patch', '/policies/:id', { params, body: { parentId: other.id }, ifMatch: revision });
    expect((await problemOf(move)).code).to.equal('policy-built-in');
    expect((await problemOf(call('delete', '/policies/:id', { params }))).code).to.equal('policy-built-in');
  });

  it('deletes a policy only when nothing is below it, or moves that elsewhere', async () => {
    const [parent, target] = [await make(base.id), await make(base.id)];
    const child = await make(parent.id);
    const params = { id: parent.id };
    const refused = await problemOf(call('delete', '/policies/:id', { params }));
    expect(refused.code).to.equal('in-use');
    expect(refused.members['children']).to.deep.equal([{ id: child.id, name: child.name }]);
    const below = call('delete', '/policies/:id', { params, query: { reassignTo: child.id } });
    expect((await problemOf(below)).code).to.equal('policy-cycle');
    await call('delete', '/policies/:id', { params, query: { reassignTo: target.id } });
    const moved = (await call<PolicyDto>('get', '/policies/:id', { params: { id: child.id } })).body;
    expect(moved).to.include({ parentId: target.id, revision: 2 });
    expect((await problemOf(call('get', '/policies/:id', { params }))).code).to.equal('policy-not-found');
  });

  it('tells who changed what in every revision', async () => {
    const policy = await make(base.id, { heartbeatGraceSeconds: 3 });
    await patch(policy.id, { heartbeatGraceSeconds: null, heartbeatIntervalSeconds: 30 });
    await lock(policy.id, 'heartbeatIntervalSeconds', 'locked');
    const params = { id: policy.id };
    const all = (await call<Page<PolicyRevisionDto>>('get', '/policies/:id/revisions', { params })).body.items;
    expect(all.map(({ revision }) => revision)).to.deep.equal([3, 2, 1]);
    expect(all[0]!.changes).to.deep.equal({
      settings: {},
      locks: { heartbeatIntervalSeconds: { from: null, to: 'locked' } },
    });
    expect(all[1]!.changes).to.deep.include({
      settings: {
        heartbeatGraceSeconds: { from: 3, to: null },
        heartbeatIntervalSeconds: { from: null, to: 30 },
      },
    });
    expect(all[1]!.actor.name).to.equal('ada');
    const query = { limit: 2 };
    const first = (await call<Page<PolicyRevisionDto>>('get', '/policies/:id/revisions', { params, query })).body;
    const rest = await call<Page<PolicyRevisionDto>>('get', '/policies/:id/revisions', {
      params,
      query: { limit: 2, cursor: first.next },
    });
    expect(rest.body.items.map(({ revision }) => revision)).to.deep.equal([1]);
  });

  it('writes an audit row with before and after for every edit', async () => {
    const policy = await make(base.id);
    world.audit.entries.length = 0;
    await patch(policy.id, { heartbeatIntervalSeconds: 45 });
    const [entry] = world.audit.entries;
    expect(entry).to.deep.include({ action: 'policy.settings-changed', subjectId: policy.id });
    expect(entry!.before).to.deep.include({ settings: {}, revision: 1 });
    expect(entry!.after).to.deep.include({ settings: { heartbeatIntervalSeconds: 45 }, revision: 2 });
  });

  it('marks exactly the policies whose verdict rules an edit changes', async () => {
    const parent = await make(base.id);
    const heir = await make(parent.id);
    const own = await make(parent.id, { heartbeatsMissedAllowed: 5 });
    world.clock.advance(60_000);
    const at = world.clock.fleet();
    await patch(parent.id, { heartbeatIntervalSeconds: 30 });
    const sinceOf = (id: string) => world.cache.policies().get(id)!.rulesSince;
    expect([parent, heir, own].map(({ id }) => sinceOf(id) < at)).to.deep.equal([true, true, true]);
    await patch(parent.id, { heartbeatsMissedAllowed: 3 });
    expect([parent, heir, own].map(({ id }) => sinceOf(id) === at)).to.deep.equal([true, true, false]);
    world.clock.advance(1000);
    await lock(parent.id, 'heartbeatsMissedAllowed', 'locked');
    expect(sinceOf(own.id)).to.equal(at + 1000);
  });

  it('shows nothing outside the scope', async () => {
    const [mine, other] = [await make(base.id), await make(base.id)];
    const below = await make(mine.id);
    const scope = Scope.subtrees([mine.id]);
    const items = (await call<Page<PolicyDto>>('get', '/policies', { scope })).body.items;
    expect(items.map(({ id }) => id).toSorted()).to.deep.equal([mine.id, below.id].toSorted());
    const tree = (await call<Page<PolicyTreeDto>>('get', '/policies/tree', { scope })).body.items;
    expect(tree.map(({ id, children }) => [id, children.length])).to.deep.equal([[mine.id, 1]]);
    const params = { id: other.id };
    const refused = [
      call('get', '/policies/:id', { params, scope }),
      call('get', '/policies/:id/settings', { params, scope }),
      call('get', '/policies/:id/revisions', { params, scope }),
      call('patch', '/policies/:id', { params, scope, body: { name: 'x' }, ifMatch: 1 }),
      call('patch', '/policies/:id/settings', { params, scope, body: {}, ifMatch: 1 }),
      call('delete', '/policies/:id', { params, scope }),
      call('post', '/policies', { scope, body: { name: 'x', parentId: other.id } }),
    ];
    for (const { code } of await Promise.all(refused.map(problemOf))) expect(code).to.equal('policy-not-found');
    // The place beside all policies is no secret, and not theirs.
    const roots = [
      call('post', '/policies', { scope, body: { name: 'x', parentId: null } }),
      call('patch', '/policies/:id', { params: { id: below.id }, scope, body: { parentId: null }, ifMatch: 1 }),
    ];
    for (const { code } of await Promise.all(roots.map(problemOf))) expect(code).to.equal('beyond-scope');
  });

  it('pages the list by name both ways', async () => {
    const parent = await make(base.id, {}, 'paged');
    for (const name of ['paged c', 'paged a', 'paged b']) await make(parent.id, {}, name);
    for (const [sort, expected] of [
      ['name', ['paged', 'paged a', 'paged b', 'paged c']],
      ['-name', ['paged c', 'paged b', 'paged a', 'paged']],
    ] as const) {
      const seen: string[] = [];
      let cursor: string | null | undefined;
      do {
        const query = { limit: 3, sort, q: 'PAGED', ...(cursor ? { cursor } : {}) };
        const { items, next } = (await call<Page<PolicyDto>>('get', '/policies', { query })).body;
        seen.push(...items.map(({ name }) => name));
        cursor = next;
      } while (cursor);
      expect(seen).to.deep.equal(expected);
    }
  });
});
