import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readManagerCpu, readProcessKib } from '../../scripts/bench/cpu-meter.js';
import type { ApiClient } from '../support/api-client.js';
import { listAll } from '../support/event-ledger.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { accusationsOf } from '../support/fleet-in-process.js';
import { freePort } from '../support/free-port.js';
import { makeDataDir, removeDataDir, startManager, type ManagerProcess } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

/** 5,000 on a machine of its own (`ulimit -n 100000`); a fleet that a shared one carries otherwise. */
const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 200);
const AWAY_MS = Number(process.env['WARDBEAT_TEST_AWAY_SECONDS'] ?? 60) * 1000;
const INTERVAL_SECONDS = 60;
const BACK_WITHIN_MS = 180_000;
/** So many are enrolled in a second at the least. */
const ENROLLED_PER_SECOND = 10;
const SAMPLE_MS = 250;
const API_P99_MS = 1000;

interface Held {
  readonly id: string;
  readonly status: string;
  readonly carrierInUse: string;
  readonly channel: { readonly state: string };
}

describe(`${AGENTS} agents that hold channels, whose manager is away for ${AWAY_MS / 1000} s (R10)`, function () {
  this.timeout(900_000 + (AGENTS / ENROLLED_PER_SECOND) * 1000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let drill: FleetDrill;
  let env: Record<string, string>;

  before(async () => {
    env = {
      WARDBEAT_AGENT_PORT: String(await freePort()),
      WARDBEAT_ADMIN_PORT: String(await freePort()),
      WARDBEAT_ENROLL_PER_ADDRESS: '1000',
      WARDBEAT_ENROLL_TOTAL: '1000',
    };
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    const settings = { heartbeatIntervalSeconds: INTERVAL_SECONDS, communicationDirection: 'agentInitiated' };
    drill = await startFleetDrill(manager, { root, agents: AGENTS, settings, eventsPerBeat: 1 });
    await allHeld((AGENTS / ENROLLED_PER_SECOND) * 1000);
  });

  after(async () => {
    drill?.end();
    manager?.kill('SIGINT');
    await manager?.ended;
    removeDataDir(root);
  });

  const metricOf = async (name: string): Promise<number> => {
    const metrics = await (await fetch(`${manager.adminUrl}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\d+)`, 'm').exec(metrics)?.[1] ?? 0);
  };
  const isHeld = ({ channel, status, carrierInUse }: Held) =>
    channel.state === 'open' && status === 'online' && carrierInUse === 'channel';
  /** Whole lists of a large fleet are asked for only once its channels are open: they would be load of their own. */
  const allHeld = (setUpMs = 0) =>
    eventually(
      'every agent holds a channel',
      async () =>
        (await metricOf('wardbeat_channels_open')) >= AGENTS &&
        (await listAll<Held>(drill.apiOf(manager), '/computers')).filter(isHeld).length === AGENTS,
      BACK_WITHIN_MS + 60_000 + setUpMs,
    );

  it('are all back in time, none is accused, and nothing is lost', async () => {
    manager.kill('SIGKILL');
    await manager.ended;
    const goneAt = performance.now();
    await eventually('the manager has been away', () => performance.now() - goneAt > AWAY_MS, AWAY_MS + 10_000);
    manager = await startManager({ dataDir: manager.dataDir, env });
    const startedAt = performance.now();
    const watching = new AbortController();
    const watched = watchProcess(manager, drill.apiOf(manager), watching.signal);
    await allHeld();
    const backMs = Math.round(performance.now() - startedAt);
    watching.abort();
    const { apiMs, ...peak } = await watched;
    const apiP99Ms = apiMs[Math.ceil(apiMs.length * 0.99) - 1] ?? Number.POSITIVE_INFINITY;
    const refused = await metricOf('wardbeat_ingest_refused_total');
    const openFiles = readFileSync(`/proc/${manager.pid}/limits`, 'latin1').match(/Max open files +(\d+)/)?.[1];
    console.error(JSON.stringify({ agents: AGENTS, backMs, refused, openFiles, apiP99Ms, ...peak }));
    expect(backMs).to.be.lessThan(BACK_WITHIN_MS);
    expect(peak.kib, 'KiB resident').to.be.lessThan(1024 * 1024);
    expect(apiP99Ms, "ms of the API's slowest answers").to.be.at.most(API_P99_MS);
    expect(await drill.look(manager)).to.deep.equal([]);
    expect(await accusationsOf({ api: drill.apiOf(manager) })).to.deep.equal([]);
    expect(await drill.faultsOfEvents(manager)).to.deep.equal([]);
  });
});

interface Watched {
  readonly kib: number;
  readonly cpuMsPerSecond: number;
  /** What single answers of the API took, ascending. */
  readonly apiMs: readonly number[];
}

/** Peaks of a manager's process, and how its API answers meanwhile. */
async function watchProcess({ pid }: ManagerProcess, api: ApiClient, signal: AbortSignal): Promise<Watched> {
  const peak = { kib: 0, cpuMsPerSecond: 0 };
  const apiMs: number[] = [];
  let before = { at: performance.now(), ms: readManagerCpu(pid).manager };
  while (!signal.aborted) {
    await delay(SAMPLE_MS);
    const now = { at: performance.now(), ms: readManagerCpu(pid).manager };
    peak.kib = Math.max(peak.kib, readProcessKib(pid));
    const used = ((now.ms - before.ms) * 1000) / (now.at - before.at);
    peak.cpuMsPerSecond = Math.max(peak.cpuMsPerSecond, Math.round(used));
    before = now;
    const askedAt = performance.now();
    await api.get('/computers?limit=50');
    apiMs.push(Math.round(performance.now() - askedAt));
  }
  return { ...peak, apiMs: apiMs.toSorted((a, b) => a - b) };
}
