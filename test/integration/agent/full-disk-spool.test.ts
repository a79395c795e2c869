import { expect } from 'chai';
import { join } from 'node:path';
import { createDiskRoom } from '../../../agent/spool/disk-room.js';
import { DurableStore } from '../../../agent/spool/durable-store.js';
import { Spool } from '../../../agent/spool/spool.js';
import { recoveredEvent } from '../../../agent/spool/spool-events.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import type { AgentEvent } from '../../../protocol/heartbeat-messages.js';
import { temporaryFolder } from '../../support/agent-process.js';
import { skipFor } from '../../support/skip.js';
import { fillDisk, missingFor, mountMemory } from '../../support/small-disk.js';

const clock = createSystemClock();
const random = createSystemRandom();
const DETECTION = { kind: 'detection', severity: 'low', message: 'before' } as const;
const EVERYTHING = { maxEvents: 1000, maxBytes: 1_250_000 };
const FULL = /no space/i;

describe('the spool on a disk that others fill', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let unmount: (() => void) | undefined;
  let store: DurableStore;
  let spool: Spool;
  const disk = () => join(folder.path, 'disk');

  beforeEach(async function () {
    const missing = missingFor('mount', 'umount');
    if (missing) skipFor(this, missing);
    folder = temporaryFolder();
    unmount = mountMemory(disk(), 24).unmount;
    await open();
  });
  afterEach(async () => {
    await store?.close();
    unmount?.();
    unmount = undefined;
    folder?.remove();
  });

  async function open(): Promise<void> {
    const path = join(disk(), 'store');
    ({ store } = await DurableStore.open(path, clock));
    spool = await Spool.open({ store, clock, random, maxMegabytes: 256, room: createDiskRoom(path, clock) });
  }
  const failureOf = (run: Promise<unknown>): Promise<string> =>
    run.then(
      () => 'done',
      (error: Error) => `${error.message}: ${String((error.cause as Error | undefined)?.message)}`,
    );
  /** Sends and acknowledges what there is. */
  async function drain(): Promise<AgentEvent[]> {
    const sent: AgentEvent[] = [];
    for (let round = 0; round < 10 && spool.hasBacklog(); round += 1)
      for (const { lane, epoch, events } of await spool.read(EVERYTHING)) {
        const [first, last] = [events[0], events.at(-1)];
        if (!first || !last) continue;
        sent.push(...events);
        const range = { lane, epoch, from: first.sequence, through: last.sequence, count: events.length };
        spool.carry([range], { isStored: false });
        await spool.acknowledge(lane, epoch, last.sequence).catch(() => undefined);
      }
    return sent;
  }
  const kindsOf = (events: readonly AgentEvent[]) => [...new Set(events.map(({ kind }) => kind))].toSorted();

  it('answers for no write behind one that failed, until it was opened again', async () => {
    const put = (key: string, size: number) =>
      store.write([{ type: 'put', key, value: 'v'.repeat(size) }], { durable: true });
    await put('before', 1);
    const filler = fillDisk(disk());
    expect(await failureOf(put('large', 200_000))).to.match(FULL);
    filler.empty();
    expect(await failureOf(put('behind', 1))).to.match(FULL);
    await store.recover(clock);
    await put('after', 1);
    await store.close();
    await open();
    const found = await Promise.all(['before', 'behind', 'after'].map((key) => store.get(key)));
    expect(found).to.deep.equal(['v', undefined, 'v']);
  });

  for (const [what, count] of [
    ['many', 500],
    ['one', 1],
  ] as const)
    it(`keeps what it accepted and refuses ${what}, and tells exactly so`, async () => {
      await spool.append('detection', DETECTION, 50);
      const filler = fillDisk(disk());
      expect(await failureOf(spool.append('detection', { ...DETECTION, message: 'x'.repeat(4000) }, count))).to.match(
        FULL,
      );
      expect(await failureOf(spool.append('detection', DETECTION, 5000))).to.match(FULL);
      const { lanes, failure } = spool.status();
      expect(lanes.detection).to.include({ next: 50, waiting: 50, dropped: 0 });
      expect(failure).to.match(FULL);
      filler.empty();
      await spool.reopen();
      await clock.sleep(300);
      expect(spool.hasRoom()).to.equal(true);
      await spool.tellRefused((refused) => recoveredEvent({ reason: 'full', since: 0, refused }));
      const sent = await drain();
      expect(kindsOf(sent)).to.deep.equal(['detection', 'spool-recovered']);
      expect(sent.filter(({ kind }) => kind === 'detection')).to.have.length(50);
      expect(sent.find(({ kind }) => kind === 'spool-recovered')?.data).to.deep.include({
        refused: { detection: 5000 + count },
      });
    });

  it('sends and acknowledges what it holds without any room, and not again when there is some', async () => {
    await spool.append('detection', DETECTION, 50);
    const filler = fillDisk(disk());
    expect(
      await failureOf(store.write([{ type: 'put', key: 'large', value: 'v'.repeat(200_000) }], { durable: true })),
    ).to.match(FULL);
    expect(await failureOf(spool.reopen())).to.match(FULL);
    expect(await drain()).to.have.length(50);
    expect(spool.status().lanes.detection).to.include({ waiting: 0, acknowledged: 49, dropped: 0 });
    filler.empty();
    await spool.reopen();
    expect(await drain()).to.deep.equal([]);
    await store.close();
    await open();
    expect(spool.status().lanes.detection).to.include({ waiting: 0, dropped: 0 });
  });
});
