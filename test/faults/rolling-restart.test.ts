import { expect } from 'chai';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { listAll } from '../support/event-ledger.js';
import { createExternalPostgres, type ExternalPostgres } from '../support/external-postgres.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { alertsOf } from '../support/fleet-in-process.js';
import {
  keptPorts,
  makeDataDir,
  MANY_AGENTS,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { startRelay, type Relay } from '../support/relay.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 60);
const INTERVAL_SECONDS = 10;
/** The strictest settings: the first heartbeat that is missed raises the alert. */
const SETTINGS = {
  heartbeatIntervalSeconds: INTERVAL_SECONDS,
  heartbeatsMissedAllowed: 0,
  communicationDirection: 'agentInitiated',
};
const DRAIN_SECONDS = 20;
/** An interval, as long again as a drain may put a contact off, and the grace of the deadline. */
const LONGEST_GAP_MS = (2 * INTERVAL_SECONDS + 5) * 1000;
const LOOK_MS = 500;
const NODES = ['node-a', 'node-b'] as const;
type Node = (typeof NODES)[number];

interface Heartbeat {
  readonly receivedAt: string;
}

/** New connections go in turn to those of the managers that are ready, as a load balancer in front of them does it. */
class Balancer {
  readonly #managers = new Map<Node, ManagerProcess>();
  #ready: readonly number[] = [];
  #turn = 0;
  readonly #stopped = new AbortController();

  put(node: Node, manager: ManagerProcess): void {
    this.#managers.set(node, manager);
  }

  readonly next = (): number | undefined => this.#ready[this.#turn++ % this.#ready.length];

  async watch(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const looked = await Promise.all([...this.#managers.values()].map(readyPort));
      this.#ready = looked.filter((port) => port !== undefined);
      await delay(LOOK_MS);
    }
  }

  stop(): void {
    this.#stopped.abort();
  }
}

describe(`two managers on one database that are restarted in turn under ${AGENTS} real agents (R24)`, function () {
  this.timeout(600_000);
  const root = makeDataDir();
  const balancer = new Balancer();
  const managers = new Map<Node, ManagerProcess>();
  const envs = new Map<Node, Record<string, string>>();
  let postgres: ExternalPostgres;
  let relay: Relay;
  let drill: FleetDrill;

  before(async () => {
    postgres = await createExternalPostgres(join(root, 'postgres'));
    await postgres.start();
    for (const node of NODES) {
      const own = { WARDBEAT_NODE: node, WARDBEAT_DRAIN_SECONDS: String(DRAIN_SECONDS) };
      envs.set(node, { ...MANY_AGENTS, ...(await keptPorts()), ...postgres.env, ...own });
    }
    await start('node-a');
    // Managers of one database have one authority.
    cpSync(join(root, 'node-a', 'keys'), join(root, 'node-b', 'keys'), { recursive: true });
    await start('node-b');
    relay = await startRelay({ port: balancer.next });
    void balancer.watch();
    const front = { ...managerOf('node-a'), agentUrl: `https://127.0.0.1:${relay.port}` };
    await eventually('a manager is ready', () => balancer.next() !== undefined);
    drill = await startFleetDrill(front, { root, agents: AGENTS, settings: SETTINGS, eventsPerBeat: 1 });
    await drill.allOnline(managerOf('node-a'));
  });

  after(async () => {
    drill?.end();
    balancer.stop();
    for (const manager of managers.values()) {
      manager.kill('SIGINT');
      await manager.ended;
    }
    await relay?.close();
    await postgres?.end();
    removeDataDir(root);
  });

  const managerOf = (node: Node): ManagerProcess => {
    const manager = managers.get(node);
    if (!manager) throw new Error(`${node} does not run`);
    return manager;
  };
  const start = async (node: Node) => {
    const manager = await startManager({ dataDir: join(root, node), env: envs.get(node) ?? {} });
    managers.set(node, manager);
    balancer.put(node, manager);
    return manager;
  };

  it('miss no heartbeat, are accused of nothing and lose no event', async () => {
    const begunAt = Date.now();
    for (const node of NODES) {
      const manager = managerOf(node);
      manager.kill('SIGTERM');
      expect(await manager.ended, manager.output()).to.equal(0);
      expect(manager.output()).not.to.match(/"level":[56]0/);
      const next = await start(node);
      await eventually(`${node} is ready`, async () => (await readyPort(next)) !== undefined, 60_000);
    }
    const restartedAt = Date.now();
    await drill.allOnline(managerOf('node-a'), restartedAt);
    const gaps = await longestGaps(begunAt - 2 * INTERVAL_SECONDS * 1000);
    console.error(
      JSON.stringify({
        agents: AGENTS,
        tookMs: restartedAt - begunAt,
        longestGapMs: Math.max(...gaps),
        ...relay.counts(),
      }),
    );
    expect(gaps).to.have.length(AGENTS);
    expect(Math.max(...gaps), 'ms between two heartbeats').to.be.lessThan(LONGEST_GAP_MS);
    for (const node of NODES) expect(await drill.look(managerOf(node))).to.deep.equal([]);
    expect(await alertsOf({ api: drill.apiOf(managerOf('node-b')) })).to.deep.equal([]);
    expect(await drill.faultsOfEvents(managerOf('node-b'))).to.deep.equal([]);
  });

  /** Of each computer, between two of its heartbeats since the instant. */
  async function longestGaps(since: number): Promise<number[]> {
    const api = drill.apiOf(managerOf('node-b'));
    const computers = await listAll<{ id: string }>(api, '/computers');
    const gaps: number[] = [];
    for (const { id } of computers) {
      const heartbeats = await listAll<Heartbeat>(api, `/computers/${id}/heartbeats`);
      const times = heartbeats
        .map(({ receivedAt }) => Date.parse(receivedAt))
        .filter((at) => at >= since)
        .toSorted((a, b) => a - b);
      gaps.push(Math.max(...times.slice(1).map((at, index) => at - (times[index] ?? at))));
    }
    return gaps;
  }
});

/** The port for agents of a manager that is ready. */
async function readyPort({ adminUrl, agentUrl }: ManagerProcess): Promise<number | undefined> {
  const answer = await fetch(`${adminUrl}/readyz`).catch(() => undefined);
  await answer?.body?.cancel();
  return answer?.status === 200 ? Number(new URL(agentUrl).port) : undefined;
}
