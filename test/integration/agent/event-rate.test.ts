import { expect } from 'chai';
import { join } from 'node:path';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory } from '../../../agent/data-directory.js';
import { DurableStore } from '../../../agent/spool/durable-store.js';
import { Spool } from '../../../agent/spool/spool.js';
import { createSystemClock, type Clock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { LANES } from '../../../protocol/heartbeat-messages.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';

const MINUTE = 60_000;
const LOG = { kind: 'log', severity: 'info', message: 'entry' } as const;
const EVERYTHING = { maxEvents: 1000, maxBytes: 1_250_000 };

describe('the limit on newly produced events, in the spool', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let store: DurableStore;
  let spool: Spool;
  const times = { wall: 0, boot: 0 };
  const clock: Clock = { ...createSystemClock(), wall: () => times.wall, boot: () => times.boot };

  const pass = (milliseconds: number): void => {
    times.wall += milliseconds;
    times.boot += milliseconds;
  };
  const open = async (): Promise<void> => {
    ({ store } = await DurableStore.open(join(folder.path, 'store'), createSystemClock()));
    spool = await Spool.open({ store, clock, random: createSystemRandom(), maxMegabytes: 16 });
  };
  /** Reads what may go and acknowledges all of it; how many of each lane. */
  const drain = async (): Promise<number[]> => {
    const batches = await spool.read(EVERYTHING);
    for (const { lane, epoch, events } of batches) {
      const [from, through] = [events[0]?.sequence ?? 0, events.at(-1)?.sequence ?? -1];
      if (events.length === 0) continue;
      spool.carry([{ lane, epoch, from, through, count: events.length }], { isStored: true });
      await spool.acknowledge(lane, epoch, through);
    }
    return batches.map(({ events }) => events.length);
  };

  beforeEach(async () => {
    folder = temporaryFolder();
    Object.assign(times, { wall: 1_790_000_000_000, boot: 10_000_000 });
    await open();
  });
  afterEach(async () => {
    await store.close();
    folder.remove();
  });

  it('lets a minute have its places, keeps the rest in order, and control always', async () => {
    spool.setEventRate(10);
    await spool.append('log', LOG, 25);
    await spool.append('control', { ...LOG, kind: 'agent-started' }, 30);
    expect(await drain()).to.deep.equal([30, 0, 10, 0]);
    expect(spool.hasBacklog()).to.equal(false);
    expect(spool.status()).to.deep.include({ eventRateLimitPerMinute: 10, heldBack: ['log'] });
    expect(spool.report().lanes[2]).to.deep.equal({ lane: 'log', waiting: 15, dropped: 0, isHeldBack: true });
    expect(await drain()).to.deep.equal([0, 0, 0, 0]);
    pass(MINUTE);
    expect(spool.hasBacklog()).to.equal(true);
    expect(await drain()).to.deep.equal([0, 0, 10, 0]);
    pass(MINUTE);
    expect(await drain()).to.deep.equal([0, 0, 5, 0]);
    expect(spool.status().heldBack).to.deep.equal([]);
    expect(spool.status().lanes.log).to.include({ acknowledged: 24, waiting: 0, dropped: 0 });
  });

  it('lets what gathered slowly over a long outage go at once', async () => {
    spool.setEventRate(10);
    for (let minute = 0; minute < 60; minute += 1) {
      await spool.append('log', LOG, 10);
      pass(MINUTE);
    }
    expect(await drain()).to.deep.equal([0, 0, 600, 0]);
  });

  it('gives a record its place once, however often it is read', async () => {
    spool.setEventRate(10);
    await spool.append('log', LOG, 10);
    for (let time = 0; time < 5; time += 1) expect((await spool.read(EVERYTHING))[2]?.events).to.have.length(10);
    await spool.append('detection', { ...LOG, kind: 'detection' }, 3);
    expect(await drain()).to.deep.equal([0, 0, 10, 0]);
  });

  it('sends nothing but control under 0, and goes on when the limit is another', async () => {
    spool.setEventRate(10);
    await spool.append('log', LOG, 10);
    await spool.read(EVERYTHING);
    spool.setEventRate(0);
    await spool.append('control', LOG, 2);
    expect(await drain()).to.deep.equal([2, 0, 0, 0]);
    spool.setEventRate(undefined);
    expect(await drain()).to.deep.equal([0, 0, 10, 0]);
  });

  it('holds back what the manager left of a batch that was sent under a higher limit', async () => {
    spool.setEventRate(600);
    await spool.append('log', LOG, 200);
    const { epoch } = (await spool.read(EVERYTHING))[2]!;
    spool.carry([{ lane: 'log', epoch, from: 0, through: 199, count: 200 }], { isStored: true });
    await spool.acknowledge('log', epoch, 119);
    spool.setEventRate(60);
    expect(await drain()).to.deep.equal([0, 0, 0, 0]);
    expect(spool.report().lanes[2]).to.deep.include({ waiting: 80, isHeldBack: true });
    pass(MINUTE);
    expect(await drain()).to.deep.equal([0, 0, 60, 0]);
  });

  it('is stopped by no step of the wall clock', async () => {
    spool.setEventRate(10);
    for (const stepMs of [7_200_000, -86_400_000, 3_600_000]) {
      await spool.append('log', LOG, 10);
      times.wall += stepMs;
      expect(await drain(), `set by ${stepMs}`).to.deep.equal([0, 0, 10, 0]);
      pass(MINUTE);
    }
  });
});

describe('the limit on newly produced events, in exchanges', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let daemon: Daemon;

  before(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    const directory = dataDirectory(join(folder.path, 'web1'));
    await enrollInProcess(directory, manager);
    manager.ratePerMinute = 50;
    daemon = await composeInProcess(directory, { listenerPort: 0 });
    await daemon.start();
    await until('online', () => daemon.status().state === 'online');
  });
  after(async () => {
    await daemon.abort();
    await manager.close();
    folder.remove();
  });

  it('is what the orders say; the rest waits, is told of, and nothing is sent for it', async () => {
    await daemon.spool.append('log', LOG, 1500);
    manager.wake();
    await daemon.stop();
    const carried = manager.reports.map(({ report }) => report.lanes.find(({ lane }) => lane === 'log')!.events.length);
    // A minute may have ended meanwhile.
    expect(manager.events('log').length).to.be.oneOf([50, 100]);
    expect(Math.max(...carried)).to.be.at.most(100);
    const last = manager.reports.at(-1)!.report.spool!;
    expect(last.lanes.map(({ lane }) => lane)).to.deep.equal([...LANES]);
    expect(last.lanes[2]).to.deep.include({ dropped: 0 });
    expect(last.lanes[2]!.waiting).to.be.at.least(1400);
    expect(manager.reports.length).to.be.at.most(6);
  });
});
