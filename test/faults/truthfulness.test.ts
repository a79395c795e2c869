import { expect } from 'chai';
import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet } from '../../scripts/fleet.js';
import { accusationsOf, computersOf, inWords, untilOnline } from '../support/fleet-in-process.js';
import { FleetWorld } from '../support/fleet-world.js';
import { makeDataDir, removeDataDir, type ManagerProcess } from '../support/manager-process.js';
import { startRelay, type Relay } from '../support/relay.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 400);
const WATCHED_MS = Number(process.env['WARDBEAT_TEST_TRUTH_SECONDS'] ?? 60) * 1000;
const CUT_SHARE = 0.05;
const SETTINGS = {
  heartbeatIntervalSeconds: 5,
  heartbeatsMissedAllowed: 2,
  heartbeatGraceSeconds: 5,
  communicationDirection: 'agentInitiated',
  // A held channel is cut once and then lives: each heartbeat is to run the risk.
  connectionMode: 'perHeartbeat',
};
const DEADLINE_MS = 20_000;
const TOLD_WITHIN_MS = 5000;
/** The kills are spread over so long. */
const KILLING_MS = 10_000;
const LOOK_EVERY_MS = 250;

describe(`half of ${AGENTS} agents killed at random, and 5 % of all connections cut (R12)`, function () {
  this.timeout(600_000);
  const root = makeDataDir();
  let world: FleetWorld;
  let manager: ManagerProcess;
  let relay: Relay;
  let fleet: Fleet;

  before(async () => {
    world = await FleetWorld.start({ root, settings: SETTINGS });
    manager = world.manager;
    relay = await startRelay({ port: Number(new URL(manager.agentUrl).port), cutShare: CUT_SHARE });
    fleet = await world.join('fleet', AGENTS, { agentUrl: `https://127.0.0.1:${relay.port}` });
    await untilOnline(manager, AGENTS);
  });
  after(async () => {
    await world?.end();
    await relay?.close();
    removeDataDir(root);
  });

  async function killHalf(): Promise<Set<string>> {
    const victims = [...fleet.agents].sort(() => Math.random() - 0.5).slice(0, AGENTS / 2);
    const kills = victims.map(async (agent) => {
      await delay(Math.random() * KILLING_MS);
      await agent.kill();
    });
    await Promise.all(kills);
    return new Set(victims.map(({ name }) => name));
  }

  /** By name of the computer, how long after its deadline its alert was there. */
  async function watch(ms: number): Promise<ReadonlyMap<string | null, number>> {
    const noticed = new Map<string | null, number>();
    const until = performance.now() + ms;
    while (performance.now() < until) {
      for (const { computerName, raisedAt } of await accusationsOf(manager))
        if (!noticed.has(computerName)) noticed.set(computerName, Date.now() - Date.parse(raisedAt));
      await delay(LOOK_EVERY_MS);
    }
    return noticed;
  }

  it('tells of each of the dead at its deadline, and of none of the living', async () => {
    const before = relay.counts();
    const [killed, noticed] = await Promise.all([killHalf(), watch(KILLING_MS + DEADLINE_MS + WATCHED_MS)]);
    const { connections, cut } = relay.counts();
    const computers = await computersOf(manager);
    const seenAt = new Map(computers.map(({ name, lastSeenAt }) => [name, Date.parse(lastSeenAt ?? '')]));
    const alerts = await accusationsOf(manager);
    const silentMs = alerts.map(
      ({ computerName, raisedAt }) => Date.parse(raisedAt) - (seenAt.get(computerName ?? '') ?? 0),
    );
    const { listening } = await manager.api.get<{ listening: { deafSeconds: number } }>('/system');
    const figures = {
      connections: connections - before.connections,
      cut: cut - before.cut,
      shortestSilenceMs: Math.min(...silentMs),
      longestSilenceMs: Math.max(...silentMs),
      latestMs: Math.max(...noticed.values()),
      deafSeconds: listening.deafSeconds,
    };
    console.error(JSON.stringify(figures));
    // A half is too few for an outage of them all.
    const expected = [...killed].map((name) => `computer-offline ${name}`);
    expect(alerts.map(inWords).toSorted()).to.deep.equal(expected.toSorted());
    expect(figures.shortestSilenceMs, 'from the last heartbeat to the deadline, ms').to.be.at.least(DEADLINE_MS);
    // A machine that is too busy to listen moves deadlines, and says so.
    const deafMs = figures.deafSeconds * 1000;
    expect(figures.longestSilenceMs, 'from the last heartbeat to the deadline, ms').to.be.at.most(DEADLINE_MS + deafMs);
    expect(figures.latestMs, 'from the deadline to the alert, ms').to.be.at.most(TOLD_WITHIN_MS);
    const living = computers.filter(({ name, status }) => !killed.has(name) && status !== 'online');
    expect(living.map(({ name, status }) => `${name} ${status}`).filter((one) => !one.endsWith(' late'))).to.deep.equal(
      [],
    );
    expect(figures.cut / figures.connections, 'share of connections that were cut').to.be.within(0.03, 0.07);
  });
});
