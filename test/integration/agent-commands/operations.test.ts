import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { createSystemRandom } from '../../../lib/random.js';
import { Scope } from '../../../server/access/scope.js';
import { sqlOfClient, type Sql } from '../../../server/database/sql.js';
import { createOperationFeed } from '../../../server/operations/index.js';
import { readProgress } from '../../../server/operations/operation-repository.js';
import { startCommandWorld, type CommandWorld } from '../../support/command-world.js';
import { useDatabase } from '../../support/database.js';
import { problemOf } from '../../support/domain-world.js';
import { POLICY_ID } from '../../support/ingest-world.js';

interface ShownOperation {
  readonly id: string;
  readonly state: string;
  readonly matched: number;
  /** With dryRun. */
  readonly sample: readonly { readonly id: string }[];
  readonly progress: Readonly<Record<string, number>>;
}
interface ShownTarget {
  readonly computerId: string;
  readonly state: string;
  readonly reason: string | null;
  readonly commandId: string | null;
}

describe('operations on many computers', () => {
  const database = useDatabase();
  let world: CommandWorld;
  let fleet: string[];

  before(async () => {
    world = await startCommandWorld(database);
    fleet = await world.addComputers(25);
    await world.pool.query(`UPDATE computers SET name = 'db' WHERE id = ANY($1::uuid[])`, [fleet.slice(0, 5)]);
  });

  const ping = { command: { type: 'ping' } };
  const bulk = (body: object) =>
    world.call<ShownOperation>('post', '/computers/bulk', { body: { filter: { q: 'web' }, action: ping, ...body } });
  const show = async (id: string) =>
    (await world.call<ShownOperation>('get', '/operations/:id', { params: { id } })).body;
  const targets = async (id: string, query: object = {}) =>
    (await world.call<{ items: ShownTarget[] }>('get', '/operations/:id/targets', { params: { id }, query })).body
      .items;

  it('only count with dryRun', async () => {
    const { status, body } = await bulk({ dryRun: true });
    expect([status, body.matched]).to.deep.equal([200, 20]);
    const { rows } = await world.pool.query('SELECT 1 FROM operations');
    expect(rows).to.deep.equal([]);
  });

  it('refuse a bad command with its pointer', async () => {
    const { errors } = await problemOf(bulk({ action: { command: { type: 'ping', args: { x: 1 } } }, dryRun: true }));
    expect(errors.map(({ pointer }) => pointer)).to.deep.equal(['#/action/command/args/x']);
  });

  it('are for what the filters of the list of computers find', async () => {
    const [isolated = '', both = '', degraded = ''] = fleet;
    const flag = (id: string, flags: readonly string[]) =>
      world.pool.query('UPDATE computer_status SET flags = $2 WHERE computer_id = $1', [id, flags]);
    await flag(isolated, ['isolated']);
    await flag(both, ['isolated', 'degraded']);
    await flag(degraded, ['degraded']);
    await world.pool.query(
      `INSERT INTO computer_packages (computer_id, name, id, version, architecture, source)
       VALUES ($1, 'openssl', $1, '3.0', 'amd64', ''), ($2, 'openssl', $2, '1.1', 'amd64', '')`,
      [both, degraded],
    );
    const matched = async (filter: object) => (await bulk({ filter, dryRun: true })).body.matched;
    const action = { command: { type: 'release' } };
    const { body: isolation } = await bulk({ filter: { flag: ['isolated'] }, action, dryRun: true });
    expect(isolation.sample.map(({ id }) => id)).to.have.members([isolated, both]);
    expect(await matched({ flag: ['isolated', 'degraded'] })).to.equal(1);
    expect(await matched({ package: ['openssl'] })).to.equal(2);
    expect(await matched({ package: ['openssl@3.0'], flag: ['isolated'] })).to.equal(1);
    for (const id of [isolated, both, degraded]) await flag(id, []);
  });

  it('queue at their pace, tell their progress, and what became of each', async () => {
    const { status, body } = await bulk({ perSecond: 8, idempotencyKey: 'all' });
    expect([status, body.state, body.matched, body.progress['waiting']]).to.deep.equal([202, 'queueing', 20, 20]);
    expect((await bulk({ perSecond: 8, idempotencyKey: 'all' })).body.id).to.equal(body.id);
    expect((await problemOf(bulk({ perSecond: 9, idempotencyKey: 'all' }))).code).to.equal('idempotency-key-reused');
    const [gone = '', revoked = ''] = fleet.slice(-2);
    await world.pool.query('DELETE FROM computer_live WHERE computer_id = $1', [gone]);
    await world.pool.query(`UPDATE computer_status SET status = 'revoked' WHERE computer_id = $1`, [revoked]);
    const queued = [];
    for (let second = 0; second < 4; second += 1) {
      world.woken.length = 0;
      await world.runJob();
      queued.push(world.woken.length);
    }
    expect(queued).to.deep.equal([8, 8, 2, 0]);
    expect(await show(body.id)).to.deep.include({ state: 'running' });
    const skipped = await targets(body.id, { state: ['skipped'] });
    expect(skipped.map(({ computerId, reason }) => [computerId, reason])).to.have.deep.members([
      [gone, 'computer-removed'],
      [revoked, 'computer-revoked'],
    ]);
    const waiting = await targets(body.id, { state: ['queued'] });
    for (const [index, { computerId, commandId }] of waiting.entries()) {
      await world.beat(computerId);
      const state = index === 0 ? 'failed' : 'succeeded';
      await world.beat(computerId, { commandResults: [{ id: commandId ?? '', state, reason: 'timeout' }] });
    }
    const { state, progress } = await show(body.id);
    expect(state).to.equal('finished');
    expect(progress).to.deep.include({ succeeded: 17, failed: 1, skipped: 2, waiting: 0, queued: 0 });
    expect(await targets(body.id, { state: ['failed'] })).to.have.length(1);
    const audited = world.audit.entries.map(({ action }) => action);
    expect(audited.filter((action) => action === 'operation.begun')).to.have.length(1);
    expect(audited.filter((action) => action === 'command.queued')).to.have.length(18);
  });

  it('name each id that names nothing, with whatever else is wrong, and answer a key that was used in spite of it', async () => {
    const [one = '', other = ''] = fleet;
    const nobody = '00000000-0000-4000-8000-000000000000';
    const filter = { policyId: nobody, computerIds: [one, nobody, other] };
    const past = { command: { type: 'ping', expiresAt: '2020-01-01T00:00:00Z' } };
    const pointers = ['#/filter/policyId', '#/filter/computerIds/1'];
    for (const dryRun of [true, false]) {
      const { errors } = await problemOf(bulk({ filter, dryRun }));
      expect(errors.map(({ pointer }) => pointer)).to.deep.equal(pointers);
    }
    const { errors } = await problemOf(bulk({ filter, action: past }));
    expect(errors.map(({ pointer }) => pointer)).to.deep.equal([...pointers, '#/action/command/expiresAt']);
    const [brief = ''] = await world.addComputers(1);
    const both = { filter: { computerIds: [one, brief] }, idempotencyKey: 'both' };
    const { body } = await bulk(both);
    expect(body.matched).to.equal(2);
    await world.pool.query('DELETE FROM computer_live WHERE computer_id = $1', [brief]);
    await world.pool.query('DELETE FROM computers WHERE id = $1', [brief]);
    expect((await problemOf(bulk({ filter: both.filter }))).errors).to.have.length(1);
    expect((await bulk(both)).body.id).to.equal(body.id);
    await world.call('post', '/operations/:id/cancel', { params: { id: body.id } });
  });

  it('store what a turn queues in as many statements, however many computers it is for', async () => {
    const statementsFor = async (count: number) => {
      const { body } = await bulk({ filter: { computerIds: fleet.slice(0, count) }, perSecond: count + 1 });
      const sql = sqlOfClient(world.pool);
      const texts: string[] = [];
      const counting: Sql = { query: (text, parameters) => (texts.push(text), sql.query(text, parameters)) };
      const feed = createOperationFeed({ clock: world.clock, random: createSystemRandom(), audit: world.audit });
      expect(await feed(counting)).to.have.length(count);
      const ids = (await targets(body.id)).map(({ commandId }) => commandId);
      const { rows } = await world.pool.query(
        `SELECT subject_id, actor_name, after ->> 'operationId' AS operation, after ->> 'type' AS type FROM audit_log
         WHERE action = 'command.queued' AND subject_id = ANY($1::text[])`,
        [ids],
      );
      expect(rows).to.have.length(count);
      for (const row of rows) expect(row).to.include({ operation: body.id, type: 'ping' });
      return texts;
    };
    expect(await statementsFor(20)).to.deep.equal(await statementsFor(1));
  });

  it('are counted without a look at any target or command, however many there are', async () => {
    const ids = [createSystemRandom().uuid(), createSystemRandom().uuid()];
    await world.pool.query(
      `INSERT INTO commands (id, computer_id, number, type, args, priority, state, is_due, request_digest, operation_id,
         created_by, queued_fleet_ms, expires_fleet_ms, ended_fleet_ms)
       SELECT gen_random_uuid(), gen_random_uuid(), 1, 'ping', '{}', 0, CASE WHEN n % 4 = 0 THEN 'failed' ELSE 'succeeded' END,
         true, '', operation.id, 'ada', 0, 0, $2 FROM unnest($1::uuid[]) AS operation (id), generate_series(1, 4000) AS n`,
      [ids, world.clock.now],
    );
    await world.pool.query(
      `INSERT INTO operation_targets (operation_id, computer_id, computer_name, state, command_id)
       SELECT commands.operation_id, commands.computer_id, '', 'queued', commands.id FROM commands
       WHERE commands.operation_id = ANY($1::uuid[])
       UNION ALL
       SELECT operation.id, gen_random_uuid(), '', CASE WHEN n % 2 = 0 THEN 'waiting' ELSE 'skipped' END, NULL
       FROM unnest($1::uuid[]) AS operation (id), generate_series(1, 1000) AS n`,
      [ids],
    );
    const sql = sqlOfClient(world.pool);
    const asked: [text: string, parameters: readonly unknown[] | undefined][] = [];
    const noting: Sql = { query: (...query) => (asked.push([query[0], query[1]]), sql.query(...query)) };
    const progress = await readProgress(noting, Scope.all, ids);
    for (const id of ids)
      expect(progress.get(id)).to.include({ succeeded: 3000, failed: 1000, waiting: 500, skipped: 500, queued: 0 });
    const [[text, parameters] = ['', []]] = asked;
    expect(asked).to.have.length(1);
    const client = await world.pool.connect();
    // What the indexes alone can tell, whatever is cheaper with so few rows.
    await client.query('BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off');
    const explained = await sqlOfClient(client).query<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`, parameters);
    await client.query('ROLLBACK');
    client.release();
    const plan = explained.map((row) => row['QUERY PLAN']).join('\n');
    const scans = plan.match(/(?:Seq|Heap|Index|Only) Scan(?: using \w+)? on \w+/g);
    expect(scans, plan).to.deep.equal([
      'Only Scan using commands_of_operation on commands',
      'Only Scan using operation_targets_without_command on operation_targets',
    ]);
    await world.pool.query('DELETE FROM operation_targets WHERE operation_id = ANY($1::uuid[])', [ids]);
    await world.pool.query('DELETE FROM commands WHERE operation_id = ANY($1::uuid[])', [ids]);
  });

  it('begin once, however many ask at the same moment with one key', async () => {
    const asked = { filter: { computerIds: fleet.slice(0, 2) }, idempotencyKey: 'at once' };
    const begun = await Promise.all(Array.from({ length: 4 }, () => bulk(asked)));
    expect(new Set(begun.map(({ body }) => body.id)).size).to.equal(1);
    const { rows } = await world.pool.query('SELECT 1 FROM operation_targets WHERE operation_id = $1', [
      begun[0]?.body.id,
    ]);
    expect(rows).to.have.length(2);
    await world.runJob();
    expect((await show(begun[0]?.body.id ?? '')).state).to.equal('running');
  });

  it('keep their pace from notBefore on, and let the urgent one go first', async () => {
    const some = { filter: { computerIds: fleet.slice(0, 6) }, perSecond: 2 };
    const wall = world.clock.toWall(world.clock.fleet());
    const notBefore = new Date(wall + 600_000).toISOString();
    const { body: later } = await bulk({ ...some, action: { command: { type: 'ping', notBefore } } });
    const { body: slow } = await bulk({ ...some, perSecond: 1 });
    const { body: urgent } = await bulk({ ...some, perSecond: 3, action: { command: { type: 'ping', priority: 9 } } });
    const step = async () => {
      world.woken.length = 0;
      await world.runJob();
      const shown = await Promise.all([later, slow, urgent].map(({ id }) => show(id)));
      return [world.woken.length, ...shown.map(({ progress }) => progress['queued'])];
    };
    expect(await step(), 'urgent').to.deep.equal([3, 0, 0, 3]);
    expect(await step(), 'urgent').to.deep.equal([3, 0, 0, 6]);
    await step();
    for (let second = 1; second <= 6; second += 1) expect((await step())[2]).to.equal(second);
    await step();
    expect(await step(), 'nothing is due').to.deep.equal([0, 0, 6, 6]);
    world.clock.now += 600_000;
    expect(await step(), 'at its pace').to.deep.equal([2, 2, 6, 6]);
    expect(await step(), 'at its pace').to.deep.equal([2, 4, 6, 6]);
    await world.call('post', '/operations/:id/cancel', { params: { id: later.id } });
  });

  it('reach nobody who was moved away from whoever began them, and each scope has keys of its own', async () => {
    const [stays = '', goes = ''] = fleet;
    const policies = await Promise.all([POLICY_ID, null].map((parent) => makePolicy(parent)));
    const [mine = '', elsewhere = ''] = policies;
    await move(stays, mine);
    await move(goes, mine);
    const scope = Scope.subtrees([mine]);
    // What the scope does not hold is not there.
    const beyond = { filter: { computerIds: fleet.slice(0, 4) }, action: { command: { type: 'ping' } } };
    const { errors } = await problemOf(world.call('post', '/computers/bulk', { body: beyond, scope }));
    expect(errors).to.have.length(2);
    const filter = { computerIds: [stays, goes] };
    const request = { filter, action: { command: { type: 'ping' } }, idempotencyKey: 'one word for all' };
    const begin = (by: Scope) => world.call<ShownOperation>('post', '/computers/bulk', { body: request, scope: by });
    const { body } = await begin(scope);
    expect(body.matched).to.equal(2);
    expect((await begin(scope)).body.id).to.equal(body.id);
    expect((await begin(Scope.all)).body.id).not.to.equal(body.id);
    await move(goes, elsewhere);
    // Operations of the tests before have their turns first.
    for (let turn = 0; turn < 5; turn += 1) await world.runJob();
    const reasons = await targets(body.id, { state: ['skipped'] });
    expect(reasons.map(({ computerId, reason }) => [computerId, reason])).to.deep.equal([[goes, 'beyond-scope']]);
    const call = { params: { id: body.id }, scope };
    const seen = await world.call<ShownOperation>('get', '/operations/:id', call);
    expect([seen.body.matched, seen.body.progress['queued']]).to.deep.equal([1, 1]);
    const theirs = Scope.subtrees([elsewhere]);
    const refused = await problemOf(world.call('post', '/operations/:id/cancel', { ...call, scope: theirs }));
    expect(refused.code).to.equal('operation-not-found');
    for (const id of [stays, goes]) await move(id, POLICY_ID);
    await world.runJob();
  });

  async function makePolicy(parent: string | null): Promise<string> {
    const id = randomUUID();
    await world.pool.query(
      `INSERT INTO policies (id, parent_id, name, description, settings, locks, revision, created_at, updated_at,
         verdict_rules_fleet_ms) VALUES ($1, $2, $3, '', '{}', '{}', 1, '2026-11-21', '2026-11-21', 0)`,
      [id, parent, id],
    );
    return id;
  }

  async function move(id: string, policyId: string): Promise<void> {
    await world.pool.query('UPDATE computers SET policy_id = $2 WHERE id = $1', [id, policyId]);
  }

  it('are for those that matched when they began, and end early when cancelled', async () => {
    const { body } = await bulk({ filter: { computerIds: fleet.slice(0, 4) }, perSecond: 1 });
    await world.runJob();
    const { body: ended } = await world.call<ShownOperation>('post', '/operations/:id/cancel', {
      params: { id: body.id },
    });
    expect([ended.state, ended.progress['queued'], ended.progress['skipped']]).to.deep.equal(['cancelled', 1, 3]);
    await world.runJob();
    expect((await show(body.id)).progress['queued']).to.equal(1);
    const { body: none } = await bulk({ filter: { q: 'nobody is called so' } });
    expect([none.state, none.matched]).to.deep.equal(['finished', 0]);
  });

  it('are forgotten with their commands after 90 days, however many there are', async () => {
    const { body: waiting } = await bulk({ filter: { computerIds: fleet.slice(0, 2) } });
    // A transaction forgets 50 files, 5000 commands, one operation.
    await world.pool.query(
      `INSERT INTO command_files (command_id, content_type, bytes, sha256, parts, stored_fleet_ms)
       SELECT gen_random_uuid(), 'text/plain', 1, '', 1, $1 FROM generate_series(1, 101)`,
      [world.clock.now],
    );
    await world.pool.query(`INSERT INTO command_file_parts SELECT command_id, 0, '' FROM command_files`);
    await world.pool.query(
      `INSERT INTO commands (id, computer_id, number, type, args, priority, state, is_due, request_digest, created_by,
         queued_fleet_ms, expires_fleet_ms, ended_fleet_ms)
       SELECT gen_random_uuid(), $2, 1000 + n, 'ping', '{}', 0, 'succeeded', true, '', 'ada', $1, $1, $1
       FROM generate_series(1, 5001) AS n`,
      [world.clock.now, fleet[0]],
    );
    world.clock.now += 91 * 86_400_000;
    await world.job.tidy();
    const { rows } = await world.pool.query(
      `SELECT (SELECT count(*)::integer FROM command_files) AS files,
         (SELECT count(*)::integer FROM command_file_parts) AS parts,
         (SELECT count(*)::integer FROM commands WHERE ended_fleet_ms IS NOT NULL) AS ended,
         (SELECT count(*)::integer FROM operation_targets) AS targets,
         (SELECT array_agg(id) FROM operations) AS operations`,
    );
    expect(rows).to.deep.equal([{ files: 0, parts: 0, ended: 0, targets: 2, operations: [waiting.id] }]);
  });
});
