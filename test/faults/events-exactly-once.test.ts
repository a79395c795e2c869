import { expect } from 'chai';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { enrollAgent, runAgentCli, startAgent, type RunningAgent } from '../support/agent-cli.js';
import { faultsOfEvents, listAll, type ListedEvent } from '../support/event-ledger.js';
import {
  ADMIN_PASSWORD,
  keptPorts,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const EVENTS = 10_000;
const PER_CALL = 2_500;

describe(`${EVENTS} events emitted while the manager is down, with kill -9 of both sides`, function () {
  this.timeout(600_000);
  const root = makeDataDir();
  const agentDir = join(root, 'agent');
  let manager: ManagerProcess;
  let agent: RunningAgent;
  let env: Record<string, string>;
  let computerId: string;

  before(async () => {
    env = await keptPorts();
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const { items } = await manager.api.get<{ items: { id: string }[] }>('/policies');
    const policyId = items[0]?.id ?? '';
    await manager.api.patch(`/policies/${policyId}/settings`, {
      heartbeatIntervalSeconds: 5,
      // They occur at once, and are all wanted within the drill.
      eventRateLimitPerMinute: 100_000,
    });
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', {
      policyId,
      uses: 1,
      expiresInSeconds: 600,
    });
    computerId = await enrollAgent(agentDir, { manager: manager.agentUrl, token, name: 'web1' });
    agent = startAgent(agentDir);
  });

  after(async () => {
    await agent?.kill('SIGKILL');
    await manager?.stop();
    removeDataDir(root);
  });

  it('lists each of them exactly once', async () => {
    await eventually(
      'the agent is online',
      async () => (await manager.api.get<{ status: string }>(`/computers/${computerId}`)).status === 'online',
    );
    manager.kill('SIGKILL');
    await manager.ended;
    for (let call = 0; call < EVENTS / PER_CALL; call += 1) await emit(call);
    await agent.kill('SIGKILL');
    agent = startAgent(agentDir);
    for (let round = 0; round < 3; round += 1) {
      manager = await startManager({ dataDir: manager.dataDir, env });
      await delay(400 + 400 * round);
      await agent.kill('SIGKILL');
      agent = startAgent(agentDir);
      await delay(300);
      manager.kill('SIGKILL');
      await manager.ended;
    }
    manager = await startManager({ dataDir: manager.dataDir, env });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const events = await eventually('all events arrived', allArrived, 180_000);
    const canaries = events.filter(({ message }) => message.startsWith('canary-'));
    expect(canaries).to.have.length(EVENTS);
    expect(new Set(canaries.map(({ lane, epoch, sequence }) => `${lane}/${epoch}/${sequence}`)).size).to.equal(EVENTS);
    expect(faultsOfEvents(events)).to.deep.equal([]);
  });

  async function emit(call: number): Promise<void> {
    const args = [
      'emit',
      '--dir',
      agentDir,
      '--kind',
      'log',
      '--severity',
      'info',
      '--message',
      `canary-${call}`,
      '--count',
      String(PER_CALL),
    ];
    const answer = await eventually('emit is accepted', async () => {
      const one = await runAgentCli(args);
      return one.code === 0 ? one : undefined;
    });
    expect(JSON.parse(answer.stdout)).to.include({ lane: 'log' });
  }

  async function allArrived(): Promise<ListedEvent[] | undefined> {
    const events = await listAll<ListedEvent>(manager.api, `/computers/${computerId}/events`);
    return events.filter(({ message }) => message.startsWith('canary-')).length >= EVENTS ? events : undefined;
  }
});
