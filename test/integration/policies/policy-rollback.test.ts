import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import type { Page } from '../../../server/admin-api/page.js';
import type { PolicyDto, PolicyRevisionDto } from '../../../server/policies/policy-dto.js';
import type { SettingsView } from '../../../server/policies/policy-settings-service.js';
import { composeEntities } from '../../../server/compose-entities.js';
import { useDatabase } from '../../support/database.js';
import { problemOf } from '../../support/domain-world.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';

describe('rolling a policy back', () => {
  const database = useDatabase({ entities: composeEntities() });
  let world: ComputerWorld;

  before(async () => {
    world = await startComputers(database);
  });

  const settingsOf = async (id: string) =>
    (await world.call<SettingsView>('get', '/policies/:id/settings', { params: { id } })).body;
  const patch = async (id: string, body: object) => {
    const { revision } = await settingsOf(id);
    return world.call<SettingsView>('patch', '/policies/:id/settings', { params: { id }, body, ifMatch: revision });
  };
  const lock = async (id: string, key: string, mode: 'locked' | 'tightenOnly') => {
    const { revision } = await settingsOf(id);
    return world.call('put', '/policies/:id/locks/:key', { params: { id, key }, body: { mode }, ifMatch: revision });
  };
  const rollback = async (id: string, revision: number, extra: object = {}) => {
    const { revision: ifMatch } = await settingsOf(id);
    const path = '/policies/:id/rollback';
    return world.call<PolicyDto>('post', path, { params: { id }, body: { revision, ...extra }, ifMatch });
  };
  const revisionsOf = async (id: string) =>
    (await world.call<Page<PolicyRevisionDto>>('get', '/policies/:id/revisions', { params: { id } })).body.items;

  it('restores settings and locks as a new edit, never name and parent', async () => {
    const [parent, other] = [await world.makePolicy(world.base.id), await world.makePolicy(world.base.id)];
    const policy = await world.makePolicy(parent.id, { heartbeatIntervalSeconds: 30 });
    const params = { id: policy.id };
    await patch(policy.id, { heartbeatIntervalSeconds: 90, heartbeatGraceSeconds: 1 });
    await lock(policy.id, 'heartbeatGraceSeconds', 'locked');
    const body = { name: 'Moved since', parentId: other.id };
    await world.call('patch', '/policies/:id', { params, body, ifMatch: 3 });
    const back = await rollback(policy.id, 1);
    expect(back.revision).to.equal(5);
    expect(back.body).to.deep.include({
      name: 'Moved since',
      parentId: other.id,
      overrides: { heartbeatIntervalSeconds: 30 },
      locks: {},
    });
    const [newest] = await revisionsOf(policy.id);
    expect(newest).to.deep.include({ revision: 5, comment: 'Rolled back to revision 1' });
    expect(newest!.changes).to.deep.equal({
      settings: {
        heartbeatIntervalSeconds: { from: 90, to: 30 },
        heartbeatGraceSeconds: { from: 1, to: null },
      },
      locks: { heartbeatGraceSeconds: { from: 'locked', to: null } },
    });
    const again = await rollback(policy.id, 4, { comment: 'On second thought' });
    expect(again.body).to.deep.include({ locks: { heartbeatGraceSeconds: 'locked' } });
    expect((await revisionsOf(policy.id))[0]).to.deep.include({ revision: 6, comment: 'On second thought' });
    expect(world.audit.entries.at(-1)).to.deep.include({ action: 'policy.rolled-back', subjectId: policy.id });
  });

  it('stores nothing where nothing differs', async () => {
    const policy = await world.makePolicy(world.base.id, { heartbeatIntervalSeconds: 30 });
    const { counter } = world.cache.generation();
    expect((await rollback(policy.id, 1)).revision).to.equal(1);
    expect(world.cache.generation().counter).to.equal(counter);
  });

  it('is refused where a lock above would void what it restores', async () => {
    const parent = await world.makePolicy(world.base.id, { heartbeatIntervalSeconds: 60 });
    const policy = await world.makePolicy(parent.id, { heartbeatIntervalSeconds: 300 });
    await patch(policy.id, { heartbeatIntervalSeconds: null });
    await lock(parent.id, 'heartbeatIntervalSeconds', 'tightenOnly');
    const refused = await problemOf(rollback(policy.id, 1));
    expect(refused.code).to.equal('setting-locked');
    expect(refused.members['policy']).to.deep.equal({ id: parent.id, name: parent.name });
    expect((await settingsOf(policy.id)).revision).to.equal(2);
  });

  it('is refused when stale, for a revision that is not there, and outside the scope', async () => {
    const policy = await world.makePolicy(world.base.id);
    await patch(policy.id, { heartbeatIntervalSeconds: 30 });
    const call = (body: object, extra: object = {}) =>
      problemOf(
        world.call('post', '/policies/:id/rollback', { params: { id: policy.id }, body, ifMatch: 2, ...extra }),
      );
    expect((await call({ revision: 1 }, { ifMatch: 1 })).code).to.equal('revision-stale');
    expect((await call({ revision: 3 })).code).to.equal('revision-not-found');
    expect((await call({ revision: 1 }, { scope: Scope.subtrees([]) })).code).to.equal('policy-not-found');
    expect((await settingsOf(policy.id)).revision).to.equal(2);
  });
});
