import { expect } from 'chai';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { dataDirectory } from '../../agent/data-directory.js';
import { callAgent } from '../../agent/local-socket/socket-client.js';
import type { AppendedRange } from '../../agent/spool/spool.js';
import { createSystemClock } from '../../lib/clock.js';
import { FakeManager } from '../support/agent-fake-manager.js';
import { enrollInProcess } from '../support/agent-in-process.js';
import { spawnAgent, temporaryFolder, until, type AgentProcess } from '../support/agent-process.js';
import { skipFor } from '../support/skip.js';
import { missingFor, mountMortal, type MortalDisk } from '../support/small-disk.js';

const CYCLES = Number(process.env['WARDBEAT_TEST_POWER_CUTS'] ?? 12);
const DISK_MEGABYTES = 64;
const WRITERS = 4;
const LATEST_MS = 1200;
const KEPT = ['agent.key', 'agent.crt', 'root.crt', 'identity.json', 'store/CURRENT'];

describe(`an agent whose machine loses its power ${CYCLES} times`, function () {
  this.timeout(60_000 + CYCLES * 30_000);
  const clock = createSystemClock();
  let folder: ReturnType<typeof temporaryFolder>;
  let disk: MortalDisk | undefined;
  let manager: FakeManager;
  let agent: AgentProcess | undefined;
  const accepted: AppendedRange[] = [];
  const dir = () => join(folder.path, 'disk', 'agent');

  before(async function () {
    const missing = missingFor('mount', 'umount', 'mkfs.ext4', 'losetup', 'perl');
    if (missing) skipFor(this, missing);
    folder = temporaryFolder();
    disk = mountMortal(join(folder.path, 'disk'), join(folder.path, 'image'), DISK_MEGABYTES);
    manager = await FakeManager.start(folder.path);
    manager.intervalMs = 300;
    await enrollInProcess(dataDirectory(dir()), manager);
  });
  after(async () => {
    await agent?.kill('SIGKILL');
    await manager?.close();
    disk?.remove();
    folder?.remove();
  });

  it('brings every event that it accepted to the manager, and keeps its files', async () => {
    let torn = 0;
    for (let cycle = 0; cycle < CYCLES; cycle += 1) {
      agent = spawnAgent(['run', '--dir', dir()]);
      const writing = new AbortController();
      const writers = Array.from({ length: WRITERS }, (_, index) => write(index, writing.signal));
      const before = accepted.length;
      await until('events are accepted', () => accepted.length > before + 5, 30_000);
      await clock.sleep(Math.random() * LATEST_MS);
      disk?.losePower();
      writing.abort();
      await agent.kill('SIGKILL');
      await Promise.all(writers);
      disk?.restorePower();
      for (const name of KEPT) expect(statSync(join(dir(), name)).size, name).to.be.greaterThan(0);
      for (const name of readdirSync(dir())) expect(name).to.not.match(/\.tmp$/);
    }
    agent = spawnAgent(['run', '--dir', dir()]);
    const wanted = accepted.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    await until('every accepted event has arrived', () => missing().length === 0, 60_000).catch(() => undefined);
    torn = manager.events('control').filter(({ kind }) => kind === 'spool-torn').length;
    console.error(JSON.stringify({ cycles: CYCLES, accepted: wanted, arrived: manager.stored.size, torn }));
    expect(missing(), 'accepted, and never arrived').to.deep.equal([]);
    expect(inOrder(), 'in the order of their sequences').to.equal(true);
    expect(manager.events('control').filter(({ kind }) => kind === 'spool-gap')).to.deep.equal([]);
  });

  /** Hands in one event after another, and notes those that were answered before the power went. */
  async function write(index: number, signal: AbortSignal): Promise<void> {
    const kind = index % 2 === 0 ? 'log' : 'detection';
    while (!signal.aborted) {
      const count = 1 + Math.floor(Math.random() * 20);
      const message = 'x'.repeat(Math.floor(Math.random() * 2000));
      const call = { folder: dir(), name: 'agent.sock', clock, milliseconds: 5000 };
      try {
        const request = { op: 'emit', kind, severity: 'info', message, count };
        const range = (await callAgent(call, request)) as AppendedRange;
        // What is answered after the cut was not written before it.
        if (!signal.aborted) accepted.push(range);
      } catch {
        await clock.sleep(20);
      }
    }
  }

  function missing(): string[] {
    const computer = [...manager.enrolled.values()][0]?.computerId ?? '';
    return accepted.flatMap(({ lane, epoch, first, last }) =>
      Array.from({ length: last - first + 1 }, (_, offset) => `${computer}/${lane}/${epoch}/${first + offset}`).filter(
        (key) => !manager.stored.has(key),
      ),
    );
  }

  function inOrder(): boolean {
    const newest = new Map<string, number>();
    return [...manager.stored.keys()].every((key) => {
      const at = key.lastIndexOf('/');
      const [stream, sequence] = [key.slice(0, at), Number(key.slice(at + 1))];
      const isNext = sequence > (newest.get(stream) ?? -1);
      newest.set(stream, sequence);
      return isNext;
    });
  }
});
