import { expect } from 'chai';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { parseManagerUrl } from '../../../agent/transport/tls-connection.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { startFleet, type Fleet } from '../../../scripts/fleet.js';
import { freeRange } from '../../support/free-port.js';
import { dial } from '../../support/listener-dialer.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { runAgent, spawnAgent, temporaryFolder, until } from '../../support/agent-process.js';

const FLEET = resolve('dist/scripts/fleet.js');

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

  it('begins in the direction and on the ports it is given', async () => {
    const folder = temporaryFolder();
    const manager = await FakeManager.start(folder.path);
    manager.setSettings({ communicationDirection: 'managerInitiated' });
    manager.tellsSettings = true;
    const base = (await freeRange(2)) - 1;
    const options = {
      manager: parseManagerUrl(manager.url)!,
      token: manager.token,
      clock: createSystemClock(),
      random: createSystemRandom(),
      log: createLog({ name: 'fleet', level: 'silent' }),
      listenerBasePort: base,
    };
    const directory = (name: string) => join(folder.path, name);
    const dialled = await startFleet({
      ...options,
      agents: 2,
      directory: directory('m'),
      direction: 'managerInitiated',
    });
    const dialling = await startFleet({
      ...options,
      agents: 2,
      directory: directory('a'),
      direction: 'agentInitiated',
    });
    try {
      await until('they told their ports', () => dialled.counts().online === 2);
      for (const [index, { computerId }] of dialled.agents.entries()) {
        const { status } = await dial(manager, { port: base + 1 + index, computerId });
        expect(status).to.equal(204);
      }
      expect(dialled.agents.map(({ daemon }) => daemon!.status().direction)).to.deep.equal(MANAGER_TWICE);
      await until('the others dialled', () => dialling.counts().online === 2);
      const first = manager.reports.find(({ report }) => isOf(dialling, report.computerId))!;
      expect(first).to.deep.include({ dialledBy: 'agent' });
      expect(first.report).to.deep.include({ direction: 'agentInitiated', listener: { state: 'closed' } });
    } finally {
      await dialled.stop();
      await dialling.stop();
      await manager.close();
      folder.remove();
    }
  });

  it('is refused in plain words on a directory that another fleet holds', async function () {
    this.timeout(20_000);
    const folder = temporaryFolder();
    const manager = await FakeManager.start(folder.path);
    writeFileSync(join(folder.path, 'token'), manager.token);
    const args = ['--agents', '2', '--manager', manager.url, '--token-file', join(folder.path, 'token')];
    args.push('--dir', join(folder.path, 'fleet'), '--stagger-seconds', '0');
    const first = spawnAgent(args, { main: FLEET });
    try {
      await until('both are online', () => first.stderr().includes('"online":2'));
      const { code, stderr } = await runAgent(args, { main: FLEET });
      expect(code, stderr).to.equal(5);
      expect(stderr).to.match(/^fleet: \S+fleet-00001 is in use by a running agent; [^\n]+\n$/);
      expect((await first.kill('SIGTERM')).code).to.equal(0);
    } finally {
      await first.kill('SIGKILL');
      await manager.close();
      folder.remove();
    }
  });

  it('tells its flags, --dir among them', async () => {
    const help = await runAgent(['--help'], { main: FLEET });
    expect([help.code, help.stderr]).to.deep.equal([0, '']);
    expect(help.stdout).to.contain('--dir DIR');
    const wrong = await runAgent(['--agents', '0', '--token-file', '/absent'], { main: FLEET });
    expect(wrong.code).to.equal(2);
    const listening = await runAgent(['--direction', 'sideways', '--listener-base-port', '65535'], { main: FLEET });
    expect(listening.stderr).to.contain('--direction must').and.contain('--listener-base-port must');
    expect(wrong.stderr).to.contain('--agents must').and.contain('--manager must').and.contain('/absent');
  });
});

const MANAGER_TWICE = ['managerInitiated', 'managerInitiated'];

function isOf({ agents }: Fleet, computerId: string | undefined): boolean {
  return agents.some((agent) => agent.computerId === computerId);
}
