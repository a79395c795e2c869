import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import { enrollBody } from '../support/agent-port.js';
import { agentTarget, enrollComputer, type EnrolledComputer } from '../support/enrolled-computer.js';
import { listAll } from '../support/event-ledger.js';
import { createExternalPostgres, type ExternalPostgres } from '../support/external-postgres.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { accusationsOf, degradationsBut, degradationsOf, type SeenAlert } from '../support/fleet-in-process.js';
import { call, type CallAnswer, type CallTarget } from '../support/http-call.js';
import {
  makeDataDir,
  MANY_AGENTS,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 100);
const AWAY_SECONDS = Number(process.env['WARDBEAT_TEST_AWAY_SECONDS'] ?? 60);
/** The load runs this long against a working database first: V8 grows its heap and compiles, which is no leak. */
const WARM_UP_SECONDS = Number(process.env['WARDBEAT_TEST_WARM_UP_SECONDS'] ?? 30);
const ANSWERED_WITHIN_MS = 1000;
const RECOVERED_WITHIN_MS = 5000;
const GROWN_AT_MOST_MB = 50;
const AT_ONCE = 50;
/** What a manager may be deaf in five minutes without a word, and a second for the edges. */
const DEAF_AT_MOST_SECONDS = 31;

interface Seen {
  readonly what: string;
  readonly status: number;
  readonly retryAfter: number;
  readonly tookMs: number;
}

describe(`the database away for ${AWAY_SECONDS} s under ${AGENTS} real agents (R3)`, function () {
  this.timeout(600_000);
  const root = makeDataDir();
  let database: ExternalPostgres;
  let manager: ManagerProcess;
  let drill: FleetDrill;
  let agents: CallTarget;
  let admin: CallTarget;
  let web1: EnrolledComputer;
  let token: string;
  const away: Seen[] = [];
  const health: { readonly path: string; readonly status: number }[] = [];
  let grownMb = 0;
  let recoveredMs = Number.POSITIVE_INFINITY;
  let acceptedWhileAway = 0;

  before(async () => {
    database = await createExternalPostgres(join(root, 'database'));
    await database.start();
    const env = {
      ...database.env,
      ...MANY_AGENTS,
    };
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    const settings = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 2 };
    drill = await startFleetDrill(manager, { root, agents: AGENTS, settings, eventsPerBeat: 2 });
    await drill.allOnline(manager);
    agents = await agentTarget(manager);
    admin = { host: '127.0.0.1', port: Number(new URL(manager.adminUrl).port) };
    const { items } = await manager.api.get<{ items: { id: string }[] }>('/policies');
    const asked = { policyId: items[0]?.id, uses: 1000, expiresInSeconds: 3600, ratePerSecond: 1000 };
    token = (await manager.api.post<{ token: string }>('/enrollment-tokens', asked)).token;
    web1 = await enrollComputer(agents, { token, name: 'web1' });
    expect((await web1.beat(web1.report())).status).to.equal(200);
  });

  after(async () => {
    drill?.end();
    await manager?.stop();
    await database?.end();
    removeDataDir(root);
  });

  async function timed(what: string, asking: () => Promise<CallAnswer>): Promise<Seen> {
    const startedAt = performance.now();
    const { status, headers } = await asking().catch(() => ({ status: 0, headers: {} as CallAnswer['headers'] }));
    return { what, status, retryAfter: Number(headers['retry-after'] ?? 0), tookMs: performance.now() - startedAt };
  }
  const beat = () => timed('heartbeat', () => web1.beat(web1.report()));
  const enroll = () => {
    const body = JSON.stringify(enrollBody(token));
    const headers = { 'Content-Type': 'application/json' };
    return timed('enrollment', () => call(agents, { method: 'POST', path: AGENT_PATHS.enroll, headers, body }));
  };
  const look = async (path: string) => {
    const { status } = await call(admin, { method: 'GET', path });
    health.push({ path, status });
    return status;
  };
  const rssMb = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${manager.pid}/status`, 'utf8'))?.[1]) / 1024;

  interface Load {
    readonly answers: readonly Seen[];
    /** One reading per round. */
    readonly rssMb: readonly number[];
  }

  async function load(until: number): Promise<Load> {
    const answers = await Promise.all(Array.from({ length: AT_ONCE }, enroll));
    const readings: number[] = [];
    while (performance.now() < until) {
      answers.push(...(await Promise.all([beat(), enroll()])));
      await look('/healthz');
      await look('/readyz');
      readings.push(rssMb());
      await delay(250);
    }
    return { answers, rssMb: readings };
  }

  /** What the manager takes under the load once it is warm: the median over the second half. */
  async function warmMb(): Promise<number> {
    const { answers, rssMb: readings } = await load(performance.now() + WARM_UP_SECONDS * 1000);
    expect(answers.filter(({ status }) => status !== 200 && status !== 201)).to.deep.equal([]);
    const settled = readings.slice(readings.length >>> 1).toSorted((a, b) => a - b);
    return settled[settled.length >>> 1] ?? rssMb();
  }

  it('is told to every agent within a second, and recovered from by itself', async () => {
    const coldMb = rssMb();
    const startedMb = await warmMb();
    health.length = 0;
    const until = performance.now() + AWAY_SECONDS * 1000;
    const acceptedBefore = drill.accepted().length;
    await database.stopImmediately();
    // The connections break now; what is asked from the next moment on is asked of no database.
    const { answers, rssMb: readings } = await load(until);
    away.push(...answers);
    grownMb = Math.max(...readings) - startedMb;
    acceptedWhileAway = drill.accepted().length - acceptedBefore;
    await database.start();
    const startedAt = performance.now();
    const isBack = async () => (await beat()).status === 200 && (await look('/readyz')) === 200;
    await eventually('the manager is ready again', isBack, 60_000);
    recoveredMs = performance.now() - startedAt;
    const slowest = Math.round(Math.max(...away.map(({ tookMs }) => tookMs)));
    const [cold, warm, grown] = [coldMb, startedMb, grownMb].map(Math.round);
    console.error(
      JSON.stringify({
        requests: away.length,
        slowestMs: slowest,
        coldMb: cold,
        warmMb: warm,
        grownMb: grown,
        recoveredMs: Math.round(recoveredMs),
      }),
    );
  });

  it('every request was answered 503 with Retry-After in time', () => {
    const odd = away.filter(
      ({ status, retryAfter, tookMs }) => status !== 503 || retryAfter < 1 || tookMs > ANSWERED_WITHIN_MS,
    );
    expect(odd).to.deep.equal([]);
    expect(away.length).to.be.greaterThan(2 * AT_ONCE);
  });

  it('the manager was alive and not ready, and grew little', () => {
    const before = health.slice(
      0,
      health.findLastIndex(({ path, status }) => path === '/readyz' && status === 503),
    );
    expect(before.filter(({ path, status }) => path === '/healthz' && status !== 200)).to.deep.equal([]);
    expect(before.filter(({ path, status }) => path === '/readyz' && status !== 503)).to.deep.equal([]);
    expect(grownMb).to.be.lessThan(GROWN_AT_MOST_MB);
  });

  it('it was ready within five seconds after the database', () => {
    expect(recoveredMs).to.be.lessThan(RECOVERED_WITHIN_MS);
  });

  it('nothing was lost, nobody was called offline', async () => {
    expect(acceptedWhileAway).to.be.greaterThan(AGENTS);
    await eventually(
      'all agents are heard again',
      async () => {
        const listed = await listAll<{ name: string; lastSeenAt: string | null }>(drill.apiOf(manager), '/computers');
        const fleet = listed.filter(({ name }) => name.startsWith('fleet-'));
        return fleet.every(({ lastSeenAt }) => Date.parse(lastSeenAt ?? '') > Date.now() - 6000);
      },
      60_000,
    );
    expect(await drill.look(manager)).to.deep.equal([]);
    expect(await drill.faultsOfEvents(manager)).to.deep.equal([]);
    const seen = { api: drill.apiOf(manager) };
    // The computers that this drill enrolled beside the fleet fall silent, and apply no settings.
    const isOwn = ({ computerName }: SeenAlert) => computerName !== null && !computerName.startsWith('fleet-');
    expect((await accusationsOf(seen)).filter((alert) => !isOwn(alert))).to.deep.equal([]);
    expect(await degradationsBut('database-away', seen)).to.deep.equal([]);
    if (AWAY_SECONDS > DEAF_AT_MOST_SECONDS)
      await eventually('it is told that it was deaf', async () => (await degradationsOf(seen)).length === 1);
  });
});
