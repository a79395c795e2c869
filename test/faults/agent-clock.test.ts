import { expect } from 'chai';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { enrollAgent } from '../support/agent-cli.js';
import { spawnAgent, type AgentProcess } from '../support/agent-process.js';
import { createFakeWall, FAKETIME, findFaketime, type FakeWall } from '../support/faketime.js';
import { alertsOf, makeToken, rootPolicyOf, untilOnline } from '../support/fleet-in-process.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { skipFor } from '../support/skip.js';

const SETTINGS = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 5 };
/** The second heartbeat tells of a step where the agent does not, and would raise what must not be. */
const TWO_BEATS_MS = 12_500;
const WAYS = [
  { name: 'tells', args: [] },
  { name: 'silent', args: ['--no-clock-detection'] },
] as const;

interface Watched {
  readonly name: string;
  readonly agent: AgentProcess;
}

describe('agents whose clock is set (R14)', function () {
  this.timeout(150_000);
  const root = makeDataDir();
  const watched: Watched[] = [];
  let wall: FakeWall;
  let manager: ManagerProcess;

  before(async function () {
    const library = findFaketime();
    if (library === undefined) skipFor(this, FAKETIME);
    wall = createFakeWall(library, join(root, 'clock'));
    manager = await startManager({ dataDir: join(root, 'manager') });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const policyId = await rootPolicyOf(manager);
    await manager.api.patch(`/policies/${policyId}/settings`, SETTINGS);
    const token = await makeToken(manager, policyId);
    for (const { name, args } of WAYS) {
      const dir = join(root, name);
      mkdirSync(dir);
      await enrollAgent(dir, { manager: manager.agentUrl, token, name });
      watched.push({ name, agent: spawnAgent(['run', '--dir', dir, ...args], { env: wall.env }) });
    }
    await untilOnline(manager, WAYS.length);
    await delay(TWO_BEATS_MS);
  });

  after(async () => {
    await Promise.all(watched.map(({ agent }) => agent.kill('SIGTERM')));
    await manager?.stop();
    removeDataDir(root);
  });

  const shown = async (): Promise<string[]> => {
    const alerts = await alertsOf(manager);
    return alerts
      .map(({ computerName, type, state, occurrences }) => `${computerName} ${type} ${state} ${occurrences}`)
      .sort();
  };
  const dismissAll = async (): Promise<void> => {
    const { items } = await manager.api.get<{ items: { id: string; state: string }[] }>('/alerts');
    for (const { id, state } of items) if (state === 'raised') await manager.api.post(`/alerts/${id}/dismiss`, {});
  };
  const untilShown = (count: number) =>
    eventually('the alerts are there', async () => (await shown()).length === count, 20_000);

  it('raise nothing for a step below the limit, nor for a process that stood still', async () => {
    wall.stepTo(40_000);
    await delay(TWO_BEATS_MS);
    for (const { agent } of watched) agent.child.kill('SIGSTOP');
    await delay(7000);
    for (const { agent } of watched) agent.child.kill('SIGCONT');
    await delay(TWO_BEATS_MS);
    expect(await shown()).to.deep.equal([]);
  });

  it('raise one each for a step above it, and another after that was dismissed', async () => {
    wall.stepTo(140_000);
    await untilShown(2);
    await delay(TWO_BEATS_MS);
    expect(await shown()).to.deep.equal(['silent clock-changed raised 1', 'tells clock-changed raised 1']);
    await dismissAll();
    wall.stepTo(0);
    await untilShown(4);
    await delay(TWO_BEATS_MS);
    expect(await shown()).to.deep.equal([
      'silent clock-changed dismissed 1',
      'silent clock-changed raised 1',
      'tells clock-changed dismissed 1',
      'tells clock-changed raised 1',
    ]);
    const steps = (await alertsOf(manager)).map(({ detail }) => Math.round(Number(detail['stepMs']) / 1000));
    expect(steps.toSorted((a, b) => a - b)).to.deep.equal([-140, -140, 100, 100]);
  });
});
