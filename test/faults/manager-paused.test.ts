import { expect } from 'chai';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { listAll } from '../support/event-ledger.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { freePort } from '../support/free-port.js';
import { call } from '../support/http-call.js';
import { makeDataDir, removeDataDir, startManager, type ManagerProcess } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { skipFor } from '../support/skip.js';

const AGENTS = 100;
const PAUSED_MS = 30_000;
const HOGS = 2;
const HOGGED_MS = 45_000;
/** A pause that has left the last five minutes counts no more. */
const RESOLVED_WITHIN_MS = 330_000;
const SETTINGS = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 2 };
const PRLIMIT = 'prlimit (util-linux)';

interface DegradedAlert {
  readonly state: string;
  readonly reason: string;
  readonly computerId: string | null;
  readonly detail: {
    readonly deafSeconds: number;
    readonly deafSecondsByCause: Readonly<Record<string, number>>;
    readonly spans: readonly { readonly cause: string; readonly from: string; readonly until: string }[];
    readonly schedulerLagSeconds: number;
  };
}

interface SystemAnswer {
  readonly verdicts: { readonly state: string; readonly reason: string | null };
  readonly listening: {
    readonly deaf: string | null;
    readonly deafSecondsByCause: Readonly<Record<string, number>>;
  };
}

describe(`a manager that is paused, starved and shut off under ${AGENTS} real agents (R2, R30)`, function () {
  this.timeout(600_000);
  const root = makeDataDir();
  let manager: ManagerProcess;
  let drill: FleetDrill;
  const hogs: ChildProcess[] = [];

  before(async () => {
    const env = {
      WARDBEAT_AGENT_PORT: String(await freePort()),
      WARDBEAT_ADMIN_PORT: String(await freePort()),
      WARDBEAT_ENROLL_PER_ADDRESS: '1000',
      WARDBEAT_ENROLL_TOTAL: '1000',
    };
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    drill = await startFleetDrill(manager, { root, agents: AGENTS, settings: SETTINGS, eventsPerBeat: 0 });
    await drill.allOnline(manager);
  });

  after(async () => {
    for (const hog of hogs) hog.kill('SIGKILL');
    drill?.end();
    await manager?.stop();
    removeDataDir(root);
  });

  const system = () => drill.apiOf(manager).get<SystemAnswer>('/system');
  const degraded = () => listAll<DegradedAlert>(drill.apiOf(manager), '/alerts?type=manager-degraded');
  const offline = () => listAll(drill.apiOf(manager), '/alerts?type=computer-offline');
  const metric = async (name: string): Promise<number> => {
    const { text } = await call(
      { host: '127.0.0.1', port: Number(new URL(manager.adminUrl).port) },
      { method: 'GET', path: '/metrics' },
    );
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    return Number(line?.split(' ').at(-1) ?? Number.NaN);
  };
  const prlimit = (...words: string[]) => spawnSync('prlimit', ['--pid', String(manager.pid), ...words]);
  const nobodyIsAccused = async () => {
    expect(await drill.look(manager)).to.deep.equal([]);
    expect(await offline()).to.deep.equal([]);
  };

  let pausedAt = 0;

  it(`accuses nobody after a pause of ${PAUSED_MS / 1000} s, and says that it was paused`, async () => {
    manager.kill('SIGSTOP');
    pausedAt = performance.now();
    await delay(PAUSED_MS);
    manager.kill('SIGCONT');
    const [alert] = await eventually('the manager tells that it was degraded', async () => {
      const raised = await degraded();
      return raised.length > 0 ? raised : undefined;
    });
    await drill.allOnline(manager, Date.now());
    await nobodyIsAccused();
    expect(alert?.computerId).to.equal(null);
    expect(alert?.state).to.equal('raised');
    expect(alert?.detail.deafSeconds).to.be.within(PAUSED_MS / 1000, PAUSED_MS / 1000 + 10);
    expect(alert?.detail.spans.map(({ cause }) => cause)).to.include('paused');
    expect((await system()).listening.deafSecondsByCause['paused']).to.be.at.least(PAUSED_MS / 1000);
    expect(await metric('wardbeat_deaf_seconds_total{cause="paused"}')).to.be.at.least(PAUSED_MS / 1000);
    expect(await metric('wardbeat_scheduler_lag_seconds')).to.be.at.least(PAUSED_MS / 1000 - 2);
  });

  it('says that its port takes no connections when it is out of file descriptors, and hears again by itself', async function () {
    const { error, stdout } = prlimit('--nofile', '--output', 'SOFT', '--noheadings');
    if (error) skipFor(this, PRLIMIT);
    // The lowest ones are in use for ever: it gets no new one.
    expect(prlimit('--nofile=4:').status).to.equal(0);
    // Nothing can be asked of it meanwhile: the admin port takes no connections either.
    const isNoticed = () => manager.output().includes('the agent port takes no connections');
    await eventually('it notices', isNoticed, 20_000).finally(() => prlimit(`--nofile=${String(stdout).trim()}:`));
    await eventually('it listens again', async () => (await system()).listening.deaf === null, 20_000);
    expect((await system()).listening.deafSecondsByCause['not-accepting']).to.be.greaterThan(0);
    await drill.allOnline(manager, Date.now());
    await nobodyIsAccused();
  });

  it(`accuses nobody while ${HOGS} hogs take the processors, and goes on making verdicts`, async () => {
    for (let hog = 0; hog < HOGS; hog += 1) hogs.push(spawn(process.execPath, ['-e', 'for (;;);']));
    const until = performance.now() + HOGGED_MS;
    while (performance.now() < until) {
      await nobodyIsAccused();
      await delay(2000);
    }
    await eventually('verdicts are made', async () => (await system()).verdicts.state === 'active');
    for (const hog of hogs.splice(0)) hog.kill('SIGKILL');
    await drill.allOnline(manager, Date.now());
    await nobodyIsAccused();
  });

  it('is no longer degraded five minutes later, by itself', async () => {
    const rest = RESOLVED_WITHIN_MS - (performance.now() - pausedAt) + HOGGED_MS;
    const resolved = async () => (await degraded()).every(({ state }) => state === 'resolved');
    await eventually('it resolves', resolved, Math.max(rest, 1000));
    await nobodyIsAccused();
  });

  it('checks its own path when all of them die at once, and then says so of every one', async () => {
    drill.end();
    await eventually('every agent is called offline', async () => (await offline()).length === AGENTS, 60_000);
    expect(manager.output()).to.include('nearly all computers fell silent together');
    expect(manager.output()).to.include('the silence is believed');
    expect(manager.output()).not.to.include('the own path is broken');
    expect((await system()).listening.deafSecondsByCause['self-suspicion']).to.equal(0);
  });
});
