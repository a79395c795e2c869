import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { join, resolve } from 'node:path';

import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { LANES, type Lane } from '../../../protocol/heartbeat-messages.js';
import { DurableStore, StoreInUse } from '../../../agent/spool/durable-store.js';
import { Spool } from '../../../agent/spool/spool.js';
import { temporaryFolder, until } from '../../support/agent-process.js';

const clock = createSystemClock();
const random = createSystemRandom();
const EVERYTHING = { maxEvents: 1000, maxBytes: 1_250_000 };
const LOG = { kind: 'log', severity: 'info', message: 'entry' } as const;

describe('the spool on disk', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let store: DurableStore;

  const open = async (maxMegabytes = 256): Promise<Spool> => {
    ({ store } = await DurableStore.open(join(folder.path, 'store'), clock));
    return Spool.open({ store, clock, random, maxMegabytes });
  };
  const reopen = async (): Promise<Spool> => {
    await store.close();
    return open();
  };
  const batchOf = async (spool: Spool, lane: Lane) => {
    const batches = await spool.read(EVERYTHING);
    return batches.find((batch) => batch.lane === lane)!;
  };
  const carryAndAcknowledge = async (spool: Spool, lane: Lane, position: number): Promise<void> => {
    const { epoch, events } = await batchOf(spool, lane);
    spool.carry([{ lane, epoch, from: events[0]!.sequence, through: events.at(-1)!.sequence, count: events.length }], {
      isStored: true,
    });
    await spool.acknowledge(lane, epoch, position);
  };

  beforeEach(() => (folder = temporaryFolder()));
  afterEach(async () => {
    await store.close();
    folder.remove();
  });

  it('is held by one process at a time', async () => {
    await open();
    await DurableStore.open(join(folder.path, 'store'), clock).then(
      () => expect.fail('opened twice'),
      (error: unknown) => expect(error).to.be.instanceOf(StoreInUse),
    );
  });

  it('keeps epoch and sequence of a record over restarts and sends the oldest epoch first', async () => {
    let spool = await open();
    const first = await spool.append('log', LOG, 3);
    spool = await reopen();
    const second = await spool.append('log', LOG, 2);
    expect(second.epoch).to.not.equal(first.epoch);
    expect(second.first).to.equal(0);
    const batch = await batchOf(spool, 'log');
    expect(batch.epoch).to.equal(first.epoch);
    expect(batch.events.map(({ sequence }) => sequence)).to.deep.equal([0, 1, 2]);
    await carryAndAcknowledge(spool, 'log', 2);
    expect((await batchOf(spool, 'log')).epoch).to.equal(second.epoch);
  });

  it('acknowledges never more than was carried', async () => {
    const spool = await open();
    const { epoch } = await spool.append('log', LOG, 5);
    await spool.acknowledge('log', epoch, 4);
    expect((await batchOf(spool, 'log')).events).to.have.length(5);
    await carryAndAcknowledge(spool, 'log', 1_000_000);
    expect(spool.status().lanes.log).to.include({ next: 5, acknowledged: 4, dropped: 0 });
    expect(spool.status().bytes).to.equal(0);
  });

  it('names the epoch it stands at in an empty batch, and gives urgent lanes the room', async () => {
    const spool = await open();
    await spool.append('log', LOG, 10);
    await spool.append('detection', { ...LOG, kind: 'detection' }, 4);
    const batches = await spool.read({ maxEvents: 6, maxBytes: 1_000_000 });
    expect(batches.map(({ lane }) => lane)).to.deep.equal([...LANES]);
    expect(batches.map(({ events }) => events.length)).to.deep.equal([0, 4, 2, 0]);
    expect(new Set(batches.map(({ epoch }) => epoch)).size).to.equal(1);
  });

  it('drops the oldest of a full lane only, counted exactly by its gap events', async () => {
    const spool = await open(1);
    await spool.append('detection', { ...LOG, kind: 'detection' }, 10);
    for (let round = 0; round < 20; round += 1) await spool.append('log', { ...LOG, message: 'x'.repeat(1000) }, 50);
    const { lanes, bytes } = spool.status();
    expect(bytes).to.be.lessThan(1024 * 1024);
    expect(lanes.detection.dropped).to.equal(0);
    const control = await batchOf(spool, 'control');
    const gaps = control.events.filter(({ kind }) => kind === 'spool-gap').map(({ data }) => data);
    const counted = (gaps as { count: number }[]).reduce((sum, { count }) => sum + count, 0);
    expect(counted).to.equal(lanes.log.dropped);
    const kept = (await batchOf(spool, 'log')).events;
    expect(kept.length + counted).to.equal(1000);
    expect(kept[0]!.sequence).to.equal(counted);
  });

  it('does not count as dropped what a stored report carries', async () => {
    const spool = await open(1);
    const { epoch } = await spool.append('log', { ...LOG, message: 'x'.repeat(1000) }, 100);
    spool.carry([{ lane: 'log', epoch, from: 0, through: 99, count: 100 }], { isStored: true });
    for (let round = 0; round < 5; round += 1) await spool.append('log', { ...LOG, message: 'x'.repeat(1000) }, 50);
    const kept = (await batchOf(spool, 'log')).events;
    expect(spool.status().lanes.log.dropped).to.equal(0);
    expect(kept[0]!.sequence).to.be.greaterThan(0);
    expect(kept[0]!.sequence).to.be.at.most(100);
  });

  it('keeps every lane within its own order when many hand in at once', async () => {
    const spool = await open();
    const ranges = await Promise.all(
      Array.from({ length: 50 }, (_, index) => spool.append('log', LOG, index % 7 === 0 ? 1500 : 3)),
    );
    const sequences = ranges.flatMap(({ first, last }) =>
      Array.from({ length: last - first + 1 }, (_, offset) => first + offset),
    );
    expect(sequences.toSorted((a, b) => a - b)).to.deep.equal(sequences.map((_, index) => index));
    expect(spool.status().lanes.log.next).to.equal(sequences.length);
  });

  it('makes strings storable and refuses data that the manager would refuse', async () => {
    const spool = await open();
    await spool.append('log', { ...LOG, message: `a\0b\ud800${'y'.repeat(9000)}`, data: { 'k\0': 'v\udc00' } });
    const [event] = (await batchOf(spool, 'log')).events;
    expect(event!.message.slice(0, 4)).to.equal('a\ufffdb\ufffd');
    expect(event!.message).to.have.length(8192);
    expect(event!.data).to.deep.equal({ 'k\ufffd': 'v\ufffd' });
    for (const data of ['z'.repeat(33_000), JSON.parse('{"__proto__": 1}') as unknown])
      await spool.append('log', { ...LOG, data }).then(
        () => expect.fail('accepted'),
        (error: { code?: string }) => expect(error.code).to.equal('request-invalid'),
      );
  });

  it('loses nothing it answered for when the process is killed between appends', async function () {
    this.timeout(20_000);
    const path = join(folder.path, 'store');
    let answered = 0;
    for (let round = 0; round < 3; round += 1) {
      const child = spawn(process.execPath, [resolve('dist/test/support/agent-spool-writer.js'), path]);
      let lines = '';
      child.stdout.on('data', (chunk: Buffer) => (lines += chunk.toString('latin1')));
      const ended = new Promise((done) => child.once('close', done));
      await until('a few appends were answered', () => lines.split('\n').length > 30);
      child.kill('SIGKILL');
      await ended;
      answered += lines.split('\n').length - 1;
    }
    const spool = await open();
    let found = 0;
    for (let epochs = 0; epochs < 100 && spool.hasBacklog(); epochs += 1) {
      const { events } = await batchOf(spool, 'log');
      found += events.length;
      await carryAndAcknowledge(spool, 'log', events.at(-1)!.sequence);
    }
    expect(found).to.be.at.least(answered);
  });
});
