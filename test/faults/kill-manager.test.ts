import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { faultsOfEvents, listAll, type ListedEvent } from '../support/event-ledger.js';
import { freePort } from '../support/free-port.js';
import {
  ADMIN_PASSWORD,
  makeDataDir,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const AGENTS = 200;
const KILLS = Number(process.env['WARDBEAT_TEST_KILLS'] ?? 20);
const SERVING_WITHIN_MS = 3000;

describe(`${KILLS} kills of the manager under ${AGENTS} real agents (R1)`, function () {
  this.timeout(1_800_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let fleet: ChildProcess;
  let env: Record<string, string>;

  before(async () => {
    env = {
      WARDBEAT_AGENT_PORT: String(await freePort()),
      WARDBEAT_ADMIN_PORT: String(await freePort()),
      WARDBEAT_ENROLL_PER_ADDRESS: '1000',
      WARDBEAT_ENROLL_TOTAL: '1000',
    };
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    const { items } = await manager.api.get<{ items: { id: string }[] }>('/policies');
    const policyId = items[0]?.id ?? '';
    await manager.api.patch(`/policies/${policyId}/settings`, {
      heartbeatIntervalSeconds: 5,
      heartbeatsMissedAllowed: 2,
    });
    const request = { policyId, uses: AGENTS, expiresInSeconds: 3600, ratePerSecond: 1000 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', request);
    const tokenFile = join(root, 'token');
    writeFileSync(tokenFile, token, { mode: 0o600 });
    const args = [
      '--agents',
      String(AGENTS),
      '--manager',
      manager.agentUrl,
      '--token-file',
      tokenFile,
      '--dir',
      join(root, 'fleet'),
    ];
    fleet = spawn(process.execPath, ['dist/scripts/fleet.js', ...args], { stdio: ['ignore', 'ignore', 'ignore'] });
    await allOnline();
  });

  after(async () => {
    fleet?.kill('SIGKILL');
    await manager?.stop();
    removeDataDir(root);
  });

  async function allOnline(seenAfter = 0): Promise<void> {
    await eventually(
      'every agent is online',
      async () => {
        const computers = await listAll<{ status: string; lastSeenAt: string | null }>(manager.api, '/computers');
        const heard = computers.filter(
          ({ status, lastSeenAt }) => status === 'online' && Date.parse(lastSeenAt ?? '') >= seenAfter,
        );
        return heard.length === AGENTS;
      },
      180_000,
    );
  }

  it('raises no false alert, and is serving again within 3 s of every start', async () => {
    const slow: number[] = [];
    for (let kill = 0; kill < KILLS; kill += 1) {
      await delay(Math.random() * 3000);
      manager.kill('SIGKILL');
      await manager.ended;
      const startedAt = performance.now();
      manager = await startManager({ dataDir: manager.dataDir, env });
      const took = performance.now() - startedAt;
      if (took > SERVING_WITHIN_MS) slow.push(Math.round(took));
    }
    await manager.api.signIn('admin', ADMIN_PASSWORD);
    await allOnline(Date.now());
    const offline = await listAll<{ type: string }>(manager.api, '/alerts?type=computer-offline');
    expect(offline).to.deep.equal([]);
    expect(slow).to.deep.equal([]);
  });

  it('loses and doubles no event', async () => {
    const computers = await listAll<{ id: string; name: string }>(manager.api, '/computers');
    expect(computers).to.have.length(AGENTS);
    for (const { id, name } of computers) {
      const events = await listAll<ListedEvent>(manager.api, `/computers/${id}/events`);
      expect(
        events.some(({ kind }) => kind === 'agent-started'),
        name,
      ).to.equal(true);
      expect(faultsOfEvents(events), name).to.deep.equal([]);
    }
  });
});
