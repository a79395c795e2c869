import { expect } from 'chai';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { accusationsOf, degradationsBut } from '../support/fleet-in-process.js';
import {
  keptPorts,
  makeDataDir,
  MANY_AGENTS,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 200);
const KILLS = Number(process.env['WARDBEAT_TEST_KILLS'] ?? 20);
const SERVING_WITHIN_MS = 3000;
/** Every so many kills the manager is left alone until all have been heard. */
const BREATHE_EVERY = 10;

describe(`${KILLS} kills of the manager under ${AGENTS} real agents that emit events (R1)`, function () {
  this.timeout(3_600_000);
  const root = makeDataDir();
  const faults: string[] = [];
  let manager: ManagerProcess;
  let drill: FleetDrill;
  let env: Record<string, string>;

  before(async () => {
    env = { ...MANY_AGENTS, ...(await keptPorts()) };
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    const settings = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 2 };
    drill = await startFleetDrill(manager, { root, agents: AGENTS, settings, eventsPerBeat: 2 });
    await drill.allOnline(manager);
  });

  after(async () => {
    drill?.end();
    await manager?.stop();
    removeDataDir(root);
  });

  it('raises no false alert, never sets last seen back, and is serving again within 3 s of every start', async () => {
    const servingMs: number[] = [];
    for (let kill = 1; kill <= KILLS; kill += 1) {
      await delay(Math.random() * 3000);
      manager.kill('SIGKILL');
      await manager.ended;
      const startedAt = performance.now();
      manager = await startManager({ dataDir: manager.dataDir, env });
      servingMs.push(Math.round(performance.now() - startedAt));
      faults.push(...(await drill.look(manager)));
      if (kill % BREATHE_EVERY === 0) await drill.allOnline(manager, Date.now());
    }
    await drill.allOnline(manager, Date.now());
    faults.push(...(await drill.look(manager)));
    expect(faults).to.deep.equal([]);
    const seen = { api: drill.apiOf(manager) };
    expect(await accusationsOf(seen)).to.deep.equal([]);
    // Many short times without it may add up to more than it may be deaf in five minutes.
    expect(await degradationsBut('process-down', seen)).to.deep.equal([]);
    const sorted = servingMs.toSorted((a, b) => a - b);
    console.error(JSON.stringify({ kills: KILLS, servingMs: { p50: sorted[KILLS >> 1], max: sorted.at(-1) } }));
    expect(sorted.filter((ms) => ms > SERVING_WITHIN_MS)).to.deep.equal([]);
  });

  it('loses and doubles no event that a spool accepted', async () => {
    expect(drill.accepted().length).to.be.greaterThan(AGENTS);
    expect(await drill.faultsOfEvents(manager)).to.deep.equal([]);
  });
});
