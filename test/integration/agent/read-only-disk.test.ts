import { expect } from 'chai';
import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';

import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory } from '../../../agent/data-directory.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder } from '../../support/agent-process.js';
import { eventually } from '../../support/poll.js';
import { skipFor } from '../../support/skip.js';
import { missingFor, mountMemory, type MemoryDisk } from '../../support/small-disk.js';

const LOG = { kind: 'log', severity: 'info', message: 'entry' } as const;

describe('an agent that is started on a disk which is read-only', function () {
  this.timeout(120_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let disk: MemoryDisk | undefined;
  let manager: FakeManager;
  let agent: Daemon | undefined;
  const directory = () => dataDirectory(join(folder.path, 'disk', 'agent'));

  beforeEach(async function () {
    const missing = missingFor('mount', 'umount');
    if (missing) skipFor(this, missing);
    folder = temporaryFolder();
    disk = mountMemory(join(folder.path, 'disk'), 8);
    manager = await FakeManager.start(folder.path);
    manager.intervalMs = 500;
    await enrollInProcess(directory(), manager);
  });
  afterEach(async () => {
    await agent?.abort();
    await manager?.close();
    disk?.unmount();
    [agent, disk] = [undefined, undefined];
    folder?.remove();
  });

  for (const [name, mode] of [
    ['beats, says so, and begins again once it can be written', 0o700],
    ['does so though others may look into its folder, which it cannot change', 0o750],
  ] as const)
    it(name, async () => {
      agent = await composeInProcess(directory());
      await agent.start();
      await eventually('it beats', () => manager.reports.length >= 2);
      await agent.abort();
      chmodSync(directory().path, mode);
      disk?.allow('ro');
      const before = manager.reports.length;
      let restarts = 0;
      agent = await composeInProcess(directory(), { restart: () => (restarts += 1) });
      await agent.start();
      const told = () =>
        manager.reports
          .slice(before)
          .some(({ report }) =>
            report.components.some(({ name: part, state }) => part === 'spool' && state === 'offline'),
          );
      await eventually('it beats on and says so', () => manager.reports.length >= before + 3 && told());
      expect(agent.status().state).to.equal('online');
      expect(agent.status().spool.failure).to.match(/read-only/i);
      expect(await agent.spool.append('log', LOG).catch(() => 'refused')).to.equal('refused');
      disk?.allow('rw');
      await eventually('it begins again', () => restarts > 0);
      await agent.abort();
      agent = await composeInProcess(directory());
      await agent.start();
      expect(statSync(directory().path).mode & 0o7777).to.equal(0o700);
      await agent.spool.append('log', LOG);
      await eventually('the event comes', () => manager.events('log').length === 1);
    });
});
