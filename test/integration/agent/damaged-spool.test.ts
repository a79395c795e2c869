import { expect } from 'chai';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { DurableStore, type OpenedStore, type Store } from '../../../agent/spool/durable-store.js';
import { Spool } from '../../../agent/spool/spool.js';
import type { Finding } from '../../../agent/spool/findings.js';
import { findingEvents } from '../../../agent/spool/spool-events.js';
import { epochKey, recordKey } from '../../../agent/spool/spool-keys.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { LANES, type AgentEvent } from '../../../protocol/heartbeat-messages.js';
import { temporaryFolder } from '../../support/agent-process.js';
import { runs } from '../../support/property-runs.js';

const clock = createSystemClock();
const random = createSystemRandom();
const LOG = { kind: 'log', severity: 'info', message: 'entry' } as const;

interface Sent {
  readonly lane: string;
  readonly epoch: string;
  readonly event: AgentEvent;
}

/** Reads and acknowledges all that the spool holds, in the order of sending. */
async function drain(spool: Spool): Promise<Sent[]> {
  const sent: Sent[] = [];
  for (let round = 0; round < 1000 && spool.hasBacklog(); round += 1) {
    const batches = await spool.read({ maxEvents: 1000, maxBytes: 1_250_000 });
    for (const { lane, epoch, events } of batches) {
      const [first, last] = [events[0], events.at(-1)];
      if (!first || !last) continue;
      sent.push(...events.map((event) => ({ lane, epoch, event })));
      spool.carry([{ lane, epoch, from: first.sequence, through: last.sequence, count: events.length }], {
        isStored: true,
      });
      await spool.acknowledge(lane, epoch, last.sequence);
    }
  }
  return sent;
}

const logsOf = (sent: readonly Sent[]) => sent.filter(({ lane }) => lane === 'log');
const gapsOf = (sent: readonly Sent[]) =>
  sent
    .filter(({ event }) => event.kind === 'spool-gap')
    .map(({ event }) => event.data as { lane: string; count: number; reason: string; from: number; to: number });
const countOf = (sent: readonly Sent[]): number => gapsOf(sent).reduce((sum, { count }) => sum + count, 0);

function skippedOf([found, ...others]: readonly Finding[]) {
  expect(others).to.deep.equal([]);
  const { damaged, torn } = found?.log ?? {};
  const kind = damaged ? 'damaged' : torn ? 'torn' : 'nothing';
  return { kind, operations: (damaged ?? torn)?.operations ?? Number.POSITIVE_INFINITY } as const;
}

describe('a spool that the disk has damaged', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let opened: OpenedStore;
  const path = () => join(folder.path, 'store');
  const open = async (at = path()): Promise<Spool> => {
    opened = await DurableStore.open(at, clock);
    const options = { store: opened.store, clock, random, maxMegabytes: 64 };
    return Spool.open(options).catch(async () => {
      await opened.store.recover(clock);
      return Spool.open(options);
    });
  };
  const close = () => opened.store.close();
  const untold = () => opened.store.findings.untold;
  const fileOf = (ending: string): string => {
    const names = readdirSync(path()).filter((name) => name.endsWith(ending));
    return join(
      path(),
      names.toSorted((one, other) => statSync(join(path(), other)).size - statSync(join(path(), one)).size)[0]!,
    );
  };
  const spoil = (file: string, share: number, bytes = 60): void => {
    const content = readFileSync(file);
    const at = Math.floor(content.length * share);
    content.fill(0x41, at, at + bytes);
    writeFileSync(file, content);
  };
  const fill = async (spool: Spool, count: number): Promise<void> => {
    for (let done = 0; done < count; done += 50)
      await spool.append('log', { ...LOG, message: random.bytes(60).toString('hex') }, 50);
  };

  beforeEach(() => (folder = temporaryFolder()));
  afterEach(async () => {
    await close().catch(() => undefined);
    folder.remove();
  });

  for (const ending of ['.log', '.ldb'])
    it(`counts exactly what is gone from the middle of its ${ending} file, once, and sends the rest in order`, async () => {
      await fill(await open(), 5000);
      await close();
      if (ending === '.ldb') {
        // Opening writes the log anew as a table.
        await open();
        await close();
      }
      spoil(fileOf(ending), 0.5);
      await open();
      await close();
      const sent = await drain(await open());
      const sequences = logsOf(sent).map(({ event }) => event.sequence);
      expect(sequences).to.deep.equal(sequences.toSorted((a, b) => a - b));
      expect(sequences.length).to.be.within(4000, 4999);
      expect(sequences.length + countOf(sent)).to.equal(5000);
      expect(gapsOf(sent).map(({ lane, reason }) => [lane, reason])).to.deep.equal([['log', 'damaged']]);
    });

  it('skips a record whose checksum is wrong, counts it, and goes on', async () => {
    const spool = await open();
    await fill(spool, 100);
    const key = recordKey('log', 1, 40);
    const value = (await opened.store.get(key))!;
    await opened.store.write([{ type: 'put', key, value: value.replace('log', 'LOG') }], { durable: true });
    const sent = await drain(spool);
    expect(logsOf(sent).map(({ event }) => event.sequence)).to.deep.equal(
      Array.from({ length: 100 }, (_, index) => index).filter((sequence) => sequence !== 40),
    );
    expect(gapsOf(sent)).to.have.length(1);
    expect(gapsOf(sent)[0]).to.include({ lane: 'log', from: 40, to: 40, count: 1, reason: 'damaged' });
    expect(spool.status().lanes.log).to.include({ dropped: 1, waiting: 0 });
  });

  it('sends the records of an epoch whose name is gone', async () => {
    await fill(await open(), 100);
    await opened.store.write([{ type: 'del', key: epochKey(1) }], { durable: true });
    await close();
    const sent = await drain(await open());
    expect(logsOf(sent)).to.have.length(100);
    expect(new Set(sent.map(({ epoch }) => epoch)).size).to.equal(1);
  });

  it('counts what a running spool finds gone', async () => {
    const spool = await open();
    await fill(spool, 1000);
    const { epoch } = await spool.append('detection', LOG, 10);
    const gone = [...Array.from({ length: 5 }, (_, index) => index + 10), 998, 999].map((sequence) =>
      recordKey('log', 1, sequence),
    );
    await opened.store.write(
      gone.map((key) => ({ type: 'del', key })),
      { durable: true },
    );
    await spool.reopen();
    const later = await spool.append('log', LOG);
    expect(later.epoch).to.not.equal(epoch);
    const sent = await drain(spool);
    expect(countOf(sent)).to.equal(7);
    expect(logsOf(sent)).to.have.length(994);
    expect(spool.status().lanes.log.dropped).to.equal(7);
  });

  it('takes no record that was dropped for room for a lost one', async () => {
    opened = await DurableStore.open(path(), clock);
    const small = await Spool.open({ store: opened.store, clock, random, maxMegabytes: 1 });
    await fill(small, 4000);
    const { dropped } = small.status().lanes.log;
    expect(dropped).to.be.greaterThan(0);
    await close();
    const spool = await open();
    expect(spool.status().lanes.log.dropped).to.equal(dropped);
    const sent = await drain(spool);
    expect(countOf(sent)).to.equal(dropped);
    expect(new Set(gapsOf(sent).map(({ reason }) => reason))).to.deep.equal(new Set(['quota']));
  });

  it('loses nothing that it answered for, wherever a power failure cuts its log, and tells the cut', async function () {
    this.timeout(60_000);
    const spool = await open();
    const answered: { through: number; synced: number }[] = [];
    const log = fileOf('.log');
    for (let round = 0; round < 40; round += 1) {
      await spool.append(
        'log',
        { ...LOG, message: random.bytes(1 + ((round * 97) % 700)).toString('hex') },
        1 + (round % 7),
      );
      answered.push({ through: spool.status().lanes.log.next, synced: statSync(log).size });
    }
    await close();
    const written = statSync(log).size;
    let cuts = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: answered.length - 1 }),
        // Even: an arbitrary double is next to nothing mostly.
        fc.nat({ max: 1000 }).map((thousandths) => thousandths / 1000),
        fc.constantFrom('cut', 'zeros', 'noise'),
        async (at, share, rest) => {
          const { synced, through } = answered[at]!;
          const end = synced + Math.floor((written - synced) * share);
          const copy = join(folder.path, `after-${(cuts += 1)}`);
          mkdirSync(copy, { mode: 0o700 });
          for (const name of readdirSync(path())) copyFileSync(join(path(), name), join(copy, name));
          const kept = readFileSync(log).subarray(0, end);
          const lost = Math.min(200, written - end);
          const tail = rest === 'cut' ? Buffer.alloc(0) : rest === 'zeros' ? Buffer.alloc(lost) : random.bytes(lost);
          writeFileSync(join(copy, log.slice(path().length + 1)), Buffer.concat([kept, tail]));
          const sent = await drain(await open(copy));
          const isWhole = answered.some((one) => one.synced === end) && tail.length === 0;
          expect(untold()).to.have.length(isWhole ? 0 : 1);
          for (const { log } of untold()) expect(log).to.include({ damaged: undefined }).and.have.property('torn');
          await close();
          const sequences = logsOf(sent).map(({ event }) => event.sequence);
          expect(sequences).to.deep.equal(sequences.map((_, index) => index));
          expect(sequences.length).to.be.at.least(through);
          expect(countOf(sent)).to.equal(0);
        },
      ),
      runs(60),
    );
  });

  it('accounts for every event that it answered for, whatever bytes of its log are damaged', async function () {
    this.timeout(60_000);
    const spool = await open();
    let answered = 0;
    for (let round = 0; round < 60; round += 1) {
      const lane = LANES[round % LANES.length]!;
      const count = 1 + (round % 5);
      await spool.append(lane, { ...LOG, message: random.bytes(1 + ((round * 397) % 1900)).toString('hex') }, count);
      answered += count;
    }
    await close();
    const log = fileOf('.log');
    const whole = readFileSync(log);
    expect(whole.length).to.be.greaterThan(3 * 32_768);
    const seen = { nothing: 0, torn: 0, damaged: 0, exact: 0 };
    let copies = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 50 }), async (at, length) => {
        const copy = join(folder.path, `damaged-${(copies += 1)}`);
        mkdirSync(copy, { mode: 0o700 });
        for (const name of readdirSync(path())) copyFileSync(join(path(), name), join(copy, name));
        const damaged = Buffer.from(whole);
        random.bytes(length).copy(damaged, at);
        writeFileSync(join(copy, log.slice(path().length + 1)), damaged);
        const sent = await drain(await open(copy));
        await close();
        const came = sent.filter(({ event }) => event.kind === LOG.kind).length;
        const lost = answered - came - countOf(sent);
        // Exactly those that something behind them names.
        expect(lost, 'counted').to.be.at.least(0);
        const { kind, operations } = skippedOf(untold());
        if (kind === 'nothing') expect(came, 'silent').to.equal(answered);
        expect(answered - came, 'of what was skipped').to.be.at.most(operations);
        seen[kind] += 1;
        if (Number.isFinite(operations)) seen.exact += 1;
      }),
      runs(60),
    );
    expect(seen.damaged).to.be.greaterThan(seen.torn);
    expect(seen.exact).to.be.greaterThan(seen.damaged / 2);
  });

  it('tells what it found once, whoever opened it, and though a process ended before', async () => {
    await fill(await open(), 2000);
    await close();
    spoil(fileOf('.log'), 0.5);
    // A command that looks at a stopped agent.
    await open();
    await close();
    await open();
    const [found] = untold();
    expect(found?.log?.damaged?.bytes).to.be.greaterThan(60);
    expect(found?.log?.damaged?.operations).to.be.greaterThan(1);
    const told: string[] = [];
    await opened.store.findings
      .tell(() => Promise.reject(new Error('No space left on device')))
      .catch((error: Error) => told.push(error.message));
    await opened.store.findings.tell(async (finding) => {
      for (const event of findingEvents(finding)) told.push(event.kind);
    });
    await close();
    await open();
    expect(untold()).to.deep.equal([]);
    expect(told).to.deep.equal(['No space left on device', 'spool-damaged']);
  });

  it('opens over a disk that can be read and not written, and tells its losses once it can', async () => {
    await fill(await open(), 100);
    await opened.store.write([{ type: 'del', key: recordKey('log', 1, 40) }], { durable: true });
    await close();
    opened = await DurableStore.open(path(), clock);
    const { store } = opened;
    let isFull = true;
    const full = new Error('IO error: No space left on device');
    const disk: Store = {
      failure: undefined,
      get: (key) => store.get(key),
      scan: (range, visit) => store.scan(range, visit),
      recover: (now) => store.recover(now),
      write: (operations, options) => (isFull ? Promise.reject(full) : store.write(operations, options)),
    };
    const spool = await Spool.open({ store: disk, clock, random, maxMegabytes: 64 });
    expect(spool.status().lanes.log.waiting).to.equal(99);
    isFull = false;
    await spool.reopen();
    const sent = await drain(spool);
    expect(logsOf(sent)).to.have.length(99);
    expect(gapsOf(sent).map(({ lane, count }) => [lane, count])).to.deep.equal([['log', 1]]);
    expect(spool.status().lanes.log.dropped).to.equal(1);
  });

  it('counts on where the event that counted was dropped itself, and holds what it says', async () => {
    opened = await DurableStore.open(path(), clock);
    const spool = await Spool.open({ store: opened.store, clock, random, maxMegabytes: 1 });
    await fill(spool, 3000);
    const dropped = spool.status().lanes.log.dropped;
    expect(dropped).to.be.greaterThan(0);
    for (let done = 0; done < 1000; done += 50)
      await spool.append('control', { ...LOG, message: random.bytes(60).toString('hex') }, 50);
    expect(spool.status().lanes.control.dropped).to.be.greaterThan(0);
    await fill(spool, 1000);
    const { log, control } = spool.status().lanes;
    expect(log.dropped).to.be.greaterThan(dropped);
    const sent = await drain(spool);
    const ofLog = gapsOf(sent).filter(({ lane }) => lane === 'log');
    expect(ofLog.map(({ count }) => count)).to.deep.equal([log.dropped]);
    expect(sent.filter(({ lane }) => lane === 'control')).to.have.length(control.waiting);
    expect(spool.status().bytes).to.equal(0);
    expect(Object.values(spool.status().lanes).map(({ waiting }) => waiting)).to.deep.equal([0, 0, 0, 0]);
  });

  it('names its lanes in every status', async () => {
    const spool = await open();
    expect(Object.keys(spool.status().lanes)).to.deep.equal([...LANES]);
    expect(spool.status().failure).to.equal(null);
  });
});
