import { expect } from 'chai';
import pg from 'pg';
import { createLog } from '../../../lib/log.js';
import { createSystemClock } from '../../../lib/clock.js';
import { Scope } from '../../../server/access/scope.js';
import { ensureBasePolicy } from '../../../server/policies/base-policy.js';
import { createSettingsCache } from '../../../server/policies/cached-settings.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { createPolicyService } from '../../../server/policies/policy-service.js';
import { createPolicySettingsService } from '../../../server/policies/policy-settings-service.js';
import { createSettingsWatch } from '../../../server/policies/settings-watch.js';
import { useDatabase } from '../../support/database.js';
import { ADA, startForest, type ForestWorld } from '../../support/domain-world.js';
import { eventually } from '../../support/poll.js';

const CALLER = { actor: ADA, scope: Scope.all };

describe('the settings cache', () => {
  const database = useDatabase({ entities: [PolicyEntity, PolicyRevisionEntity] });
  let world: ForestWorld;
  let edit: (id: string, patch: object) => Promise<unknown>;
  let make: (name: string) => Promise<string>;

  before(async () => {
    world = await startForest(database);
    const deps = { ...world, dependents: [] };
    const settings = createPolicySettingsService(deps);
    const policies = createPolicyService(deps);
    edit = (id, patch) => settings.edit(CALLER, id, { patch, ifMatch: undefined, comment: '' });
    make = async (name) => {
      const policy = { name, parentId: null, description: '', settings: {}, comment: '' };
      return (await policies.create(CALLER, policy)).id;
    };
  });

  const agentOf = (policyId: string, overrides: string | null = null) =>
    ({ kind: 'agent', policyId, overrides }) as const;

  it('takes up the edits of another node when it is asked to be as new', async () => {
    const other = createSettingsCache({ sql: world.sql });
    const id = await make('ensured');
    await other.ensure(world.cache.generation());
    let changes = 0;
    other.onChange(() => (changes += 1));
    expect(other.settingsOf(agentOf(id)).intervalMs).to.equal(60_000);
    await edit(id, { heartbeatIntervalSeconds: 77 });
    expect(other.settingsOf(agentOf(id)).intervalMs).to.equal(60_000);
    await Promise.all([1, 2, 3].map(() => other.ensure(world.cache.generation())));
    expect(other.settingsOf(agentOf(id)).intervalMs).to.equal(77_000);
    expect(changes).to.equal(1);
    await other.ensure(world.cache.generation());
    expect(changes).to.equal(1);
  });

  it('lays overrides on top by their text, and forces the direction of an appliance', async () => {
    const id = await make('subjects');
    await edit(id, { communicationDirection: 'agentInitiated' });
    const { cache } = world;
    const own = cache.settingsOf(
      agentOf(id, '{"heartbeatIntervalSeconds": 10, "heartbeatsMissedAllowed": "unlimited"}'),
    );
    expect(own).to.deep.include({ intervalMs: 10_000 });
    expect(own.verdictRules.missedAllowed).to.equal('unlimited');
    const appliance = cache.settingsOf({ kind: 'appliance', policyId: id, overrides: null });
    expect(JSON.parse(appliance.json)).to.include({ communicationDirection: 'bidirectional' });
    expect(JSON.parse(cache.settingsOf(agentOf(id)).json)).to.include({ communicationDirection: 'agentInitiated' });
    expect(cache.settingsOf(agentOf(id))).to.equal(cache.settingsOf(agentOf(id)));
  });

  it('is told by a notification, and by the poll when the connection that listens is lost', async () => {
    const cache = createSettingsCache({ sql: world.sql });
    const clients: pg.Client[] = [];
    const watch = createSettingsWatch({
      cache,
      clock: createSystemClock(),
      log: createLog({ name: 'test', level: 'silent' }),
      connect: async () => {
        const client = new pg.Client(database.appConnection);
        clients.push(client);
        await client.connect();
        return client;
      },
    });
    await watch.start();
    try {
      const id = await make('watched');
      await edit(id, { heartbeatIntervalSeconds: 20 });
      await eventually(
        'the edit',
        () => cache.policies().has(id) && cache.settingsOf(agentOf(id)).intervalMs === 20_000,
      );
      await world.sql.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE query LIKE 'LISTEN %' AND datname = current_database()`,
      );
      await edit(id, { heartbeatIntervalSeconds: 21 });
      await eventually('the later edit', () => cache.settingsOf(agentOf(id)).intervalMs === 21_000);
      await eventually('a second connection', () => clients.length > 1);
    } finally {
      await watch.stop();
    }
  });

  it('goes on in a new epoch after a restore', async () => {
    const before = world.cache.generation();
    const restoreEpoch = world.random.uuid();
    await ensureBasePolicy({ ...world, restoreEpoch });
    await world.cache.refresh();
    expect(world.cache.generation()).to.deep.equal({ epoch: restoreEpoch, counter: before.counter });
  });
});
