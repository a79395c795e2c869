import { expect } from 'chai';
import { createHash, randomUUID } from 'node:crypto';
import { UPLOAD_PART_BYTES, type UploadPart } from '../../../protocol/upload-messages.js';
import type { CommandOrder } from '../../../protocol/command-messages.js';
import { Problem } from '../../../lib/problem.js';
import type { Orders } from '../../../protocol/heartbeat-messages.js';
import { MOST_OPEN } from '../../../server/agent-commands/index.js';
import { sqlOfClient } from '../../../server/database/sql.js';
import { findIsolation } from '../../../server/firewall/firewall-query.js';
import { startCommandWorld, type CommandWorld } from '../../support/command-world.js';
import { useDatabase } from '../../support/database.js';
import { problemOf } from '../../support/domain-world.js';

const DAY_MS = 86_400_000;
const idsOf = ({ commands }: Orders) => commands.map((command) => (command as CommandOrder).id);

describe('commands of one computer', () => {
  const database = useDatabase();
  let world: CommandWorld;
  let web1: string;

  before(async () => {
    world = await startCommandWorld(database);
  });
  beforeEach(async () => {
    [web1 = ''] = await world.addComputers(1);
  });

  const flags = async (id: string) =>
    (await world.pool.query('SELECT has_commands, awaits_results FROM computer_live WHERE computer_id = $1', [id]))
      .rows[0] as { has_commands: boolean; awaits_results: boolean };
  const told = (id: string, state: 'received' | 'running' | 'succeeded' | 'failed', more: object = {}) => ({
    commandResults: [{ id, state, ...more }],
  });

  it('go from queued to succeeded, with their times and the result', async () => {
    const { status, body: queued } = await world.queue(web1, { type: 'ping' });
    expect(status).to.equal(201);
    expect(queued).to.deep.include({ state: 'queued', number: 1, deliveredAt: null });
    expect(queued.delivery?.how).to.equal('when an agent enrolls as this computer');
    expect(world.woken).to.include(web1);
    expect(await flags(web1)).to.deep.equal({ has_commands: true, awaits_results: false });
    world.clock.now += 1000;
    const [order] = (await world.beat(web1)).commands as CommandOrder[];
    expect(order).to.deep.include({ id: queued.id, type: 'ping', number: 1 });
    expect((await world.get(queued.id)).state).to.equal('delivered');
    world.clock.now += 500;
    expect((await world.beat(web1, told(queued.id, 'running'))).commands).to.deep.equal([]);
    expect(await flags(web1)).to.deep.equal({ has_commands: false, awaits_results: true });
    world.clock.now += 500;
    await world.beat(web1, told(queued.id, 'succeeded', { result: { version: '1' }, durationMs: 400 }));
    const shown = await world.get(queued.id);
    expect(shown).to.deep.include({ state: 'succeeded', result: { version: '1', roundTripMs: 1000 }, delivery: null });
    const times = [shown.deliveredAt, shown.startedAt, shown.endedAt].map((at) => Date.parse(at ?? ''));
    expect(times).to.deep.equal([world.clock.now - 1000, world.clock.now - 500, world.clock.now]);
    expect(await flags(web1)).to.deep.equal({ has_commands: false, awaits_results: false });
    const actions = world.audit.entries.filter(({ subjectId }) => subjectId === queued.id).map(({ action }) => action);
    expect(actions).to.deep.equal(['command.queued']);
  });

  it('are carried again until the agent tells of them, also by the answer to a repeat', async () => {
    const { body } = await world.queue(web1, { type: 'ping' });
    const first = world.ingest.report(web1, { capabilities: ['commands'] });
    const answer = await world.ingest.batcher.submit(first);
    expect(idsOf(answer)).to.deep.equal([body.id]);
    const repeated = await world.ingest.batcher.submit(first);
    expect([repeated.effect, idsOf(repeated)]).to.deep.equal(['repeat', [body.id]]);
    expect(idsOf(await world.beat(web1))).to.deep.equal([body.id]);
    expect(idsOf(await world.beat(web1, told(body.id, 'received')))).to.deep.equal([]);
    expect(idsOf(await world.beat(web1))).to.deep.equal([]);
  });

  it('that were queued after a report was stored ride on the answer to its repeat', async () => {
    const report = world.ingest.report(web1, { capabilities: ['commands'] });
    await world.ingest.batcher.submit(report);
    const { body } = await world.queue(web1, { type: 'ping' });
    expect(idsOf(await world.ingest.batcher.submit(report))).to.deep.equal([body.id]);
    expect((await world.get(body.id)).state).to.equal('delivered');
  });

  it('cost a steady heartbeat no statement, with or without others that have some', async () => {
    const settle = async (id: string) => {
      const { settings } = await world.beat(id);
      const settled = { appliedFingerprint: settings?.fingerprint ?? '' };
      await world.beat(id, settled);
      return settled;
    };
    const settled = await settle(web1);
    const before = world.ingest.metrics.statements;
    await world.beat(web1, settled);
    const steady = world.ingest.metrics.statements - before;
    const { body } = await world.queue(web1, { type: 'ping' });
    await world.beat(web1, settled);
    const delivering = world.ingest.metrics.statements - before - steady;
    expect(delivering - steady, 'one to read and one to store').to.equal(2);
    await world.beat(web1, { ...settled, ...told(body.id, 'running') });
    const running = world.ingest.metrics.statements;
    await world.beat(web1, settled);
    expect(world.ingest.metrics.statements - running, 'while one runs').to.equal(steady);
  });

  it('take the same idempotency key for the same command, and refuse it for another', async () => {
    const body = { type: 'ping', idempotencyKey: 'once' };
    const first = await world.queue(web1, body);
    const again = await world.queue(web1, body);
    expect([first.status, again.status, again.body.id]).to.deep.equal([201, 200, first.body.id]);
    const other = await problemOf(world.queue(web1, { ...body, type: 'get-config' }));
    expect([other.code, other.members['commandId']]).to.deep.equal(['idempotency-key-reused', first.body.id]);
    const [db1 = ''] = await world.addComputers(1);
    expect((await world.queue(db1, body)).status).to.equal(201);
    const racing = await Promise.all([1, 2, 3, 4].map(() => world.queue(db1, { ...body, idempotencyKey: 'race' })));
    expect(new Set(racing.map(({ body: { id } }) => id)).size).to.equal(1);
    const expiresAt = new Date(world.clock.toWall(world.clock.now) + 60_000).toISOString();
    const short = await world.queue(db1, { ...body, expiresAt, idempotencyKey: 'short' });
    world.clock.now += 60_001;
    const late = await world.queue(db1, { ...body, expiresAt, idempotencyKey: 'short' });
    expect([late.status, late.body.id], 'asked again when its time is over').to.deep.equal([200, short.body.id]);
    expect((await problemOf(world.queue(db1, { ...body, expiresAt, idempotencyKey: 'new' }))).code).to.equal(
      'request-invalid',
    );
  });

  it('are cancelled while nobody has them, and only then', async () => {
    const { body: one } = await world.queue(web1, { type: 'ping' });
    expect((await world.cancel(one.id)).body.state).to.equal('cancelled');
    expect((await world.cancel(one.id)).body.state).to.equal('cancelled');
    expect(idsOf(await world.beat(web1))).to.deep.equal([]);
    const { body: two } = await world.queue(web1, { type: 'ping' });
    await world.beat(web1);
    const late = await problemOf(world.cancel(two.id));
    expect([late.code, late.members['state']]).to.deep.equal(['command-not-cancellable', 'delivered']);
    await world.beat(web1, told(two.id, 'succeeded'));
    expect((await problemOf(world.cancel(two.id))).detail).to.match(/ended at .* as succeeded/);
    const cancelled = world.audit.entries.filter(({ action }) => action === 'command.cancelled');
    expect(cancelled.map(({ subjectId }) => subjectId))
      .to.include(one.id)
      .and.not.include(two.id);
    expect((await problemOf(world.cancel(randomUUID()))).code).to.equal('command-not-found');
  });

  it('are never both cancelled and delivered, whoever comes first', async () => {
    for (let round = 0; round < 15; round += 1) {
      const { body } = await world.queue(web1, { type: 'ping' });
      const [orders, cancelled] = await Promise.all([
        world.beat(web1),
        world.cancel(body.id).then(
          () => true,
          (error: unknown) => !(error instanceof Problem),
        ),
      ]);
      expect(idsOf(orders).includes(body.id)).to.equal(!cancelled);
      if (!cancelled) await world.beat(web1, told(body.id, 'succeeded'));
    }
  });

  it('wait for their notBefore, and expire by the fleet clock alone', async () => {
    const at = (ms: number) => new Date(world.clock.now + ms).toISOString();
    const { body: later } = await world.queue(web1, { type: 'ping', notBefore: at(60_000), expiresAt: at(120_000) });
    const { body: short } = await world.queue(web1, { type: 'ping', expiresAt: at(30_000) });
    expect(later.delivery?.how).to.match(/^when an agent enrolls/);
    world.clock.now += 30_000;
    await world.runJob();
    expect(await world.get(short.id)).to.deep.include({ state: 'expired', reason: 'not-delivered' });
    expect(await flags(web1)).to.deep.equal({ has_commands: false, awaits_results: false });
    world.woken.length = 0;
    world.clock.now += 30_000 - 1;
    await world.runJob();
    expect(world.woken).to.deep.equal([]);
    world.clock.now += 1;
    await world.runJob();
    expect(world.woken).to.deep.equal([web1]);
    expect(idsOf(await world.beat(web1))).to.deep.equal([later.id]);
    world.clock.now += 60_000 + DAY_MS - 1;
    await world.runJob();
    expect((await world.get(later.id)).state).to.equal('delivered');
    world.clock.now += 1;
    await world.runJob();
    expect(await world.get(later.id)).to.deep.include({ state: 'expired', reason: 'no-result' });
    await world.beat(web1, told(later.id, 'succeeded'));
    expect((await world.get(later.id)).state).to.equal('succeeded');
  });

  it('that isolate are known for their code until their outcome is told', async () => {
    const open = () => findIsolation(sqlOfClient(world.pool), web1);
    const { body: isolate } = await world.queue(web1, { type: 'isolate' });
    expect(await open(), 'not delivered').to.equal(undefined);
    await world.beat(web1);
    expect(await open(), 'delivered').to.equal(isolate.id);
    world.clock.now += 8 * DAY_MS;
    await world.runJob();
    expect(await world.get(isolate.id)).to.deep.include({ state: 'expired', reason: 'no-result' });
    expect(await open(), 'given up unheard').to.equal(isolate.id);
    await world.beat(web1, told(isolate.id, 'failed', { reason: 'firewall-failed' }));
    expect(await open(), 'told').to.equal(undefined);
  });

  it('are bounded per computer', async () => {
    for (let count = 0; count < MOST_OPEN; count += 1) await world.queue(web1, { type: 'ping' });
    expect((await problemOf(world.queue(web1, { type: 'ping' }))).code).to.equal('command-queue-full');
    const carried = [];
    for (let round = 0; round < 5; round += 1) {
      const ids = idsOf(
        await world.beat(web1, {
          commandResults: carried.slice(-20).map((id) => ({ id, state: 'succeeded' as const })),
        }),
      );
      carried.push(...ids);
    }
    expect(new Set(carried).size).to.equal(MOST_OPEN);
    expect((await world.queue(web1, { type: 'ping' })).status).to.equal(201);
  });

  it('of other computers cannot be told of', async () => {
    const [db1 = ''] = await world.addComputers(1);
    const { body } = await world.queue(db1, { type: 'ping' });
    await world.beat(web1, told(body.id, 'succeeded'));
    await world.beat(web1, told(randomUUID(), 'succeeded'));
    expect((await world.get(body.id)).state).to.equal('queued');
  });

  it('fail at once where the agent is too old for them', async () => {
    const { body } = await world.queue(web1, { type: 'ping' });
    expect((await world.ingest.beat(web1, { capabilities: [] })).commands).to.deep.equal([]);
    expect(await world.get(body.id)).to.deep.include({ state: 'failed', reason: 'not-supported' });
  });

  it('are listed the newest first, by state', async () => {
    const ids = [];
    for (const type of ['ping', 'get-config', 'ping']) ids.push((await world.queue(web1, { type })).body.id);
    await world.cancel(ids[1] ?? '');
    const list = async (query: object) => {
      const { body } = await world.call<{ items: { id: string }[] }>('get', '/computers/:id/commands', {
        params: { id: web1 },
        query,
      });
      return body.items.map(({ id }) => id);
    };
    expect(await list({})).to.deep.equal(ids.toReversed());
    expect(await list({ state: ['queued'] })).to.deep.equal([ids[2], ids[0]]);
    expect(await list({ type: 'get-config' })).to.deep.equal([ids[1]]);
  });

  const text = `{"log":"${'x'.repeat(UPLOAD_PART_BYTES)}"}`;
  const partOf = (commandId: string, part: number, whole = text): UploadPart => {
    const bytes = Buffer.from(whole);
    return {
      protocolVersion: 1,
      commandId,
      contentType: 'application/json',
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      parts: Math.ceil(bytes.length / UPLOAD_PART_BYTES),
      part,
      data: bytes.subarray(part * UPLOAD_PART_BYTES, (part + 1) * UPLOAD_PART_BYTES).toString('base64'),
    };
  };

  it('bring files in parts, from their own agent and while they are open', async () => {
    const [db1 = ''] = await world.addComputers(1);
    const { body } = await world.queue(web1, { type: 'collect-diagnostics' });
    const refused = async (promise: Promise<unknown>) => (await problemOf(promise)).code;
    expect(await refused(world.upload(web1, partOf(body.id, 0))), 'not delivered').to.equal('command-not-found');
    await world.beat(web1);
    expect(await refused(world.upload(db1, partOf(body.id, 0))), 'of another').to.equal('command-not-found');
    const broken = { ...partOf(body.id, 0), data: 'AAAA' };
    expect(await refused(world.upload(web1, broken)), 'not the part').to.equal('request-invalid');
    await world.upload(web1, partOf(body.id, 0, `${text} `));
    await world.upload(web1, partOf(body.id, 1));
    await world.upload(web1, partOf(body.id, 1));
    const download = () => world.call('get', '/commands/:id/file', { params: { id: body.id } });
    expect(await refused(download()), 'a part is missing').to.equal('command-file-not-found');
    await world.upload(web1, partOf(body.id, 0));
    expect((await world.get(body.id)).file).to.deep.include({ bytes: text.length, isComplete: true });
    let got = '';
    for await (const piece of (await download()).stream ?? []) got += piece;
    expect(got).to.equal(text);
    await world.beat(web1, told(body.id, 'succeeded'));
    expect(await refused(world.upload(web1, partOf(body.id, 0))), 'ended').to.equal('command-not-found');
    world.clock.now += 8 * DAY_MS;
    await world.job.tidy();
    expect(await refused(download()), 'after a week').to.equal('command-file-not-found');
    const left = await world.pool.query(
      'SELECT command_id FROM command_files UNION SELECT command_id FROM command_file_parts',
    );
    expect(left.rows).to.deep.equal([]);
  });
});
