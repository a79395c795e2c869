import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { enrollAgent, runAgentCli, startAgent, type RunningAgent } from '../support/agent-cli.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

interface Computer {
  readonly status: string;
  readonly statusReason: string;
  readonly statusSince: string;
  readonly lastSeenAt: string;
  readonly offlineAt: string | null;
  readonly settingsState: string;
  readonly fingerprint: { readonly desired: string; readonly applied: string };
  readonly flags: readonly string[];
}

interface Alert {
  readonly id: string;
  readonly type: string;
  readonly state: string;
  readonly raisedAt: string;
  readonly closedAt: string | null;
  readonly reason: string;
}

interface EffectiveSettings {
  readonly settings: Record<string, { value: unknown; inherited: boolean; source: { kind: string; name?: string } }>;
}

describe('the main job', function () {
  this.timeout(120_000);
  const root = makeDataDir();
  const agentDir = join(root, 'agent');
  let manager: ManagerProcess;
  let agent: RunningAgent;
  let policyId: string;
  let baseId: string;
  let computerId: string;

  const computer = () => manager.api.get<Computer>(`/computers/${computerId}`);
  const alerts = async (state: string) =>
    (await manager.api.get<{ items: Alert[] }>(`/alerts?computerId=${computerId}&state=${state}`)).items;
  const isOnline = async () => ((await computer()).status === 'online' ? computer() : undefined);

  before(async () => {
    manager = await startManager({ dataDir: join(root, 'manager'), isFirstStart: true });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const policies = await manager.api.get<{ items: { id: string; name: string }[] }>('/policies');
    baseId = policies.items.find(({ name }) => name === 'Base Policy')?.id ?? '';
    policyId = (await manager.api.post<{ id: string }>('/policies', { name: 'Servers', parentId: baseId })).id;
  });

  after(async () => {
    await agent?.kill('SIGKILL');
    await manager?.stop();
    removeDataDir(root);
  });

  it('enrolls this machine with a token', async () => {
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', {
      policyId,
      uses: 1,
      expiresInSeconds: 600,
    });
    computerId = await enrollAgent(agentDir, { manager: manager.agentUrl, token, name: 'web1' });
    expect((await computer()).status).to.equal('pending');
    const again = await runAgentCli(['status', '--dir', agentDir, '--json']);
    expect(JSON.parse(again.stdout)).to.include({ computerId, name: 'web1' });
  });

  it('shows the agent online with facts and counters of this machine', async () => {
    await manager.api.patch(`/policies/${baseId}/settings`, { heartbeatIntervalSeconds: 5, heartbeatGraceSeconds: 1 });
    agent = startAgent(agentDir);
    await eventually('the agent is online', isOnline);
    const { facts, counters, components, agentVersion } = await eventually('the counters are stored', async () => {
      const shown = await manager.api.get<Record<string, unknown>>(`/computers/${computerId}`);
      return shown['counters'] === null ? undefined : shown;
    });
    expect(JSON.stringify(facts)).to.include('kernel');
    expect(JSON.stringify(counters)).to.match(/"memory/);
    expect(components).to.be.an('array').that.is.not.empty;
    expect(agentVersion).to.be.a('string');
    await eventually('the status command is in contact', async () => {
      const { code, stdout } = await runAgentCli(['status', '--dir', agentDir, '--json']);
      return code === 0 && (JSON.parse(stdout) as { state: string }).state !== 'stopped';
    });
  });

  it('applies an edit of the parent at the next heartbeat and names its source', async () => {
    await manager.api.patch(`/policies/${baseId}/settings`, { heartbeatIntervalSeconds: 6 });
    const applied = await eventually('the edit is applied', async () => {
      const { settingsState, fingerprint } = await computer();
      return settingsState === 'applied' && fingerprint.desired === fingerprint.applied ? fingerprint : undefined;
    });
    expect(applied.applied).to.match(/^[0-9a-f]{64}$/);
    const effective = await manager.api.get<EffectiveSettings>(`/computers/${computerId}/settings`);
    expect(effective.settings['heartbeatIntervalSeconds']).to.deep.include({ value: 6, inherited: true });
    expect(effective.settings['heartbeatIntervalSeconds']?.source).to.include({ kind: 'policy', name: 'Base Policy' });
  });

  it('takes events from any local program, once each and in order', async () => {
    const emitted = await runAgentCli([
      'emit',
      '--dir',
      agentDir,
      '--kind',
      'detection',
      '--severity',
      'high',
      '--message',
      'canary',
      '--count',
      '25',
    ]);
    expect(emitted.code, emitted.stderr).to.equal(0);
    expect(JSON.parse(emitted.stdout)).to.include({ lane: 'detection' });
    const sequences = await eventually('the events are listed', async () => {
      const { items } = await manager.api.get<{ items: { message: string; sequence: number }[] }>(
        `/computers/${computerId}/events?limit=500`,
      );
      const mine = items.filter(({ message }) => message === 'canary').map(({ sequence }) => sequence);
      return mine.length >= 25 ? mine : undefined;
    });
    expect(new Set(sequences).size).to.equal(25);
    expect(sequences).to.have.length(25);
  });

  it('raises one alert at the deadline after the agent is killed', async () => {
    await manager.api.patch(`/policies/${policyId}/settings`, { heartbeatsMissedAllowed: 1 });
    await agent.kill('SIGKILL');
    const [alert] = await eventually('the alert is raised', async () => {
      const open = await alerts('raised');
      return open.some(({ type }) => type === 'computer-offline') ? open : undefined;
    });
    const offline = await computer();
    expect(offline.status).to.equal('offline');
    expect(alert).to.include({ type: 'computer-offline', raisedAt: offline.offlineAt });
    const silence = Date.parse(offline.offlineAt ?? '') - Date.parse(offline.lastSeenAt);
    expect(silence).to.equal(2 * 6_000 + 1_000);
  });

  it('resolves the alert when the agent returns', async () => {
    agent = startAgent(agentDir);
    await eventually('the agent is back', isOnline);
    expect(await alerts('raised')).to.deep.equal([]);
    const [resolved] = await alerts('resolved');
    expect(resolved?.closedAt).to.be.a('string');
  });

  it('gives the goodbye as the reason of a normal deadline', async () => {
    await agent.kill('SIGTERM');
    const offline = await eventually('the computer is offline', async () => {
      const now = await computer();
      return now.status === 'offline' ? now : undefined;
    });
    expect(offline.statusReason).to.equal('goodbye-shutdown');
  });

  it('stops cleanly at SIGTERM and starts again with what it knew', async () => {
    await manager.stop();
    expect(await manager.ended).to.equal(0);
    expect(existsSync(join(root, 'manager', 'run.json'))).to.equal(false);
    manager = await startManager({ dataDir: join(root, 'manager') });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    expect((await computer()).status).to.equal('offline');
  });
});
