import { expect } from 'chai';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { dataDirectory, readIdentity } from '../../agent/data-directory.js';
import { parseManagerUrl } from '../../agent/transport/tls-connection.js';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { startFleet, type Fleet } from '../../scripts/fleet.js';
import { listAll } from '../support/event-ledger.js';
import { startFakeListener, type FakeListener } from '../support/fake-agent-listener.js';
import { alertsOf, degradationsOf, inWords } from '../support/fleet-in-process.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import {
  makeDataDir,
  MANY_AGENTS,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 200);
const TARPITS = Math.round(0.3 * AGENTS);
const INTERVAL_MS = 20_000;
const TOLERANCE_MS = INTERVAL_MS / 10;
const WATCHED_INTERVALS = 5;
const MOST_OPEN = 200;
const CUT_WITHIN_MS = 10_500;
/** Below the ports that the system gives out by itself. */
const FLEET_PORTS = 21_000;
const TARPIT_PORTS = FLEET_PORTS + AGENTS;

interface Computer {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly communicationDirection: string;
  readonly carrierInUse: string;
  readonly settingsState: string;
  readonly lastDial: { readonly result: string } | null;
}

interface Receipt {
  readonly receivedAt: string;
  readonly latenessMs: number | null;
}

describe(`${TARPITS} tarpits among ${AGENTS} agents that the manager dials (R23)`, function () {
  this.timeout(900_000);
  const root = makeDataDir();
  const tarpits: FakeListener[] = [];
  let manager: ManagerProcess;
  let drill: FleetDrill;
  let doomed: Fleet | undefined;

  const settings = {
    heartbeatIntervalSeconds: INTERVAL_MS / 1000,
    heartbeatsMissedAllowed: 1,
    communicationDirection: 'managerInitiated',
  };

  before(async () => {
    manager = await startManager({ dataDir: join(root, 'manager'), env: MANY_AGENTS });
    const flags = { direction: 'managerInitiated', 'listener-base-port': String(FLEET_PORTS) };
    drill = await startFleetDrill(manager, { root, agents: AGENTS, settings, eventsPerBeat: 0, flags });
    await drill.allOnline(manager);
    doomed = await startDoomed();
    await eventually('all are dialled', async () => (await computers()).every(isDialled), 180_000);
  });
  after(async () => {
    drill?.end();
    await doomed?.stop();
    await Promise.all(tarpits.map((tarpit) => tarpit.close()));
    await manager?.stop();
    removeDataDir(root);
  });

  const computers = () => listAll<Computer>(drill.apiOf(manager), '/computers');
  const isDialled = ({ communicationDirection, carrierInUse, settingsState }: Computer) =>
    communicationDirection === 'managerInitiated' && carrierInUse === 'listener' && settingsState === 'applied';
  const isTarpit = ({ name }: { readonly name: string }) => name.startsWith('tarpit');

  /** Real agents, whose places the tarpits will take. */
  async function startDoomed(): Promise<Fleet> {
    const { items } = await manager.api.get<{ items: { id: string }[] }>('/policies');
    const asked = { policyId: items[0]?.id, uses: TARPITS, expiresInSeconds: 3600, ratePerSecond: 1000 };
    const { token } = await manager.api.post<{ token: string }>('/enrollment-tokens', asked);
    return startFleet({
      agents: TARPITS,
      manager: parseManagerUrl(manager.agentUrl)!,
      token,
      directory: join(root, 'doomed'),
      clock: createSystemClock(),
      random: createSystemRandom(),
      log: createLog({ name: 'doomed', level: 'error', toStderr: true }),
      namePrefix: 'tarpit',
      direction: 'managerInitiated',
      listenerBasePort: TARPIT_PORTS,
    });
  }

  /** Every other one never says a word; the others prove who they are, and then say nothing. */
  async function turnIntoTarpits({ agents }: Fleet): Promise<void> {
    for (const [index, agent] of agents.entries()) {
      await agent.kill();
      const { certificatePem, keyPem, rootPem } = readIdentity(dataDirectory(agent.directory))!;
      const tarpit = await startFakeListener({
        mode: index % 2 === 0 ? 'tarpit' : 'mute',
        identity: { cert: certificatePem, key: keyPem },
        computerId: agent.computerId,
        rootPem,
        now: () => Date.now(),
      });
      tarpits.push(tarpit);
      await manager.api.patch(`/computers/${agent.computerId}`, { address: `127.0.0.1:${tarpit.port}` });
    }
  }

  async function openDials(): Promise<number> {
    const text = await (await fetch(`${manager.adminUrl}/metrics`)).text();
    const lanes = [...text.matchAll(/^wardbeat_dials_open\{[^}]*\} (\d+)$/gm)];
    if (lanes.length === 0) throw new Error('The metrics do not tell the open dials');
    return lanes.reduce((sum, [, open]) => sum + Number(open), 0);
  }

  async function watch(ms: number): Promise<number> {
    const until = performance.now() + ms;
    let most = 0;
    while (performance.now() < until) {
      most = Math.max(most, await openDials());
      await delay(250);
    }
    return most;
  }

  async function beatsOf({ id }: Computer, from: number, to: number): Promise<Receipt[]> {
    const { items } = await drill.apiOf(manager).get<{ items: Receipt[] }>(`/computers/${id}/heartbeats?limit=100`);
    return items.filter(({ receivedAt }) => Date.parse(receivedAt) >= from && Date.parse(receivedAt) <= to);
  }

  const longest = (gaps: readonly number[]) => gaps.reduce((most, gap) => Math.max(most, gap), 0);

  it('delay no dial of the others, are cut, and are offline by a time-out', async () => {
    await turnIntoTarpits(doomed!);
    const from = Date.now();
    const mostOpen = await watch(WATCHED_INTERVALS * INTERVAL_MS);
    const to = Date.now();
    await delay(2000);
    const all = await computers();
    const late: number[] = [];
    const gaps: number[] = [];
    const faults: string[] = [];
    for (const computer of all.filter((one) => !isTarpit(one))) {
      const beats = await beatsOf(computer, from, to);
      late.push(...beats.map(({ latenessMs }) => Math.abs(latenessMs ?? Number.POSITIVE_INFINITY)));
      const instants = beats.map(({ receivedAt }) => Date.parse(receivedAt)).toSorted((a, b) => a - b);
      gaps.push(...instants.slice(1).map((at, index) => at - (instants[index] ?? at)));
      if (instants.length < WATCHED_INTERVALS - 1) faults.push(`${computer.name}: ${instants.length} heartbeats`);
      if (computer.status !== 'online') faults.push(`${computer.name}: ${computer.status}`);
    }
    const held = tarpits.flatMap(({ connections }) =>
      connections.map(({ at, closedAt }) => (closedAt ?? performance.now()) - at),
    );
    const figures = {
      heartbeats: late.length,
      latestMs: longest(late),
      longestGapMs: longest(gaps),
      mostOpen,
      dialsOfTarpits: held.length,
      longestHeldMs: Math.round(longest(held)),
    };
    console.error(JSON.stringify(figures));
    expect(faults).to.deep.equal([]);
    expect(figures.latestMs, 'lateness, ms').to.be.at.most(TOLERANCE_MS);
    expect(figures.longestGapMs, 'between two heartbeats, ms').to.be.at.most(INTERVAL_MS + TOLERANCE_MS);
    expect(mostOpen, 'dials open').to.be.within(1, MOST_OPEN);
    expect(figures.longestHeldMs, 'a dial of a tarpit, ms').to.be.at.most(CUT_WITHIN_MS);
    expect(held.length, 'dials of tarpits').to.be.at.least(TARPITS * (WATCHED_INTERVALS - 1));
    const trapped = all.filter(isTarpit).map(({ status, lastDial }) => `${status} ${lastDial?.result}`);
    expect(trapped).to.deep.equal(Array.from({ length: TARPITS }, () => 'offline timeout'));
  });

  it('are the only ones that alerts are raised of, each once', async () => {
    // Neither are they most of those who have anything in common, nor was the manager deaf.
    const alerts = await alertsOf({ api: drill.apiOf(manager) });
    const degraded = await degradationsOf({ api: drill.apiOf(manager) });
    if (degraded.length > 0) console.error(JSON.stringify(degraded.map(({ detail }) => detail)));
    const expected = (await computers()).filter(isTarpit).map(({ name }) => `computer-offline ${name}`);
    expect(alerts.map(inWords).toSorted()).to.deep.equal(expected.toSorted());
    expect(expected).to.have.length(TARPITS);
  });
});
