import { expect } from 'chai';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { startFaultWorld, type FaultWorld } from '../support/fault-world.js';
import { FAKETIME } from '../support/faketime.js';
import { computersOf, degradationsOf } from '../support/fleet-in-process.js';
import { call } from '../support/http-call.js';
import { makeDataDir, removeDataDir } from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { skipFor } from '../support/skip.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 500);
const AWAY_MS = Number(process.env['WARDBEAT_TEST_AWAY_SECONDS'] ?? 60) * 1000;
const SETTINGS = { heartbeatIntervalSeconds: 10, heartbeatsMissedAllowed: 1, heartbeatGraceSeconds: 5 };
const LISTENERS_FROM = 24_000;
const HOUR = 3_600_000;
const DOWN_MS = 20_000;
const PAUSED_MS = 30_000;
const HOGS = 2;
/** Ends by itself where nobody is left to end it. */
const HOG = 'for (const end = Date.now() + 300_000; Date.now() < end; );';
const HOGGED_MS = Number(process.env['WARDBEAT_TEST_HOGGED_SECONDS'] ?? 45) * 1000;
/** What has left the last five minutes counts no more, be it the pause or what the hogs did. */
const RESOLVED_WITHIN_MS = 330_000;
/** What a manager may be deaf in five minutes without a word, and a second for the edges. */
const DEAF_AT_MOST_MS = 31_000;
const PRLIMIT = 'prlimit (util-linux)';

interface SystemAnswer {
  readonly verdicts: { readonly state: string };
  readonly listening: {
    readonly deaf: string | null;
    readonly deafSeconds: number;
    readonly deafSecondsByCause: Readonly<Record<string, number>>;
  };
}

describe(`what may befall a manager of ${AGENTS} real agents of all directions (R2, R9, R30)`, function () {
  this.timeout(900_000);
  const root = makeDataDir();
  const hogs: ChildProcess[] = [];
  let world: FaultWorld;

  before(async () => {
    world = await startFaultWorld({ root, agents: AGENTS, settings: SETTINGS, listenersFrom: LISTENERS_FROM });
  });
  const endHogs = () => hogs.splice(0).forEach((hog) => hog.kill('SIGKILL'));
  afterEach(endHogs);
  after(async () => {
    endHogs();
    await world?.end();
    removeDataDir(root);
  });

  const api = () => world.manager().api;
  const system = () => api().get<SystemAnswer>('/system');
  const deafSecondsOf = async (cause: string) => (await system()).listening.deafSecondsByCause[cause] ?? 0;
  const degraded = () => degradationsOf(world.manager());
  /** Waits until the manager says of itself that it was deaf by this cause. */
  const untilBlamed = (cause: string) =>
    eventually(`the manager is degraded, ${cause}`, async () =>
      (await degraded()).find(({ detail }) => detail.spans.some((span) => span.cause === cause)),
    );
  const metric = async (name: string): Promise<number> => {
    const { text } = await call(
      { host: '127.0.0.1', port: Number(new URL(world.manager().adminUrl).port) },
      { method: 'GET', path: '/metrics' },
    );
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    return Number(line?.split(' ').at(-1) ?? Number.NaN);
  };
  const prlimit = (...words: string[]) => spawnSync('prlimit', ['--pid', String(world.manager().pid), ...words]);

  /** Stops an agent in the middle of the time in which the manager hears nobody, and waits for what is said of it. */
  async function endure(deafMs: number, hearAgain: () => Promise<unknown>): Promise<void> {
    await delay(deafMs / 2);
    const agent = await world.killOne();
    await delay(deafMs / 2);
    const from = Date.now();
    await hearAgain();
    await eventually('it listens', () => world.isListening(), 60_000);
    await world.found({ agent, silentFrom: [from, Date.now()] });
  }

  for (const [name, offsetMs] of [
    ['ahead', HOUR],
    ['behind', -HOUR],
  ] as const)
    it(`accuses nobody while its wall clock is an hour ${name}, and finds the one that was stopped`, async function () {
      if (!world.wall) skipFor(this, FAKETIME);
      world.stepTo(offsetMs);
      const agent = await world.killOne();
      await world.found({ agent, silentFrom: [Date.now(), Date.now()] });
      world.stepTo(0);
      expect(await degraded()).to.deep.equal([]);
    });

  it(`accuses nobody after a pause of ${PAUSED_MS / 1000} s, finds the one that was stopped, and says that it was paused`, async () => {
    world.manager().kill('SIGSTOP');
    await endure(PAUSED_MS, async () => {
      world.manager().kill('SIGCONT');
      const isTold = async () => (await metric('wardbeat_scheduler_lag_seconds')) >= PAUSED_MS / 1000 - 2;
      await eventually('the lag is told', isTold, 10_000);
    });
    const alert = await untilBlamed('paused');
    console.error(JSON.stringify(alert.detail));
    expect(alert).to.include({ state: 'raised', computerName: null });
    await eventually('the pause is counted', async () => (await deafSecondsOf('paused')) >= PAUSED_MS / 1000);
    expect(await deafSecondsOf('paused')).to.be.at.most(PAUSED_MS / 1000 + 10);
    expect(await metric('wardbeat_deaf_seconds_total{cause="paused"}')).to.be.at.least(PAUSED_MS / 1000);
  });

  it('says that its port takes no connections when it is out of file descriptors, and hears again by itself', async function () {
    const { error, stdout } = prlimit('--nofile', '--output', 'SOFT', '--noheadings');
    if (error) skipFor(this, PRLIMIT);
    // The lowest ones are in use for ever: it gets no new one.
    expect(prlimit('--nofile=4:').status).to.equal(0);
    // Nothing can be asked of it meanwhile: the admin port takes no connections either.
    const isNoticed = () => world.manager().output().includes('the agent port takes no connections');
    await eventually('it notices', isNoticed, 20_000).finally(() => prlimit(`--nofile=${String(stdout).trim()}:`));
    await eventually('it listens again', () => world.isListening(), 20_000);
    expect(await deafSecondsOf('not-accepting')).to.be.greaterThan(0);
    await world.nobodyElseIsAccused();
  });

  it(`accuses nobody while ${HOGS} hogs take the processors, and finds the one that was stopped`, async () => {
    const before = (await system()).listening.deafSeconds;
    const fleetLag = monitorEventLoopDelay();
    fleetLag.enable();
    for (let hog = 0; hog < HOGS; hog += 1) hogs.push(spawn(process.execPath, ['-e', HOG]));
    const killedAt = Date.now();
    const agent = await world.killOne();
    const excusedMs = async () => 1000 * ((await system()).listening.deafSeconds - before);
    await Promise.all([
      delay(HOGGED_MS),
      world.found({ agent, silentFrom: [killedAt, Date.now()], excusedMs, noticedWithinMs: HOGGED_MS }),
    ]);
    fleetLag.disable();
    console.error(JSON.stringify({ fleetLagMs: Math.round(fleetLag.max / 1e6) }));
    await world.nobodyElseIsAccused();
    await eventually('verdicts are made', async () => (await system()).verdicts.state === 'active');
  });

  it('is no longer degraded five minutes later, by itself', async () => {
    const resolved = async () => (await degraded()).every(({ state }) => state === 'resolved');
    await eventually('it resolves', resolved, RESOLVED_WITHIN_MS);
    await world.nobodyElseIsAccused();
  });

  it(`accuses nobody after kill -9 and ${DOWN_MS / 1000} s without it, and finds the one that was stopped`, async () => {
    world.manager().kill('SIGKILL');
    await world.manager().ended;
    await endure(DOWN_MS, () => world.restart());
  });

  it(`accuses nobody after ${AWAY_MS / 1000} s without database, and finds the one that was stopped`, async () => {
    await world.database.stopImmediately();
    await endure(AWAY_MS, () => world.database.start());
    expect(await deafSecondsOf('database-away')).to.be.at.least(AWAY_MS / 1000 - 2);
    if (AWAY_MS > DEAF_AT_MOST_MS) await untilBlamed('database-away');
  });

  it('checks its own path when all of them die at once, and then says so of every one', async () => {
    await world.killAll();
    const offline = async () => (await computersOf(world.manager())).filter(({ status }) => status === 'offline');
    await eventually('every agent is called offline', async () => (await offline()).length === AGENTS, 90_000);
    const output = world.manager().output();
    expect(output).to.include('nearly all computers fell silent together');
    expect(output).to.include('the silence is believed');
    expect(output).not.to.include('the own path is broken');
    expect(await deafSecondsOf('self-suspicion')).to.equal(0);
  });
});
