import { expect } from 'chai';
import { join } from 'node:path';

import { parseManagerUrl } from '../../../agent/transport/tls-connection.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { startFleet } from '../../../scripts/fleet.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { temporaryFolder, until } from '../../support/agent-process.js';

describe('a fleet in one process', () => {
  it('is made of real agents that can be stopped, killed and started one by one', async () => {
    const folder = temporaryFolder();
    const manager = await FakeManager.start(folder.path);
    manager.faults.push({ kind: 'problem', status: 429, code: 'too-many-requests', retryAfter: 0 });
    const fleet = await startFleet({
      agents: 4,
      manager: parseManagerUrl(manager.url)!,
      token: manager.token,
      directory: join(folder.path, 'fleet'),
      clock: createSystemClock(),
      random: createSystemRandom(),
      log: createLog({ name: 'fleet', level: 'silent' }),
    });
    try {
      await until('all are online', () => fleet.counts().online === 4);
      expect(new Set(fleet.agents.map(({ computerId }) => computerId)).size).to.equal(4);
      const [killed, stopped] = fleet.agents;
      await killed!.kill();
      await stopped!.stop();
      const goodbyes = manager.reports.filter(({ report }) => report.goodbye).map(({ report }) => report.computerId);
      expect(goodbyes).to.deep.equal([stopped!.computerId]);
      await killed!.start();
      await until('it is back', () => fleet.counts().online === 3);
    } finally {
      await fleet.stop();
      await manager.close();
      folder.remove();
    }
  });
});
