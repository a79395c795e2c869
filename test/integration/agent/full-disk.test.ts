import { expect } from 'chai';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory } from '../../../agent/data-directory.js';
import type { NftScript } from '../../../agent/firewall/nft-text.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder } from '../../support/agent-process.js';
import { eventually } from '../../support/poll.js';
import { skipFor } from '../../support/skip.js';
import { fillDisk, missingFor, mountMemory } from '../../support/small-disk.js';

describe('an agent whose disk is full when it is to be isolated', function () {
  this.timeout(180_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let agent: Daemon | undefined;
  let unmount: (() => void) | undefined;
  let loaded: NftScript | undefined;
  const disk = () => join(folder.path, 'disk');
  const directory = () => dataDirectory(join(disk(), 'agent'));
  const packetFilter = {
    check: async () => undefined,
    load: async (script: NftScript) => void (loaded = script),
    unload: async () => void (loaded = undefined),
    stands: async (chain: string) => loaded?.text.includes(`chain ${chain} {`) === true,
  };
  const isCutOff = () => packetFilter.stands('forwarded');

  beforeEach(async function () {
    const missing = missingFor('mount', 'umount');
    if (missing) skipFor(this, missing);
    loaded = undefined;
    folder = temporaryFolder();
    unmount = mountMemory(disk(), 2).unmount;
    mkdirSync(join(disk(), 'more'));
    manager = await FakeManager.start(folder.path);
    manager.intervalMs = 500;
    await enrollInProcess(directory(), manager);
    agent = await composeInProcess(directory(), { packetFilter });
    await agent.start();
  });
  afterEach(async () => {
    await agent?.abort();
    await manager?.close();
    unmount?.();
    [agent, unmount] = [undefined, undefined];
    folder?.remove();
  });

  /** Ordered until the agent tells of it, as a manager does. */
  async function order(type: 'isolate' | 'release'): Promise<unknown> {
    const command = { id: randomUUID(), number: 1, priority: 0, type, args: {}, expiresInMs: 600_000 };
    return eventually(`${type} has ended`, () => {
      if (manager.faults.length === 0) manager.faults.push({ kind: 'orders', orders: { commands: [command] } });
      const told = manager.reports.flatMap(({ report }) => report.commandResults ?? []);
      return told.find(({ id, state }) => id === command.id && state === 'succeeded')?.result;
    });
  }

  it('is isolated and released all the same, says so, and stores it once there is room', async () => {
    await eventually('it beats', () => manager.reports.length >= 3);
    const fillers = [fillDisk(disk())];
    await eventually('the disk takes nothing', async () => {
      await agent?.spool
        .append('log', { kind: 'log', severity: 'info', message: 'x'.repeat(400) })
        .catch(() => undefined);
      return agent?.status().spool.failure !== null;
    });
    fillers.push(fillDisk(join(disk(), 'more')));
    expect(await order('isolate')).to.deep.equal({ isolated: true, stored: false });
    expect(await isCutOff()).to.equal(true);
    expect(await order('release')).to.deep.include({ isolated: false, changed: true });
    expect(await isCutOff()).to.equal(false);
    expect(await order('isolate')).to.deep.equal({ isolated: true, stored: false });
    expect(existsSync(join(directory().path, 'isolation.json'))).to.equal(false);
    for (const filler of fillers) filler.empty();
    await eventually('it is stored', () => existsSync(join(directory().path, 'isolation.json')), 90_000);
    await eventually('the disk takes all again', () => agent?.status().spool.failure === null);
    await agent?.abort();
    loaded = undefined;
    agent = await composeInProcess(directory(), { packetFilter });
    await agent.start();
    expect(await isCutOff()).to.equal(true);
    expect(agent.status().isolated).not.to.equal(null);
  });
});
