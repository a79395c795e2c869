import { expect } from 'chai';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { dyingAt, FAIL_POINTS, type FailPoint } from '../support/fail-points.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { accusationsOf, degradationsBut } from '../support/fleet-in-process.js';
import {
  keptPorts,
  makeDataDir,
  MANY_AGENTS,
  removeDataDir,
  spawnManager,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 100);
const KILLS = Number(process.env['WARDBEAT_TEST_KILLS_PER_POINT'] ?? 3);
const SETTINGS = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 2 };
const LATEST_PASS = 60;
const DEAD_WITHIN_MS = 60_000;

describe(`a manager of ${AGENTS} real agents killed ${KILLS} times at each named point (R2)`, function () {
  this.timeout(3_600_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let drill: FleetDrill;
  let env: Record<string, string>;

  before(async () => {
    env = { ...MANY_AGENTS, ...(await keptPorts()) };
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    drill = await startFleetDrill(manager, { root, agents: AGENTS, settings: SETTINGS, eventsPerBeat: 2 });
    await drill.allOnline(manager);
    manager.kill('SIGKILL');
    await manager.ended;
  });
  after(async () => {
    drill?.end();
    await manager?.stop();
    removeDataDir(root);
  });

  async function dieAt(point: FailPoint): Promise<void> {
    const passes = 1 + Math.floor(Math.random() * LATEST_PASS);
    const child = spawnManager(manager.dataDir, { ...env, ...dyingAt(point, passes) });
    for (const stream of [child.stdout, child.stderr]) stream?.resume();
    const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    const patience = new AbortController();
    const [, signal] = await Promise.race([
      ended,
      delay(DEAD_WITHIN_MS, [null, 'SIGALRM'] as const, { signal: patience.signal }),
    ]);
    patience.abort();
    if (signal === 'SIGALRM') child.kill('SIGKILL');
    await ended;
    expect(signal, `${point} is passed ${passes} times`).to.equal('SIGKILL');
  }

  for (const point of FAIL_POINTS)
    it(`dies where it should: ${point}`, async () => {
      for (let kill = 1; kill <= KILLS; kill += 1) await dieAt(point);
    });

  it('accuses nobody, and loses and doubles no event that a spool accepted', async () => {
    manager = await startManager({ dataDir: manager.dataDir, env });
    await drill.allOnline(manager, Date.now());
    expect(await drill.look(manager)).to.deep.equal([]);
    const seen = { api: drill.apiOf(manager) };
    expect(await accusationsOf(seen)).to.deep.equal([]);
    // Many short times without it may add up to more than it may be deaf in five minutes.
    expect(await degradationsBut('process-down', seen)).to.deep.equal([]);
    expect(drill.accepted().length).to.be.greaterThan(AGENTS);
    expect(await drill.faultsOfEvents(manager)).to.deep.equal([]);
  });
});
