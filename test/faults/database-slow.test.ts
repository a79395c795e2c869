import { expect } from 'chai';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { agentTarget, enrollComputer, type EnrolledComputer } from '../support/enrolled-computer.js';
import { createExternalPostgres, type ExternalPostgres } from '../support/external-postgres.js';
import { startFleetDrill, type FleetDrill } from '../support/fleet-drill.js';
import { accusationsOf, degradationsOf, makeToken, rootPolicyOf, type SeenAlert } from '../support/fleet-in-process.js';
import { call } from '../support/http-call.js';
import {
  makeDataDir,
  MANY_AGENTS,
  removeDataDir,
  startManager,
  type ManagerProcess,
} from '../support/manager-process.js';
import { eventually } from '../support/poll.js';
import { startRelay, type Relay } from '../support/relay.js';

const AGENTS = Number(process.env['WARDBEAT_TEST_AGENTS'] ?? 200);
const SLOW_MS = Number(process.env['WARDBEAT_TEST_SLOW_SECONDS'] ?? 60) * 1000;
/** Every statement takes so much longer. */
const STATEMENT_MS = 2000;
const SETTINGS = { heartbeatIntervalSeconds: 5, heartbeatsMissedAllowed: 2 };
const ASKERS = 10;
const ANSWERED_WITHIN_MS = 10_000;
const QUEUED_AT_MOST = 1000;
const STALLED_AT_MOST_MS = 200;
const RECOVERED_WITHIN_MS = 20_000;
/** Of the queue whose share the metric tells. */
const QUEUE = 1000;

interface Answer {
  readonly status: number;
  readonly retryAfter: number;
  readonly tookMs: number;
}

interface Look {
  readonly queued: number;
  readonly stalledMs: number;
}

describe(`a database that answers late, or gives no locks, for ${SLOW_MS / 1000} s (R5)`, function () {
  this.timeout(600_000);
  const root = makeDataDir();
  const askers: EnrolledComputer[] = [];
  let database: ExternalPostgres;
  let relay: Relay;
  let manager: ManagerProcess;
  let drill: FleetDrill;

  before(async () => {
    database = await createExternalPostgres(join(root, 'database'));
    await database.start();
    const url = new URL(database.env.DATABASE_URL);
    relay = await startRelay({ port: Number(url.port) });
    url.port = String(relay.port);
    const env = {
      ...database.env,
      DATABASE_URL: url.href,
      ...MANY_AGENTS,
    };
    manager = await startManager({ dataDir: join(root, 'manager'), env });
    drill = await startFleetDrill(manager, { root, agents: AGENTS, settings: SETTINGS, eventsPerBeat: 2 });
    await drill.allOnline(manager);
    const target = await agentTarget(manager);
    const token = await makeToken(manager, await rootPolicyOf(manager));
    for (let n = 1; n <= ASKERS; n += 1) askers.push(await enrollComputer(target, { token, name: `asker ${n}` }));
  });
  after(async () => {
    drill?.end();
    await manager?.stop();
    await relay?.close();
    await database?.end();
    removeDataDir(root);
  });

  async function ask(asker: EnrolledComputer): Promise<Answer> {
    const startedAt = performance.now();
    const { status, headers } = await asker
      .beat(asker.report())
      .catch(() => ({ status: 0, headers: {} as Record<string, unknown> }));
    return { status, retryAfter: Number(headers['retry-after'] ?? 0), tookMs: performance.now() - startedAt };
  }

  async function askUntil(until: number): Promise<Answer[]> {
    const each = askers.map(async (asker) => {
      const answers: Answer[] = [];
      while (performance.now() < until) {
        answers.push(await ask(asker));
        await delay(500);
      }
      return answers;
    });
    return (await Promise.all(each)).flat();
  }

  async function look(): Promise<Look> {
    const target = { host: '127.0.0.1', port: Number(new URL(manager.adminUrl).port) };
    const { text } = await call(target, { method: 'GET', path: '/metrics' });
    const of = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
    // The longest since the last look: it is reset by each.
    const stalledMs = 1000 * of('wardbeat_nodejs_eventloop_lag_max_seconds');
    return { queued: QUEUE * of('wardbeat_ingest_queue_share'), stalledMs };
  }

  async function lookUntil(until: number): Promise<Look[]> {
    await look();
    const looks: Look[] = [];
    while (performance.now() < until) {
      looks.push(await look());
      await delay(250);
    }
    return looks;
  }

  async function endure(what: string, end: () => Promise<unknown> | void): Promise<void> {
    const until = performance.now() + SLOW_MS;
    const [answers, looks] = await Promise.all([askUntil(until), lookUntil(until)]);
    await end();
    const endedAt = performance.now();
    await eventually('heartbeats are answered', async () => (await ask(askers[0]!)).status === 200, 60_000);
    const recoveredMs = Math.round(performance.now() - endedAt);
    await drill.allOnline(manager, Date.now());
    const figures = {
      what,
      answers: answers.length,
      refused: answers.filter(({ status }) => status === 503).length,
      slowestMs: Math.round(Math.max(...answers.map(({ tookMs }) => tookMs))),
      mostQueued: Math.max(...looks.map(({ queued }) => queued)),
      longestStallMs: Math.round(Math.max(...looks.map(({ stalledMs }) => stalledMs))),
      recoveredMs,
    };
    console.error(JSON.stringify(figures));
    const odd = answers.filter(({ status, retryAfter }) => status !== 200 && !(status === 503 && retryAfter >= 1));
    expect(odd).to.deep.equal([]);
    expect(figures.refused, 'turned away by 503').to.be.greaterThan(0);
    expect(figures.slowestMs, 'the slowest answer, ms').to.be.at.most(ANSWERED_WITHIN_MS);
    expect(figures.mostQueued).to.be.at.most(QUEUED_AT_MOST);
    expect(figures.longestStallMs, 'the longest stall of the event loop, ms').to.be.at.most(STALLED_AT_MOST_MS);
    expect(recoveredMs).to.be.at.most(RECOVERED_WITHIN_MS);
    expect(await drill.look(manager)).to.deep.equal([]);
    const seen = { api: drill.apiOf(manager) };
    // Who asks by itself falls silent between two trials, and applies no settings.
    const isOwn = ({ computerName }: SeenAlert) => computerName !== null && !computerName.startsWith('fleet-');
    expect((await accusationsOf(seen)).filter((alert) => !isOwn(alert))).to.deep.equal([]);
    // It may say that it could not store what it heard, but not that it could not be reached.
    const reasons = (await degradationsOf(seen)).map(({ reason }) => reason);
    expect(reasons.filter((reason) => reason !== 'deaf' && reason !== 'scheduler-lag')).to.deep.equal([]);
  }

  it(`makes the manager shed load when every statement takes ${STATEMENT_MS / 1000} s more, and accuses nobody`, async () => {
    relay.delayBy(STATEMENT_MS);
    await endure('slow', () => relay.delayBy(0));
  });

  it('makes it shed load when all of its connections wait for a lock, and accuses nobody', async () => {
    const client = new pg.Client({ connectionString: database.env.DATABASE_OWNER_URL });
    await client.connect();
    await client.query('BEGIN');
    await client.query('LOCK TABLE computer_live IN ACCESS EXCLUSIVE MODE');
    await endure('locked', () => client.end());
  });

  it('loses and doubles no event that a spool accepted', async () => {
    expect(await drill.faultsOfEvents(manager)).to.deep.equal([]);
  });
});
