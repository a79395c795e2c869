import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readManagerCpu, readProcessKib } from '../../scripts/bench/cpu-meter.js';
import { listAll } from '../support/event-ledger.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { accusationsOf } from '../support/fleet-in-process.js';
import { freePort } from '../support/free-port.js';
import { makeDataDir, removeDataDir, startManager, type ManagerProcess } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

/** 5,000 on a machine of its own (`ulimit -n 20000`); a fleet that a shared one carries otherwise. */
const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 200);
const AWAY_MS = Number(process.env['WARDBEAT_TEST_AWAY_SECONDS'] ?? 60) * 1000;
const INTERVAL_SECONDS = 60;
const BACK_WITHIN_MS = 180_000;
const SAMPLE_MS = 250;

interface Held {
  readonly id: string;
  readonly status: string;
  readonly carrierInUse: string;
  readonly channel: { readonly state: string };
}

describe(`${AGENTS} agents that hold channels, whose manager is away for ${AWAY_MS / 1000} s (R10)`, function () {
  this.timeout(900_000);
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
    await allHeld();
  });

  after(async () => {
    drill?.end();
    manager?.kill('SIGINT');
    await manager?.ended;
    removeDataDir(root);
  });

  const computers = () => listAll<Held>(drill.apiOf(manager), '/computers');
  const allHeld = () =>
    eventually(
      'every agent holds a channel',
      async () => {
        const held = (await computers()).filter(
          ({ channel, status, carrierInUse }) =>
            channel.state === 'open' && status === 'online' && carrierInUse === 'channel',
        );
        return held.length === AGENTS;
      },
      BACK_WITHIN_MS + 60_000,
    );

  it('are all back in time, none is accused, and nothing is lost', async () => {
    manager.kill('SIGKILL');
    await manager.ended;
    const goneAt = performance.now();
    await eventually('the manager has been away', () => performance.now() - goneAt > AWAY_MS, AWAY_MS + 10_000);
    manager = await startManager({ dataDir: manager.dataDir, env });
    const startedAt = performance.now();
    const peak = { kib: 0, cpuMsPerSecond: 0 };
    const watching = new AbortController();
    const watched = watchProcess(manager.pid, peak, watching.signal);
    await allHeld();
    const backMs = Math.round(performance.now() - startedAt);
    watching.abort();
    await watched;
    const metrics = await (await fetch(`${manager.adminUrl}/metrics`)).text();
    const refused = Number(/^wardbeat_ingest_refused_total (\d+)/m.exec(metrics)?.[1] ?? 0);
    const openFiles = readFileSync(`/proc/${manager.pid}/limits`, 'latin1').match(/Max open files +(\d+)/)?.[1];
    console.error(JSON.stringify({ agents: AGENTS, backMs, refused, openFiles, ...peak }));
    expect(backMs).to.be.lessThan(BACK_WITHIN_MS);
    expect(peak.kib, 'KiB resident').to.be.lessThan(1024 * 1024);
    expect(await drill.look(manager)).to.deep.equal([]);
    expect(await accusationsOf({ api: drill.apiOf(manager) })).to.deep.equal([]);
    expect(await drill.faultsOfEvents(manager)).to.deep.equal([]);
  });
});

async function watchProcess(
  pid: number,
  peak: { kib: number; cpuMsPerSecond: number },
  signal: AbortSignal,
): Promise<void> {
  let before = { at: performance.now(), ms: readManagerCpu(pid).manager };
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    const now = { at: performance.now(), ms: readManagerCpu(pid).manager };
    peak.kib = Math.max(peak.kib, readProcessKib(pid));
    const used = ((now.ms - before.ms) * 1000) / (now.at - before.at);
    peak.cpuMsPerSecond = Math.max(peak.cpuMsPerSecond, Math.round(used));
    before = now;
  }
}
