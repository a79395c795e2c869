import { expect } from 'chai';
import { join } from 'node:path';

import type { AgentOptions } from '../../../agent/agent-options.js';
import type { Daemon } from '../../../agent/daemon.js';
import { dataDirectory } from '../../../agent/data-directory.js';
import { CANDIDATE_LIMIT_MS, SHORTEST_FALLBACK_MS } from '../../../agent/direction-rules.js';
import { createSystemClock, type Clock } from '../../../lib/clock.js';
import { settingsDocument } from '../../../policies/fingerprint.js';
import type { CommunicationDirection } from '../../../policies/setting-values.js';
import { FakeManager } from '../../support/agent-fake-manager.js';
import { composeInProcess, enrollInProcess } from '../../support/agent-in-process.js';
import { temporaryFolder, until } from '../../support/agent-process.js';
import { freePort, isListening, occupy } from '../../support/free-port.js';
import { dial, type DialledExchange } from '../../support/listener-dialer.js';

const system = createSystemClock();

interface JumpingClock extends Clock {
  jump(ms: number): void;
  isSleeping(ms: number): boolean;
}

/** The machine's clocks, whose boot clock can be set on: that wakes who sleeps. */
function jumpingClock(): JumpingClock {
  let ahead = 0;
  let jumped = new AbortController();
  const sleeping: number[] = [];
  return {
    wall: () => system.wall() + ahead,
    monotonic: () => system.monotonic(),
    boot: () => system.boot() + ahead,
    async sleep(ms, signal) {
      const { signal: wake } = jumped;
      const either = signal ? AbortSignal.any([wake, signal]) : wake;
      sleeping.push(ms);
      try {
        await system.sleep(ms, either);
      } catch (error) {
        if (!wake.aborted || signal?.aborted) throw error;
      } finally {
        sleeping.splice(sleeping.indexOf(ms), 1);
      }
    },
    isSleeping: (ms) => sleeping.includes(ms),
    jump(ms) {
      ahead += ms;
      jumped.abort();
      jumped = new AbortController();
    },
  };
}

describe('the directions of an agent', function () {
  this.timeout(20_000);
  let folder: ReturnType<typeof temporaryFolder>;
  let manager: FakeManager;
  let daemon: Daemon;
  let port: number;
  let clock: ReturnType<typeof jumpingClock>;

  const directory = () => dataDirectory(join(folder.path, 'web1'));
  const enrollWeb1 = () => enrollInProcess(directory(), manager);
  const startAgent = async (options: Partial<AgentOptions> = {}): Promise<Daemon> => {
    daemon = await composeInProcess(directory(), { clock, listenerPort: port, ...options });
    await daemon.start();
    return daemon;
  };
  const inContact = () => until('it was in contact', () => daemon.status().state === 'online');
  const direct = (direction: CommunicationDirection) => manager.setSettings({ communicationDirection: direction });
  /** Until the agent is in no other exchange. */
  const dialAt = async (at: number): Promise<DialledExchange> => {
    let exchange: DialledExchange | undefined;
    await until('the agent is free', async () => {
      exchange = await dial(manager, { port: at, computerId: daemon.computerId });
      return exchange.status !== 409;
    });
    return exchange!;
  };
  const dialIt = () => dialAt(daemon.status().listener.port ?? port);
  const desired = () => settingsDocument(manager.settings).fingerprint;
  const controlEvents = () => manager.events('control').map(({ kind }) => kind);
  const byAgent = () => manager.reports.filter(({ dialledBy }) => dialledBy === 'agent').length;
  const isOpen = () => isListening(port);

  beforeEach(async () => {
    folder = temporaryFolder();
    manager = await FakeManager.start(folder.path);
    port = await freePort();
    clock = jumpingClock();
  });

  afterEach(async () => {
    await daemon.abort();
    await manager.close();
    folder.remove();
  });

  /** Bidirectional, then told to wait for its manager, which proves that it can dial. */
  const becomeManagerInitiated = async (): Promise<void> => {
    await enrollWeb1();
    await startAgent();
    await inContact();
    direct('managerInitiated');
    await dialIt();
    await dialIt();
    expect(daemon.status().direction).to.equal('managerInitiated');
  };

  it('agentInitiated from the enrollment on: nothing ever listens', async () => {
    manager.tellsSettings = true;
    direct('agentInitiated');
    await enrollWeb1();
    await startAgent();
    await inContact();
    expect(await isOpen()).to.equal(false);
    expect(daemon.status()).to.deep.include({ direction: 'agentInitiated', listener: CLOSED });
    const { report } = manager.reports[0]!;
    expect(report).to.deep.include({ direction: 'agentInitiated', listener: { state: 'closed' } });
    expect(report.components.map(({ name }) => name)).to.not.include('listener');
    expect(report.appliedFingerprint).to.equal(desired());
  });

  it('managerInitiated from the enrollment on: it listens, is proven by the first dial, and never dials', async () => {
    manager.tellsSettings = true;
    manager.setSettings({ communicationDirection: 'managerInitiated', listenerPort: port });
    await enrollWeb1();
    const dials = manager.dials;
    await startAgent();
    expect(daemon.status().settings.candidate).to.equal(desired());
    const { reports, status } = await dialIt();
    expect(status).to.equal(204);
    expect(reports.map(({ candidate }) => candidate?.state)).to.deep.equal(['proving', undefined]);
    expect(reports[0]!.candidate).to.include({ fingerprint: desired(), direction: 'managerInitiated', port });
    expect(reports[1]).to.include({ direction: 'managerInitiated', appliedFingerprint: desired() });
    await daemon.stop();
    expect(manager.dials).to.equal(dials);
    await startAgent();
    expect((await dialIt()).reports[0]).to.include({ direction: 'managerInitiated', appliedFingerprint: desired() });
    expect(manager.dials).to.equal(dials);
  });

  it('managerInitiated from the enrollment on, on a port that its manager cannot know: it dials once to tell it', async () => {
    manager.tellsSettings = true;
    direct('managerInitiated');
    await enrollWeb1();
    await startAgent();
    await inContact();
    expect(manager.reports[0]!.report.candidate).to.include({ fingerprint: desired(), state: 'proving', port });
    await dialIt();
    expect(daemon.status().direction).to.equal('managerInitiated');
    expect(byAgent()).to.equal(1);
  });

  it('managerInitiated from the enrollment on, but nobody dials: it is reverted at the deadline and dials', async () => {
    manager.tellsSettings = true;
    manager.setSettings({ communicationDirection: 'managerInitiated', listenerPort: port });
    await enrollWeb1();
    const dials = manager.dials;
    await startAgent();
    clock.jump(CANDIDATE_LIMIT_MS - 1000);
    expect(manager.dials).to.equal(dials);
    clock.jump(1001);
    await inContact();
    const { report } = manager.reports.at(-1)!;
    expect(report.direction).to.equal('bidirectional');
    expect(report.candidate).to.include({ fingerprint: desired(), state: 'reverted', reason: 'not-dialled' });
    expect(controlEvents()).to.include('settings-reverted');
  });

  it('to managerInitiated: other settings at once, the direction after a dial, the old way meanwhile', async () => {
    await enrollWeb1();
    await startAgent();
    await inContact();
    manager.setSettings({ communicationDirection: 'managerInitiated', heartbeatIntervalSeconds: 30 });
    const first = await dialIt();
    expect(first.reports.map(({ candidate }) => candidate?.state)).to.deep.equal([undefined, 'proving', undefined]);
    expect(first.reports[1]).to.include({ intervalSeconds: 30, direction: 'bidirectional' });
    expect(first.reports[1]!.appliedFingerprint).to.not.equal(desired());
    expect(first.reports[2]).to.include({ direction: 'managerInitiated', appliedFingerprint: desired() });
    await dialIt();
    expect(controlEvents()).to.include.members(['settings-applied', 'direction-changed']);
    expect(daemon.status().settings).to.deep.equal({ applied: desired(), candidate: null });
  });

  it('to managerInitiated, delivered over its own dial: that proves nothing', async () => {
    direct('managerInitiated');
    await enrollWeb1();
    await startAgent();
    await until('it told', () => manager.reports.at(-1)?.report.candidate !== undefined);
    expect(manager.reports.at(-1)!.report.candidate).to.deep.include({ state: 'proving', port });
    expect(daemon.status().direction).to.equal('bidirectional');
    expect((await dialIt()).status).to.equal(204);
    expect(daemon.status().direction).to.equal('managerInitiated');
  });

  it('a candidate that nobody proves is reverted and reported once; the same are tried again only when asked', async () => {
    manager.commits = false;
    direct('managerInitiated');
    await enrollWeb1();
    await startAgent();
    const told = (state: string) => until(`it told ${state}`, () => lastCandidate()?.state === state);
    const lastCandidate = () => manager.reports.at(-1)?.report.candidate;
    await told('proving');
    clock.jump(CANDIDATE_LIMIT_MS + 1);
    await told('reverted');
    const contacts = manager.reports.length;
    const { report } = manager.reports.at(-1)!;
    expect(report.candidate).to.include({ state: 'reverted', reason: 'not-dialled', direction: 'managerInitiated' });
    manager.faults.push({ kind: 'orders', orders: { settings: orderOf(manager) } });
    clock.jump(60_000);
    await until('they were offered again', () => manager.faults.length === 0);
    clock.jump(60_000);
    await until('another contact', () => manager.reports.length > contacts + 1);
    expect(daemon.status().settings.candidate).to.equal(null);
    expect(controlEvents().filter((kind) => kind === 'settings-reverted')).to.have.length(1);
    manager.faults.push({ kind: 'orders', orders: { settings: orderOf(manager), retryCandidate: 'a'.repeat(64) } });
    clock.jump(60_000);
    await until('others are to be tried again', () => manager.faults.length === 0);
    clock.jump(60_000);
    await until('another contact', () => manager.reports.length > contacts + 3);
    expect(daemon.status().settings.candidate).to.equal(null);
    manager.faults.push({ kind: 'orders', orders: { settings: orderOf(manager), retryCandidate: desired() } });
    clock.jump(60_000);
    await told('proving');
    manager.commits = true;
    expect((await dialIt()).status).to.equal(204);
    expect(daemon.status().direction).to.equal('managerInitiated');
  });

  it('to managerInitiated with a port that is taken: reverted at once, in the same exchange', async () => {
    manager.tellsSettings = true;
    direct('agentInitiated');
    await enrollWeb1();
    await startAgent();
    await inContact();
    const other = await occupy(port);
    try {
      direct('managerInitiated');
      clock.jump(60_000);
      await until('it told', () => manager.reports.at(-1)!.report.candidate?.state === 'reverted');
      const { candidate } = manager.reports.at(-1)!.report;
      expect(candidate).to.include({ reason: 'listener-failed', direction: 'managerInitiated' });
      expect(candidate!.detail).to.contain('EADDRINUSE');
      expect(daemon.status().direction).to.equal('agentInitiated');
    } finally {
      other.close();
    }
  });

  for (const direction of ['bidirectional', 'agentInitiated'] as const)
    it(`from managerInitiated to ${direction}: it dials at once, and that is the commit`, async () => {
      await becomeManagerInitiated();
      const before = byAgent();
      direct(direction);
      const { reports } = await dialIt();
      expect(reports.at(-1)!.candidate).to.include({ fingerprint: desired(), direction, state: 'proving' });
      await until('it dialled', () => daemon.status().direction === direction);
      expect(byAgent()).to.be.greaterThan(before);
      await until('it told', () => manager.reports.at(-1)!.report.direction === direction);
      expect(manager.reports.at(-1)!.report.appliedFingerprint).to.equal(desired());
    });

  it('after managerInitiated the listener stays open for two intervals, then nothing listens', async () => {
    await becomeManagerInitiated();
    direct('agentInitiated');
    await dialIt();
    await until('it dialled', () => daemon.status().direction === 'agentInitiated');
    expect((await dialIt()).status).to.equal(204);
    clock.jump(2 * 60_000 + 1);
    await until('it is closed', async () => !(await isOpen()));
    expect(daemon.status().listener).to.deep.equal(CLOSED);
  });

  it('from managerInitiated to a manager that cannot be reached: reverted, and it still listens', async () => {
    await becomeManagerInitiated();
    await manager.close();
    direct('bidirectional');
    const { reports } = await dialIt();
    expect(reports.at(-1)!.candidate?.state).to.equal('proving');
    clock.jump(CANDIDATE_LIMIT_MS + 1);
    await until('it gave up', () => daemon.status().settings.candidate === null);
    const again = await dialIt();
    expect(again.reports.at(-1)!.candidate).to.include({ state: 'reverted', reason: 'manager-not-reached' });
    expect(daemon.status().direction).to.equal('managerInitiated');
  });

  it('a restart before the commit resumes the old way and forgets the candidate', async () => {
    manager.commits = false;
    direct('managerInitiated');
    await enrollWeb1();
    await startAgent();
    await until('it is proving', () => daemon.status().settings.candidate === desired());
    await daemon.abort();
    const before = manager.reports.length;
    await startAgent();
    await until('it reported', () => manager.reports.length > before);
    expect(daemon.status().direction).to.equal('bidirectional');
    expect(manager.reports[before]!.report.direction).to.equal('bidirectional');
  });

  it('under managerInitiated it says no goodbye, and dials once when nobody dialled for an hour', async () => {
    await becomeManagerInitiated();
    const before = byAgent();
    clock.jump(SHORTEST_FALLBACK_MS / 2);
    expect((await dialIt()).status).to.equal(204);
    expect(byAgent()).to.equal(before);
    clock.jump(SHORTEST_FALLBACK_MS + 1);
    await until('it dialled', () => byAgent() > before);
    const after = byAgent();
    await daemon.stop();
    expect(byAgent()).to.equal(after);
  });

  describe('under managerInitiated, started with a listener that its manager does not know,', () => {
    let before: number;
    let next: number;

    beforeEach(async () => {
      await becomeManagerInitiated();
      await daemon.stop();
      before = byAgent();
      next = await freePort();
    });
    const hasTold = () => until('it told', () => byAgent() > before);

    it('it dials once at once to tell it, and knows that after a restart', async () => {
      const { dials } = manager;
      await startAgent({ listenerPort: next });
      await hasTold();
      expect(manager.reports.at(-1)!.report.listener).to.deep.equal({ state: 'listening', port: next });
      expect((await dialAt(next)).status).to.equal(204);
      clock.jump(SHORTEST_FALLBACK_MS / 2);
      expect((await dialAt(next)).status).to.equal(204);
      await daemon.stop();
      await startAgent({ listenerPort: next });
      expect((await dialAt(next)).status).to.equal(204);
      expect(manager.dials).to.equal(dials + 1);
    });

    it('it says once that it cannot bind its port, also over a restart, and tells it once it could', async () => {
      const { dials } = manager;
      port = next;
      const other = await occupy(port);
      try {
        await startAgent();
        await hasTold();
        const { listener } = manager.reports.at(-1)!.report;
        expect(listener).to.include({ state: 'failed' });
        expect(listener!.detail).to.contain('EADDRINUSE');
        await inContact();
        await daemon.stop();
        await startAgent();
        await until('its heartbeat loop waits', () => clock.isSleeping(30_000));
        expect(manager.dials).to.equal(dials + 1);
        expect(daemon.status().listener.state).to.equal('failed');
        clock.jump(SHORTEST_FALLBACK_MS / 2);
      } finally {
        await new Promise((resolve) => other.close(resolve));
      }
      await until('it told', () => manager.reports.at(-1)!.report.listener?.state === 'listening');
      expect(manager.reports.at(-1)!.report.listener).to.deep.equal({ state: 'listening', port: next });
      expect(manager.dials).to.equal(dials + 2);
    });

    it('it tries again while its manager is away', async () => {
      await manager.close();
      await startAgent({ listenerPort: next });
      await until('it tried', () => daemon.status().state === 'retrying');
      await manager.listen();
      clock.jump(60_000);
      await hasTold();
      expect((await dialAt(next)).status).to.equal(204);
    });
  });

  it('under managerInitiated another port is proven before the old one is closed', async () => {
    await enrollWeb1();
    const [old, next] = [await freePort(), await freePort()];
    daemon = await composeInProcess(directory(), { clock, firstDirection: 'agentInitiated' });
    manager.setSettings({ communicationDirection: 'managerInitiated', listenerPort: old });
    await daemon.start();
    await until('it is proving', () => daemon.status().settings.candidate === desired());
    await dialAt(old);
    expect(daemon.status()).to.deep.include({ direction: 'managerInitiated', listener: listening(old) });
    manager.setSettings({ listenerPort: next });
    const told = await dialAt(old);
    expect(told.reports.at(-1)!.candidate).to.include({ state: 'proving', port: next });
    expect(daemon.status().listener).to.deep.equal(listening(old));
    const proof = await dialAt(next);
    expect(proof.reports.at(-1)).to.include({ appliedFingerprint: desired() });
    expect(daemon.status().listener).to.deep.equal(listening(next));
    expect((await dialAt(old)).status).to.equal(204);
    clock.jump(2 * 60_000 + 1);
    port = old;
    await until('the old one is closed', async () => !(await isOpen()));
  });

  it('three agents of one host: two cannot bind, go on dialling, and say so calmly', async () => {
    const other = await occupy(port);
    try {
      await enrollWeb1();
      await startAgent();
      await inContact();
      const { report } = manager.reports.at(-1)!;
      expect(report.listener!.state).to.equal('failed');
      expect(report.listener!.detail).to.contain(String(port));
      expect(report.components.find(({ name }) => name === 'listener')).to.include({ state: 'offline' });
      for (let beat = 0; beat < 5; beat += 1) {
        const before = manager.reports.length;
        clock.jump(60_000);
        await until('the next heartbeat', () => manager.reports.length > before);
      }
      const told = manager.events('control').filter(({ kind }) => kind === 'listener-failed');
      expect(told.map(({ severity }) => severity)).to.deep.equal(['info']);
      // A jump of the clock can cut a look at the machine short.
      const down = manager.events('control').filter(({ kind }) => kind === 'component-down');
      expect(down.map(({ message }) => message)).to.not.include('listener is offline');
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
    clock.jump(300_000);
    await until('it listens once it can', () => daemon.status().listener.state === 'listening');
  });
});

const CLOSED = { state: 'closed', port: null, detail: null };
const listening = (port: number) => ({ state: 'listening', port, detail: null });

function orderOf(manager: FakeManager) {
  const { json, fingerprint } = settingsDocument(manager.settings);
  return {
    json,
    fingerprint,
    generation: { epoch: '22222222-2222-4222-8222-222222222222', counter: manager.generation },
  };
}
