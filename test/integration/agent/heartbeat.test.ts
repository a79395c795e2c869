import { expect } from 'chai';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { AgentOptions } from '../../../agent/agent-options.js';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory } from '../../../agent/data-directory.js';
import { createSystemClock } from '../../../lib/clock.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';

describe('an agent and its manager', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let daemon: Daemon | undefined;

  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const enrollWeb1 = () => enrollInProcess(directory(), manager);
  const startAgent = async (options: Partial<AgentOptions> = {}): Promise<Daemon> => {
    daemon = await composeInProcess(directory(), { listenerPort: 0, ...options });
    await daemon.start();
    return daemon;
  };

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
  });

  afterEach(async () => {
    await daemon?.abort();
    daemon = undefined;
    await manager.close();
    folder.remove();
  });

  it('enrolls once and answers the same when asked again after a lost reply', async () => {
    manager.faults.push({ kind: 'lose-reply' });
    await enrollWeb1().then(
      () => expect.fail('the reply was lost'),
      (error: { code?: string }) => expect(error.code).to.equal('reset'),
    );
    const first = await enrollWeb1();
    const again = await enrollWeb1();
    expect(manager.enrolled.size).to.equal(1);
    expect(again.computerId).to.equal(first.computerId);
    for (const name of readdirSync(directory().path))
      expect(statSync(join(directory().path, name)).mode & 0o77, name).to.equal(0);
  });

  it('enrolls anew with the same key when a crash left the identity unwritten', async () => {
    const first = await enrollWeb1();
    rmSync(directory().identityFile);
    const again = await enrollWeb1();
    expect(again.computerId).to.equal(first.computerId);
    expect(manager.enrolled.size).to.equal(1);
  });

  it('tells a clock that was set while it was away once, however often it is started before it is heard', async () => {
    const system = createSystemClock();
    const clock = { ...system, wall: () => system.wall() + aheadMs };
    let aheadMs = 0;
    await enrollWeb1();
    const run = () => startAgent({ clock, clockDetection: true });
    const first = await run();
    await until('it was in contact', () => first.status().state === 'online');
    await first.abort();
    await manager.close();
    aheadMs = 10_000;
    for (let starts = 0; starts < 3; starts += 1) await (await run()).abort();
    await manager.listen();
    const last = await run();
    await until('it is heard again', () => last.status().state === 'online');
    expect(manager.events('control').filter(({ kind }) => kind === 'clock-changed')).to.have.length(1);
  });

  it('sends nothing to a manager whose root the token does not name', async () => {
    const stranger = await FakeManager.start(join(folder.path, 'stranger'));
    try {
      await enrollInProcess(directory(), { url: stranger.url, token: manager.token }).then(
        () => expect.fail('enrolled at a stranger'),
        (error: { code?: string }) => expect(error.code).to.equal('tls-unknown-ca'),
      );
      expect(stranger.dials).to.equal(1);
      expect(stranger.bytesReceived).to.equal(0);
    } finally {
      await stranger.close();
    }
  });

  it('sends no heartbeat to a stranger on the address of its manager', async () => {
    await enrollWeb1();
    await manager.close();
    const stranger = await FakeManager.start(join(folder.path, 'stranger'));
    try {
      const identity = JSON.parse(readFileSync(directory().identityFile, 'utf8')) as object;
      writeFileSync(directory().identityFile, JSON.stringify({ ...identity, managerUrls: [stranger.url] }));
      const agent = await startAgent();
      await until('two attempts', () => stranger.dials >= 2);
      await until('the error shows', () => agent.status().lastError?.code === 'tls-unknown-ca');
      expect(stranger.bytesReceived).to.equal(0);
    } finally {
      await daemon?.abort();
      await stranger.close();
    }
  });

  it('heartbeats, applies settings within the exchange and confirms them', async () => {
    manager.setSettings({ heartbeatIntervalSeconds: 7 });
    await enrollWeb1();
    const agent = await startAgent();
    await until('settings are confirmed', () => manager.reports.length >= 2 && agent.status().state === 'online');
    // Enrollment, an upgrade that this manager wants none of, and both reports.
    expect(manager.connections).to.equal(3);
    const [first, second] = manager.reports.map(({ report }) => report);
    expect(first?.facts).to.be.an('object');
    expect(first?.appliedFingerprint).to.equal(undefined);
    expect(second?.intervalSeconds).to.equal(7);
    expect(second?.appliedFingerprint).to.equal(agent.status().settings.applied);
    expect(second?.facts).to.equal(undefined);
    expect(second?.identityToken).to.equal('token-1');
    expect(second?.sequence).to.equal(first!.sequence + 1);
    expect(manager.events('control').map(({ kind }) => kind)).to.deep.equal(['agent-started', 'settings-applied']);
    expect(agent.status().clockOffsetMs).to.be.closeTo(0, 2000);
  });

  it('resumes its TLS session and waits as ordered', async () => {
    manager.intervalMs = 300;
    await enrollWeb1();
    await startAgent();
    await until('five reports', () => manager.reports.length >= 5);
    expect(manager.reports.slice(2).every(({ resumed }) => resumed)).to.equal(true);
  });

  it('says goodbye when stopped', async () => {
    await enrollWeb1();
    const agent = await startAgent();
    await until('online', () => agent.status().state === 'online');
    await agent.stop();
    expect(manager.reports.at(-1)?.report.goodbye).to.deep.equal({ reason: 'shutdown' });
    expect(manager.events('control').at(-1)?.kind).to.equal('agent-stopped');
  });

  it('repeats exactly the stored report after a lost reply and after a kill', async () => {
    await enrollWeb1();
    manager.faults.push({ kind: 'lose-reply' });
    let agent = await startAgent();
    await until('a report arrived', () => manager.reports.length === 1);
    await agent.abort();
    agent = await startAgent();
    await until('it was repeated and a fresh one followed', () => manager.reports.length >= 3);
    expect(manager.reports[1]?.body).to.equal(manager.reports[0]?.body);
    expect(manager.reports[2]?.report.instanceId).to.not.equal(manager.reports[1]?.report.instanceId);
    expect(manager.events('control').filter(({ kind }) => kind === 'agent-started')).to.have.length(2);
  });

  it('delivers a backlog within one exchange, each event once, sequences consecutive', async () => {
    await enrollWeb1();
    await manager.close();
    const agent = await startAgent();
    await agent.spool.append('log', { kind: 'log', severity: 'info', message: 'entry' }, 3500);
    await agent.spool.append('detection', { kind: 'detection', severity: 'high', message: 'found' }, 2);
    await manager.listen();
    await until('all arrived', () => manager.events('log').length === 3500, 15_000);
    expect(manager.reports[0]?.report.lanes.find(({ lane }) => lane === 'detection')?.events).to.have.length(2);
    expect(manager.events('log').map(({ sequence }) => sequence)).to.deep.equal(
      Array.from({ length: 3500 }, (_, index) => index),
    );
    await until('acknowledged', () => agent.status().spool.lanes.log.acknowledged === 3499);
    expect(agent.status().spool.bytes).to.equal(0);
  });

  it('gives up a batch that the manager refuses, counts it, and goes on', async () => {
    await enrollWeb1();
    const agent = await startAgent();
    await until('online', () => agent.status().state === 'online');
    await agent.spool.append('log', { kind: 'log', severity: 'info', message: 'poison' }, 3);
    manager.faults.push({
      kind: 'problem',
      status: 400,
      code: 'request-invalid',
      errors: [{ pointer: '#/lanes/2/events/0/message', detail: 'x' }],
    });
    await agent.stop();
    const gap = manager.events('control').find(({ kind }) => kind === 'spool-gap');
    expect(gap?.data).to.include({ lane: 'log', from: 0, to: 2, count: 3 });
    expect(manager.events('log')).to.deep.equal([]);
    expect(manager.events('control').map(({ kind }) => kind)).to.include('agent-stopped');
    expect(manager.reports.at(-1)?.report.goodbye).to.deep.equal({ reason: 'shutdown' });
  });

  it('shows that it was removed, keeps its identity and does not enroll again', async () => {
    await enrollWeb1();
    manager.faults.push({ kind: 'problem', status: 403, code: 'computer-removed' });
    const agent = await startAgent();
    await until('refused', () => agent.status().state === 'refused');
    expect(agent.status().lastError?.code).to.equal('computer-removed');
    expect(manager.enrolled.size).to.equal(1);
  });

  it('refuses settings of a lower generation and keeps the newer ones', async () => {
    manager.generation = 5;
    manager.intervalMs = 200;
    await enrollWeb1();
    const agent = await startAgent();
    await until('applied', () => agent.status().settings.applied !== null);
    const applied = agent.status().settings.applied;
    manager.settings = { ...manager.settings, heartbeatIntervalSeconds: 9 };
    manager.generation = 4;
    const before = manager.reports.length;
    await until('three more reports', () => manager.reports.length >= before + 3);
    expect(agent.status().settings.applied).to.equal(applied);
  });

  it('repairs a database that cannot be read, and keeps what is in it', async () => {
    await enrollWeb1();
    let agent = await startAgent();
    await until('online', () => agent.status().state === 'online');
    await agent.abort();
    writeFileSync(join(directory().store, 'CURRENT'), 'MANIFEST-none\n');
    agent = await startAgent();
    await until('told', () => manager.events('control').some(({ kind }) => kind === 'spool-repaired'));
    expect(agent.status().settings.applied).to.not.equal(null);
  });

  it('goes beyond what the manager has seen when its sequence is called older', async () => {
    await enrollWeb1();
    manager.faults.push({ kind: 'orders', orders: { effect: 'older' } });
    await startAgent();
    await until('a second report', () => manager.reports.length >= 2);
    const [first, second] = manager.reports.map(({ report }) => report.sequence);
    expect(second).to.be.greaterThan(first! + 1_000_000);
  });
});
