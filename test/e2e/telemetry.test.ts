import { expect } from 'chai';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join, resolve } from 'node:path';

import { spawnAgent, type AgentProcess } from '../support/agent-process.js';
import { DirectionWorld } from '../support/direction-world.js';
import { eventually } from '../support/poll.js';

const PRELOAD = resolve('dist/test/support/agent-collectors-preload.js');

interface Listed {
  readonly items: readonly Record<string, unknown>[];
  readonly next: string | null;
}

describe('telemetry of a real agent', function () {
  this.timeout(180_000);
  let world: DirectionWorld;
  let policy: string;
  const agents: AgentProcess[] = [];
  let server: Server;

  before(async () => {
    server = createServer().listen(0, '127.0.0.1');
    world = await DirectionWorld.start();
    policy = await world.newPolicy('Telemetry', {
      heartbeatIntervalSeconds: 5,
      communicationDirection: 'agentInitiated',
    });
  });
  after(async () => {
    for (const agent of agents) await agent.kill('SIGKILL');
    server?.close();
    await world?.end();
  });

  const computer = (id: string) =>
    world.manager.api.get<{
      status: string;
      lastSeenAt: string;
      components: { name: string; state: string; detail: string | null }[];
    }>(`/computers/${id}`);
  const list = (id: string, name: string, query = '') =>
    world.manager.api.get<Listed>(`/computers/${id}/inventory/${name}?limit=500${query}`);

  it('shows packages, ports, connections and metrics, until collection is stopped', async () => {
    const id = await world.enroll(policy, 'gathers');
    // Whatever the machine has installed.
    const dpkg = join(world.directoryOf('gathers'), 'drilled-packages');
    writeFileSync(dpkg, 'Package: wb-drill\nStatus: install ok installed\nVersion: 1.0-2\nArchitecture: all\n\n');
    const agent = spawnAgent(['run', '--dir', world.directoryOf('gathers')], {
      env: { NODE_OPTIONS: `--import=${PRELOAD}`, DRILL_FILES: `/var/lib/dpkg/status=${dpkg}` },
    });
    agents.push(agent);
    await eventually('ports are there', async () => (await list(id, 'listening-ports')).items.length > 0, 60_000);
    const port = (server.address() as { port: number }).port;
    await eventually(
      'its own port is among them',
      async () => (await list(id, 'listening-ports')).items.some((item) => item['port'] === port),
      90_000,
    );
    const { kinds } = await world.manager.api.get<{ kinds: { kind: string; total: number; listed: number }[] }>(
      `/computers/${id}/inventory`,
    );
    const packages = kinds.find(({ kind }) => kind === 'packages');
    expect(packages).not.to.equal(undefined);
    expect(packages!.listed).to.equal(packages!.total);
    for (const [wanted, expected] of [
      ['wb-drill', [id]],
      ['wb-drill@1.0-2', [id]],
      ['wb-drill@1.0', []],
    ] as const) {
      const found = await world.manager.api.get<{ items: { id: string }[] }>(
        `/computers?package=${encodeURIComponent(wanted)}`,
      );
      expect(
        found.items.map((one) => one.id),
        wanted,
      ).to.deep.equal(expected);
    }
    const metrics = await eventually('metrics are there', async () => {
      const shown = await world.manager.api.get<Record<string, unknown>>(`/computers/${id}/metrics`);
      return shown['cpuUsedPercent'] === null ? undefined : shown;
    });
    expect(metrics['processes']).to.be.greaterThan(0);
    expect(metrics['uptimeSeconds']).to.be.greaterThan(0);
    await world.manager.api.post(`/computers/${id}/commands`, { type: 'stop-collection' });
    await eventually('metrics are not gathered', async () => {
      const shown = await world.manager.api.get<Record<string, unknown>>(`/computers/${id}/metrics`);
      return shown['processes'] === null;
    });
    expect((await computer(id)).status).to.equal('online');
    await agent.kill('SIGTERM');
  });

  it('goes on with heartbeats while collectors hang and throw, and says which', async () => {
    const id = await world.enroll(policy, 'hampered');
    const files = ['/proc/stat=hang', '/etc/os-release=throw', '/var/lib/dpkg/status=hang', '/proc/net/tcp=throw'];
    const agent = spawnAgent(['run', '--dir', world.directoryOf('hampered')], {
      env: { NODE_OPTIONS: `--import=${PRELOAD}`, DRILL_FILES: files.join(',') },
    });
    agents.push(agent);
    const seen = new Set<string>();
    await eventually(
      'six heartbeats came',
      async () => {
        const { lastSeenAt, status } = await computer(id);
        if (status === 'online') seen.add(lastSeenAt);
        return seen.size >= 6;
      },
      90_000,
    );
    const { components } = await computer(id);
    const detail = components.find(({ name }) => name === 'collectors')?.detail ?? '';
    expect(detail).to.contain('counters').and.contain('facts').and.contain('sockets');
    const times = [...seen].map((at) => Date.parse(at)).sort((a, b) => a - b);
    const gaps = times.slice(1).map((at, index) => at - times[index]!);
    expect(Math.max(...gaps), agent.stderr()).to.be.lessThan(9000);
  });
});
