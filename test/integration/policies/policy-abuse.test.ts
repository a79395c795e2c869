import { expect } from 'chai';
import type { Page } from '../../../server/admin-api/page.js';
import { createAdminServer, type AdminServer } from '../../../server/admin-api/admin-server.js';
import { composeAdminApi } from '../../../server/admin-api/compose-admin-api.js';
import { composeEntities } from '../../../server/compose-entities.js';
import type { Preview } from '../../../server/previews/preview.js';
import type { SettingsView } from '../../../server/policies/policy-settings-service.js';
import { createPasswordHasher } from '../../../server/users/index.js';
import { createLog } from '../../../lib/log.js';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { createApiClient, type ApiAnswer, type ApiClient } from '../../support/api-client.js';
import { startComputers, type ComputerWorld } from '../../support/computer-world.js';
import { useDatabase } from '../../support/database.js';

const PASSWORD = 'correct horse battery';
const CROWD = 10_000;

interface Failure {
  readonly type: string;
  readonly policy?: { readonly id: string; readonly name: string };
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}
type Change = readonly [method: string, path: string, body?: unknown, revision?: number];
interface Named {
  readonly id: string;
  readonly name: string;
}

describe('policies over HTTP', function () {
  this.timeout(120_000);
  const database = useDatabase({ entities: composeEntities() });
  const dataDir = mkdtempSync(join(tmpdir(), 'wardbeat-test-'));
  let world: ComputerWorld;
  let server: AdminServer;
  let api: ApiClient;
  let names = 0;
  /** Statements since it was last set to 0. */
  let statements = 0;

  before(async () => {
    world = await startComputers(database);
    countStatements();
    const log = createLog({ name: 'test', level: 'silent' });
    const { app, firstAdministrator } = composeAdminApi({
      ...world,
      log,
      dataDir,
      accessKey: world.random.bytes(32),
      passwords: createPasswordHasher({ random: world.random, log2N: 10 }),
      secure: false,
      adminOrigin: undefined,
      version: '0.0.0',
      checks: [],
      metrics: new Registry(),
    });
    await firstAdministrator.ensure({ password: PASSWORD });
    server = createAdminServer({ host: '127.0.0.1', port: 0, tls: null, app, clock: world.clock, log });
    await server.start();
    api = createApiClient(server.url());
    await api.signIn('admin', PASSWORD);
  });

  after(async () => {
    await server.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  function countStatements(): void {
    const { pool } = database;
    const query = pool.query.bind(pool) as (...all: unknown[]) => unknown;
    pool.query = ((...all: unknown[]) => {
      statements += 1;
      return query(...all);
    }) as typeof pool.query;
    const { createQueryRunner } = database.dataSource;
    database.dataSource.createQueryRunner = (...all) => {
      const runner = createQueryRunner.apply(database.dataSource, all);
      const run = runner.query.bind(runner) as (...given: unknown[]) => Promise<never>;
      runner.query = ((...given: unknown[]) => {
        statements += 1;
        return run(...given);
      }) as typeof runner.query;
      return runner;
    };
  }

  const make = (parentId: string | null, settings: object = {}) =>
    api.post<Named>('/policies', { name: `policy ${(names += 1)}`, parentId, settings });
  const settingsOf = (path: string) => api.get<SettingsView>(`${path}/settings`);
  const change = async (...[method, path, body, revision]: Change) => {
    const [, owner = ''] = /^(\/(?:policies|computers)\/[^/?]+)/.exec(path) ?? [];
    const etag = revision ?? (await settingsOf(owner)).revision;
    return api.request<Failure>(method, path, {
      ...(body === undefined ? {} : { body }),
      headers: { 'if-match': `"${etag}"` },
    });
  };
  const codeOf = ({ status, body }: ApiAnswer<Failure>) => [status, body.type.split('/').at(-1)];

  it('voids existing overrides visibly where a lock is added above, and gives them back without it', async () => {
    const parent = await make(world.base.id, { heartbeatIntervalSeconds: 60 });
    const strict = await make(parent.id, { heartbeatIntervalSeconds: 30 });
    const lax = await make(parent.id, { heartbeatIntervalSeconds: 300 });
    const computer = await world.makeComputer({ policyId: strict.id });
    await change('PATCH', `/computers/${computer.id}/settings`, { heartbeatIntervalSeconds: 90 });
    const lock = `/policies/${parent.id}/locks/heartbeatIntervalSeconds`;
    expect((await change('PUT', lock, { mode: 'tightenOnly' })).status).to.equal(200);
    const by = { id: parent.id, name: parent.name };
    expect((await settingsOf(`/policies/${strict.id}`)).settings.heartbeatIntervalSeconds).to.deep.include({
      value: 30,
      void: [],
      lock: { mode: 'tightenOnly', policy: by },
    });
    expect((await settingsOf(`/policies/${lax.id}`)).settings.heartbeatIntervalSeconds).to.deep.include({
      value: 60,
      inherited: true,
      void: [{ kind: 'policy', ...lax, name: lax.name, value: 300, reason: 'tightenOnly', by }].map(
        ({ kind, id, name, value, reason }) => ({ kind, id, name, value, reason, by }),
      ),
    });
    const own = (await settingsOf(`/computers/${computer.id}`)).settings.heartbeatIntervalSeconds;
    expect(own).to.deep.include({ value: 30, inherited: true });
    expect(own.void.map(({ kind, value, reason }) => [kind, value, reason])).to.deep.equal([
      ['computer', 90, 'tightenOnly'],
    ]);
    const refused = await change('PATCH', `/policies/${lax.id}/settings`, { heartbeatIntervalSeconds: 61 });
    expect(codeOf(refused)).to.deep.equal([409, 'setting-locked']);
    expect(refused.body.policy).to.deep.equal(by);
    // Only what changes is checked: the void override stays as it is.
    expect((await change('PATCH', `/policies/${lax.id}/settings`, { heartbeatGraceSeconds: 1 })).status).to.equal(200);
    expect((await change('PATCH', `/policies/${lax.id}/settings`, { heartbeatIntervalSeconds: 59 })).status).to.equal(
      200,
    );
    expect((await change('DELETE', lock)).status).to.equal(200);
    expect((await settingsOf(`/computers/${computer.id}`)).settings.heartbeatIntervalSeconds.value).to.equal(90);
  });

  it('voids overrides that are moved below a lock', async () => {
    const locked = await make(world.base.id, { heartbeatsMissedAllowed: 1 });
    await change('PUT', `/policies/${locked.id}/locks/heartbeatsMissedAllowed`, { mode: 'locked' });
    const moved = await make(world.base.id, { heartbeatsMissedAllowed: 9 });
    expect((await change('PATCH', `/policies/${moved.id}`, { parentId: locked.id })).status).to.equal(200);
    const setting = (await settingsOf(`/policies/${moved.id}`)).settings.heartbeatsMissedAllowed;
    expect(setting).to.deep.include({ value: 1, inherited: true });
    expect(setting.void[0]).to.deep.include({ value: 9, reason: 'locked', by: { id: locked.id, name: locked.name } });
    expect((await change('PATCH', `/policies/${moved.id}`, { parentId: world.base.id })).status).to.equal(200);
    expect((await settingsOf(`/policies/${moved.id}`)).settings.heartbeatsMissedAllowed.value).to.equal(9);
  });

  it('refuses stale edits and edits without If-Match, everywhere', async () => {
    const policy = await make(world.base.id);
    await change('PATCH', `/policies/${policy.id}/settings`, { heartbeatGraceSeconds: 1 });
    const edits: readonly (readonly [string, string, unknown?])[] = [
      ['PATCH', '', { name: 'stale' }],
      ['PATCH', '/settings', { heartbeatGraceSeconds: 2 }],
      ['PUT', '/locks/heartbeatGraceSeconds', { mode: 'locked' }],
      ['DELETE', '/locks/heartbeatGraceSeconds'],
      ['POST', '/rollback', { revision: 1 }],
    ];
    for (const [method, path, body] of edits) {
      const stale = await change(method, `/policies/${policy.id}${path}`, body, 1);
      expect(codeOf(stale), path).to.deep.equal([412, 'revision-stale']);
      const bare = await api.request<Failure>(
        method,
        `/policies/${policy.id}${path}`,
        body === undefined ? {} : { body },
      );
      expect(codeOf(bare), path).to.deep.equal([428, 'if-match-required']);
    }
  });

  it('names the nearest known key in edits and previews alike', async () => {
    const policy = await make(world.base.id);
    const settings = { heartbeatInterval: 60, hearbeatsMissedAllowed: 1 };
    const saved = await change('PATCH', `/policies/${policy.id}/settings`, settings);
    const previewed = await api.request<Failure>('POST', `/policies/${policy.id}/preview`, { body: { settings } });
    for (const [answer, above] of [
      [saved, '#'],
      [previewed, '#/settings'],
    ] as const) {
      expect(codeOf(answer)).to.deep.equal([400, 'request-invalid']);
      expect(answer.body.errors).to.deep.equal([
        {
          pointer: `${above}/heartbeatInterval`,
          detail: 'is not a known setting; did you mean heartbeatIntervalSeconds?',
        },
        {
          pointer: `${above}/hearbeatsMissedAllowed`,
          detail: 'is not a known setting; did you mean heartbeatsMissedAllowed?',
        },
      ]);
    }
  });

  it('lets no two of many concurrent moves close a cycle', async () => {
    const ring = await Promise.all(Array.from({ length: 6 }, () => make(world.base.id)));
    const moves = ring.map((policy, index) =>
      change('PATCH', `/policies/${policy.id}`, { parentId: ring[(index + 1) % ring.length]!.id }, 1),
    );
    const outcomes = (await Promise.all(moves)).map(({ status }) => status).toSorted();
    expect(outcomes).to.deep.equal([200, 200, 200, 200, 200, 409]);
    const refused = await Promise.all(
      ring.map(({ id }) => api.request<Failure>('POST', `/policies/${id}/preview`, { body: { parentId: id } })),
    );
    for (const answer of refused) expect(codeOf(answer)).to.deep.equal([409, 'policy-cycle']);
  });

  it('ends at depth 32 whoever tries a thousand', async () => {
    let deepest = await make(null);
    for (let level = 2; level <= 32; level += 1) deepest = await make(deepest.id);
    statements = 0;
    for (let level = 33; level <= 1000; level += 100) {
      const body = { name: `too deep ${level}`, parentId: deepest.id };
      expect(codeOf(await api.request<Failure>('POST', '/policies', { body }))).to.deep.equal([409, 'policy-too-deep']);
    }
    expect(statements / 10).to.be.lessThan(20);
    const tree = await make(null);
    const below = await make(tree.id);
    const body = { parentId: deepest.id };
    const refused = await api.request<Failure>('POST', `/policies/${below.id}/preview`, { body });
    expect(codeOf(refused)).to.deep.equal([409, 'policy-too-deep']);
  });

  it('refuses ten thousand keys in one edit as one fault', async () => {
    const policy = await make(world.base.id);
    const settings = Object.fromEntries(Array.from({ length: CROWD }, (_, index) => [`heartbeatInterval${index}`, 1]));
    const refused = await change('PATCH', `/policies/${policy.id}/settings`, settings);
    expect([400, 413]).to.include(refused.status);
    expect(refused.body.errors?.length ?? 0).to.be.at.most(1);
  });

  it('takes no more statements for 10,000 computers with overrides of their own than for ten', async () => {
    const policy = await make(world.base.id);
    const preview = { settings: { heartbeatsMissedAllowed: 5 } };
    const workFor = async (count: number): Promise<readonly number[]> => {
      await fill(policy.id, count);
      statements = 0;
      const previewed = await api.post<Preview>(`/policies/${policy.id}/preview`, preview);
      const ofPreview = statements;
      expect(previewed.computersChanged).to.equal(count);
      expect(previewed.bySetting).to.deep.equal({ heartbeatsMissedAllowed: count });
      statements = 0;
      const saved = await change('PATCH', `/policies/${policy.id}/settings`, { heartbeatGraceSeconds: count % 600 });
      expect(saved.status).to.equal(200);
      return [ofPreview, statements];
    };
    const few = await workFor(10);
    const many = await workFor(CROWD);
    for (const [index, made] of many.entries()) expect(made).to.be.at.most(few[index]!);
  });

  it('moves 10,000 computers away from a policy that is deleted, without a statement for each', async () => {
    const [policy, target] = [await make(world.base.id), await make(world.base.id)];
    await fill(policy.id, CROWD);
    statements = 0;
    const { status } = await change('DELETE', `/policies/${policy.id}?reassignTo=${target.id}`);
    expect(status).to.equal(204);
    expect(statements).to.be.lessThan(60);
    const { items } = await api.get<Page<{ policy: Named }>>(`/computers?policyId=${target.id}&limit=5`);
    expect(items.map(({ policy: of }) => of.id)).to.deep.equal(Array.from({ length: 5 }, () => target.id));
    const [{ count }] = (await world.sql.query('SELECT count(*) AS count FROM computers WHERE policy_id = $1', [
      target.id,
    ])) as [{ count: number }];
    expect(count).to.equal(CROWD);
  });

  it('lets an operator preview and an auditor not', async () => {
    const policy = await make(world.base.id);
    const keyOf = async (role: string) => {
      const { key } = await api.post<{ key: string }>('/api-keys', { name: `of ${role}`, role });
      return { authorization: `Bearer ${key}`, cookie: '' };
    };
    for (const [role, expected] of [
      ['operator', 200],
      ['auditor', 403],
    ] as const) {
      const headers = await keyOf(role);
      const answer = await createApiClient(server.url()).request('POST', `/policies/${policy.id}/preview`, {
        body: {},
        headers,
      });
      expect(answer.status).to.equal(expected);
    }
  });

  it('stores nothing by previewing', async () => {
    const policy = await make(world.base.id);
    const computer = await world.makeComputer({ policyId: policy.id });
    const { counter } = world.cache.generation();
    const [ofPolicy, ofComputer] = [`/policies/${policy.id}`, `/computers/${computer.id}`];
    await api.post(`${ofPolicy}/preview`, { settings: { heartbeatIntervalSeconds: 5 }, parentId: null });
    await api.post(`${ofComputer}/preview`, { settings: { heartbeatIntervalSeconds: 5 }, policyId: world.base.id });
    await world.cache.refresh();
    expect(world.cache.generation().counter).to.equal(counter);
    expect((await settingsOf(ofPolicy)).revision).to.equal(1);
    expect((await settingsOf(ofComputer)).settings.heartbeatIntervalSeconds).to.deep.include({ value: 60 });
  });

  /** Computers with an override of their own each, the interval, which they have confirmed. */
  async function fill(policyId: string, count: number): Promise<void> {
    const { sql } = world;
    await sql.query('DELETE FROM computers WHERE policy_id = $1', [policyId]);
    const ids = Array.from({ length: count }, () => world.random.uuid());
    await sql.query(
      `INSERT INTO computers (id, name, kind, policy_id, labels, overrides, revision, verdict_rules_fleet_ms,
         created_fleet_ms)
       SELECT given.id, 'one of many', 'agent', $2, '{}',
         jsonb_build_object('heartbeatIntervalSeconds', 10 + given.number), 1, 0, 0
       FROM unnest($1::uuid[]) WITH ORDINALITY AS given (id, number)`,
      [ids, policyId],
    );
    await sql.query(
      `INSERT INTO computer_live (computer_id, last_seen_fleet_ms, contact_due_fleet_ms, confirmed_interval_ms)
       SELECT given.id, $2::bigint, $2::bigint + 60000, (10 + given.number) * 1000
       FROM unnest($1::uuid[]) WITH ORDINALITY AS given (id, number)`,
      [ids, world.clock.fleet()],
    );
    await sql.query(
      `INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms)
       SELECT given.id, 'online', 'in-contact', 0 FROM unnest($1::uuid[]) AS given (id)`,
      [ids],
    );
  }
});
