import { expect } from 'chai';
import { connect } from 'node:net';
import { join } from 'node:path';
import { enrollAgent, runAgentCli, startAgent, type RunningAgent } from '../support/agent-cli.js';
import { freePort } from '../support/free-port.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

interface Computer {
  readonly id: string;
  readonly status: string;
  readonly lastSeenAt: string | null;
  readonly settingsState: string;
  readonly fingerprint: { readonly desired: string; readonly applied: string | null };
  readonly communicationDirection: string;
  readonly carrierInUse: string;
  readonly listenerReachable: boolean | null;
  readonly lastDial: { readonly at: string; readonly result: string } | null;
}

interface Status {
  readonly state: string;
  readonly direction: string;
  readonly settings: { readonly applied: string | null; readonly candidate: string | null };
}

const DIRECTIONS = ['agentInitiated', 'managerInitiated', 'bidirectional'] as const;
type Direction = (typeof DIRECTIONS)[number];

/** Whether anything accepts connections on the port of this host. */
function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

describe('the three directions', function () {
  this.timeout(180_000);
  const root = makeDataDir();
  const agentDir = join(root, 'agent');
  const agents: RunningAgent[] = [];
  let manager: ManagerProcess;
  let policyId: string;
  let computerId: string;
  let port: number;

  const computer = (id = computerId) => manager.api.get<Computer>(`/computers/${id}`);
  const statusOf = async (dir = agentDir) =>
    JSON.parse((await runAgentCli(['status', '--dir', dir, '--json'])).stdout) as Status;
  const edit = (settings: object, policy = policyId) => manager.api.patch(`/policies/${policy}/settings`, settings);
  const alertsOf = async (id = computerId) =>
    (await manager.api.get<{ items: { type: string; state: string; reason: string }[] }>(`/alerts?computerId=${id}`))
      .items;

  async function enroll(dir: string, policy: string, name: string): Promise<string> {
    const request = { policyId: policy, uses: 1, expiresInSeconds: 600 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', request);
    return enrollAgent(dir, { manager: manager.agentUrl, token, name });
  }

  async function newPolicy(name: string, settings: object): Promise<string> {
    const { items } = await manager.api.get<{ items: { id: string; name: string }[] }>('/policies');
    const parentId = items.find((one) => one.name === 'Base Policy')?.id;
    return (await manager.api.post<{ id: string }>('/policies', { name, parentId, settings })).id;
  }

  const inForce = (direction: Direction, id = computerId, dir = agentDir) =>
    eventually(`${direction} is in force`, async () => {
      const shown = await computer(id);
      const { direction: own, settings } = await statusOf(dir);
      const isApplied = shown.settingsState === 'applied' && settings.candidate === null;
      return isApplied && own === direction && shown.communicationDirection === direction ? shown : undefined;
    });
  const heardAgain = (id = computerId) => {
    const asked = Date.now();
    return eventually('it is heard again', async () => {
      const shown = await computer(id);
      return Date.parse(shown.lastSeenAt ?? '') > asked ? shown : undefined;
    });
  };

  before(async () => {
    port = await freePort();
    manager = await startManager({ dataDir: join(root, 'manager') });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const settings = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 1, listenerPort: port };
    policyId = await newPolicy('Servers', { ...settings, communicationDirection: 'agentInitiated' });
    computerId = await enroll(agentDir, policyId, 'web1');
    agents.push(startAgent(agentDir));
  });

  after(async () => {
    for (const agent of agents) await agent.kill('SIGKILL');
    await manager?.stop();
    removeDataDir(root);
  });

  it('agentInitiated: the agent dials, and nothing listens', async () => {
    await inForce('agentInitiated');
    expect((await heardAgain()).carrierInUse).to.equal('https');
    expect(await isListening(port)).to.equal(false);
  });

  it('switches to managerInitiated: the manager dials, and only then the agent stops', async () => {
    await edit({ communicationDirection: 'managerInitiated' });
    await inForce('managerInitiated');
    expect(await isListening(port)).to.equal(true);
    const shown = await heardAgain();
    expect(shown).to.deep.include({ status: 'online', carrierInUse: 'listener', listenerReachable: true });
    expect(shown.lastDial?.result).to.equal('answered');
  });

  it('switches to bidirectional: an edit reaches the agent at once, not at its next heartbeat', async () => {
    await edit({ communicationDirection: 'bidirectional' });
    await inForce('bidirectional');
    await edit({ heartbeatIntervalSeconds: 3600 });
    await eventually('an hour is applied', async () => (await computer()).settingsState === 'applied');
    await edit({ heartbeatIntervalSeconds: 3599 });
    await eventually('an edit does not wait for the hour', async () => (await computer()).settingsState === 'applied');
    await edit({ heartbeatIntervalSeconds: 5 });
    await eventually('five seconds are applied', async () => (await computer()).settingsState === 'applied');
  });

  it('switches back to agentInitiated, and the listener closes two intervals later', async () => {
    await edit({ communicationDirection: 'agentInitiated' });
    await inForce('agentInitiated');
    await eventually('nothing listens any more', async () => !(await isListening(port)));
    await heardAgain();
  });

  it('reverts to the working way when the manager cannot reach the listener, and says so', async function () {
    this.timeout(240_000);
    // An address that the administrator gave and that leads nowhere.
    await manager.api.patch(`/computers/${computerId}`, { address: '127.0.0.1:1' });
    await edit({ communicationDirection: 'managerInitiated' });
    const reverted = await eventually(
      'the change is reverted',
      async () => {
        const shown = await computer();
        return shown.settingsState === 'failed' ? shown : undefined;
      },
      200_000,
    );
    expect(reverted.status).to.equal('online');
    expect((await statusOf()).direction).to.equal('agentInitiated');
    const alert = (await alertsOf()).find(({ type }) => type === 'settings-reverted');
    expect(alert).to.include({ state: 'raised', reason: 'not-dialled' });
    await heardAgain();
    await edit({ communicationDirection: 'agentInitiated' });
    await eventually('the alert resolves itself', async () =>
      (await alertsOf()).some(({ type, state }) => type === 'settings-reverted' && state === 'resolved'),
    );
    expect((await alertsOf()).filter(({ type }) => type === 'computer-offline')).to.deep.equal([]);
  });

  it('enrolled under managerInitiated an agent never dials, and is offline when it is killed', async () => {
    const own = await freePort();
    const dir = join(root, 'dialled');
    const policy = await newPolicy('Dialled', {
      heartbeatIntervalSeconds: 5,
      heartbeatsMissedAllowed: 1,
      heartbeatGraceSeconds: 2,
      listenerPort: own,
      communicationDirection: 'managerInitiated',
    });
    const id = await enroll(dir, policy, 'dialled');
    const agent = startAgent(dir);
    agents.push(agent);
    await inForce('managerInitiated', id, dir);
    expect((await heardAgain(id)).carrierInUse).to.equal('listener');
    await agent.kill('SIGKILL');
    await eventually('its alert is raised', async () =>
      (await alertsOf(id)).some(({ type, state }) => type === 'computer-offline' && state === 'raised'),
    );
    expect((await computer(id)).lastDial?.result).to.equal('refused');
    agents.push(startAgent(dir));
    await eventually('its alert is resolved', async () =>
      (await alertsOf(id)).some(({ type, state }) => type === 'computer-offline' && state === 'resolved'),
    );
  });

  it('three agents of one host: two cannot bind the port and go on dialling', async () => {
    const shared = await freePort();
    const policy = await newPolicy('Shared host', { heartbeatIntervalSeconds: 5, listenerPort: shared });
    const names = ['one', 'two', 'three'];
    const ids = await Promise.all(names.map((name) => enroll(join(root, name), policy, name)));
    agents.push(...names.map((name) => startAgent(join(root, name))));
    for (const id of ids) await heardAgain(id);
    for (const id of ids) {
      expect((await heardAgain(id)).status).to.equal('online');
      expect(await alertsOf(id)).to.deep.equal([]);
    }
  });
});
