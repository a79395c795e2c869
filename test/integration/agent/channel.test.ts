import { expect } from 'chai';
import { join } from 'node:path';

import type { AgentOptions } from '../../../agent/agent-options.js';
import { SHORT_LIFE_MS, SHORT_LIVES_UNTIL_FALLBACK } from '../../../agent/channel-rules.js';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory } from '../../../agent/data-directory.js';
import { createSystemClock } from '../../../lib/clock.js';
import { createSystemRandom } from '../../../lib/random.js';
import { writeReturn } from '../../../protocol/channel-messages.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';

const PATIENCE_MS = 40_000;

describe('an agent that holds a channel', function () {
  this.timeout(120_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let daemon: Daemon | undefined;

  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const startAgent = async (options: Partial<AgentOptions> = {}): Promise<Daemon> => {
    await enrollInProcess(directory(), manager);
    daemon = await composeInProcess(directory(), { listenerPort: 0, ...options });
    await daemon.start();
    return daemon;
  };
  const reportsOf = (count: number) =>
    until(`${count} reports`, () => manager.reports.length >= count, PATIENCE_MS).then(() => manager.reports.length);
  const held = (count = 1) => until('a channel', () => manager.channels.size === count, PATIENCE_MS);
  const closeAll = (code: number, reason = '') => {
    for (const channel of manager.channels) channel.close(code, reason);
  };

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    manager.upgrades = 'channels';
  });

  afterEach(async () => {
    await daemon?.abort();
    daemon = undefined;
    await manager.close();
    folder.remove();
  });

  it('reports over it, shows it, and leaves it with its goodbye', async () => {
    const agent = await startAgent();
    await held();
    await until('it is online', () => agent.status().state === 'online', PATIENCE_MS);
    const connections = manager.connections;
    const { channel, settings, connectionMode } = agent.status();
    expect([channel.state, channel.detail, connectionMode]).to.deep.equal(['open', null, 'held']);
    expect(settings.applied).to.be.a('string');
    expect(manager.channelReports).to.equal(manager.reports.length);
    await agent.stop();
    expect(manager.reports.at(-1)?.report.goodbye).to.deep.equal({ reason: 'shutdown' });
    expect(manager.connections).to.equal(connections);
    await held(0);
  });

  it('begins an exchange at once when it is woken, and says so', async () => {
    await startAgent();
    await held();
    await until(
      'the beginning is over',
      () => manager.reports.at(-1)?.report.appliedFingerprint !== undefined,
      PATIENCE_MS,
    );
    const before = manager.reports.length;
    manager.setSettings({ heartbeatIntervalSeconds: 600 });
    manager.wake();
    await until('the new settings are in force', () => daemon?.intervalSeconds === 600, PATIENCE_MS);
    await reportsOf(before + 2);
    await until('the wake is answered', () => manager.dones === 1, PATIENCE_MS);
  });

  it('whose manager loses the answer repeats the very report over HTTPS, in the same attempt', async () => {
    await startAgent();
    await held();
    await until(
      'the beginning is over',
      () => manager.reports.at(-1)?.report.appliedFingerprint !== undefined,
      PATIENCE_MS,
    );
    const before = manager.reports.length;
    manager.faults.push({ kind: 'lose-reply' });
    manager.wake();
    await reportsOf(before + 2);
    const [first, second] = manager.reports.slice(before);
    expect(second?.body).to.equal(first?.body);
    expect(daemon?.status()).to.include({ state: 'online', lastError: null });
    await held();
    await until('a report over the new channel', () => manager.channelReports >= before + 2, PATIENCE_MS);
  });

  it('whose manager says nothing more finds another way within the same attempt', async () => {
    await startAgent();
    await held();
    await until(
      'the beginning is over',
      () => manager.reports.at(-1)?.report.appliedFingerprint !== undefined,
      PATIENCE_MS,
    );
    const before = manager.reports.length;
    manager.faults.push({ kind: 'silence' });
    manager.wake();
    await reportsOf(before + 2);
    expect(manager.reports[before + 1]?.body).to.equal(manager.reports[before]?.body);
    expect(daemon?.status()).to.include({ state: 'online', lastError: null });
  });

  it('returns when a restarting manager asked it to, and delivers by HTTPS until then', async () => {
    await startAgent();
    await held();
    await reportsOf(2);
    closeAll(1012, writeReturn(2500));
    const closedAt = performance.now();
    await held(0);
    expect(daemon?.status().channel).to.include({ state: 'closed' });
    await held();
    expect(performance.now() - closedAt).to.be.at.least(2400);
  });

  it('takes none for cut soon because the wall clock was set back meanwhile', async () => {
    const system = createSystemClock();
    let passed = 0;
    const clock = {
      ...system,
      monotonic: () => system.monotonic() + passed,
      wall: () => system.wall() - passed,
    };
    manager.setSettings({ heartbeatIntervalSeconds: 600 });
    const agent = await startAgent({ clock, random: { ...createSystemRandom(), fraction: () => 0.1 } });
    for (let life = 1; life <= SHORT_LIVES_UNTIL_FALLBACK; life += 1) {
      await until('it rests', () => agent.status().state === 'online' && agent.intervalSeconds === 600, PATIENCE_MS);
      await held();
      passed += SHORT_LIFE_MS;
      closeAll(1011);
      await held(0);
      await until('it knows', () => agent.status().channel.state !== 'open', PATIENCE_MS);
    }
    await held();
    expect(agent.status().channel.state).to.equal('open');
  });

  it('that is refused asks why by a request of its own', async () => {
    await startAgent();
    await held();
    const before = await reportsOf(2);
    manager.upgrades = 'none';
    manager.faults.push({ kind: 'problem', status: 403, code: 'computer-revoked' });
    closeAll(4403, 'computer-revoked');
    await until('it knows', () => daemon?.status().state === 'refused', PATIENCE_MS);
    expect(daemon?.status().lastError?.code).to.equal('computer-revoked');
    expect(manager.reports.length).to.equal(before);
  });

  it('holds none where the settings want none, nor once they want none any more', async () => {
    await startAgent();
    await held();
    manager.setSettings({ connectionMode: 'perHeartbeat' });
    manager.wake();
    await held(0);
    await until('it is told', () => daemon?.status().channel.state === 'off', PATIENCE_MS);
    expect(daemon?.status().connectionMode).to.equal('perHeartbeat');
    const before = manager.reports.length;
    await daemon?.stop();
    expect(manager.reports.length).to.be.greaterThan(before);
    expect(manager.channels.size).to.equal(0);
  });

  for (const upgrades of ['page', 'cut'] as const)
    it(`falls back to a connection for each heartbeat behind what lets no upgrade through (${upgrades}), and says so`, async () => {
      manager.upgrades = upgrades;
      const agent = await startAgent();
      await until('it fell back', () => agent.status().channel.state === 'fallback', 60_000);
      expect(agent.status()).to.include({ state: 'online', lastError: null });
      expect(agent.status().channel.detail).to.be.a('string');
      const seen = manager.reports.length;
      await agent.spool.append('control', { kind: 'x', severity: 'info', message: 'x' });
      await agent.stop();
      expect(manager.reports.length).to.be.greaterThan(seen);
      const parts = manager.reports.at(-1)?.report.components ?? [];
      const part = parts.find(({ name }) => name === 'channel');
      expect(part).to.include({ kind: 'agentPart', state: 'unknown' });
      expect(part?.detail).to.contain('each heartbeat opens a connection');
    });
});
