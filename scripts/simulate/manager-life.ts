import { hash } from 'node:crypto';
import type pg from 'pg';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import { readBy } from '../../lib/schema.js';
import { reportSchema, type Orders, type Report } from '../../protocol/heartbeat-messages.js';
import type { RouteDefinition } from '../../server/admin-api/route.js';
import { composeCore, type Core, type CoreOverrides } from '../../server/compose-core.js';
import { composeRoutes } from '../../server/compose-routes.js';
import type { Config } from '../../server/config.js';
import { createHotTransaction } from '../../server/database/hot-transaction.js';
import { createPoolUnitOfWork, createUnitOfWork } from '../../server/database/in-transaction.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { openFleetClock, type OpenedFleetClock } from '../../server/fleet-clock/open-fleet-clock.js';
import { createPeerLimits } from '../../server/agent-channel/peer-limits.js';
import type { ListenerTransport } from '../../server/dials/dial-transport.js';
import { composeDials, type Dials } from '../../server/dials/index.js';
import type { Exchange } from '../../server/heartbeats/exchange.js';
import { inert } from '../../server/inert.js';
import { managerStarted, managerStopped } from '../../server/manager-notes.js';
import type { Storage } from '../../server/open-storage.js';
import {
  addIncidentWakeUps,
  addVerdictWakeUps,
  clockJobs,
  cronJobs,
  INCIDENTS,
  listeningJobs,
  VERDICTS,
  watchJobs,
} from '../../server/scheduler/jobs.js';
import { createLagWatch, type LagWatch } from '../../server/scheduler/lag-watch.js';
import { createManagerWatch } from '../../server/system/manager-watch.js';
import { createSimulatedThread } from './simulated-thread.js';
import { createScheduler, type Scheduler } from '../../server/scheduler/scheduler.js';
import type { SeededRandom } from './seeded-random.js';
import { createSimulatedCron } from './simulated-cron.js';
import type { SimulatedDatabase } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-machine.js';
import type { SimulatedPool } from './simulated-pool.js';
import type { SimulationOrm } from './simulation-orm.js';

const SECOND_MS = 1000;
/** Less often than in the product, and often enough for the shortest stall that counts. */
const WITNESS_EVERY_MS = 400;

export interface LifeOptions {
  readonly config: Config;
  readonly process: SimulatedProcess;
  readonly database: SimulatedDatabase;
  readonly orm: SimulationOrm;
  readonly random: SeededRandom;
  readonly log: Log;
  /** How often proofs, clock and schedules come round; a second in the product. */
  readonly tickMs: number;
  readonly overrides?: CoreOverrides | undefined;
  /** How this life reaches the agents' listeners; without it nothing dials. */
  readonly dialTransport?: ((life: ManagerLife) => ListenerTransport) | undefined;
  /** Breaks the product on purpose. */
  readonly twistExchange?: ((exchange: Exchange, clock: OpenedFleetClock) => Exchange) | undefined;
}

export interface PortOpening {
  readonly waitForPort: () => Promise<void>;
  readonly onPortOpen: () => void;
}

export interface IncomingReport {
  readonly computerId: string;
  readonly body: string;
  readonly dialledBy: Exchange['dialledBy'];
  readonly onReport: (received: ReceivedReport) => void;
}

export interface ReceivedReport {
  readonly computerId: string;
  readonly receivedAt: number;
  readonly report: Report;
}

/** One life of the manager: the product's own composition on simulated edges, without its two ports. */
export class ManagerLife {
  readonly process: SimulatedProcess;
  readonly fleetClock: OpenedFleetClock;
  readonly core: Core;
  readonly routes: readonly RouteDefinition[];
  readonly pool: SimulatedPool;
  readonly #options: LifeOptions;
  readonly #scheduler: Scheduler;
  readonly #dials: Dials | undefined;
  readonly #lag: LagWatch;
  #isListening = false;

  private constructor(options: LifeOptions, parts: Parts) {
    this.#options = options;
    this.process = options.process;
    this.fleetClock = parts.storage.fleetClock;
    this.core = parts.core;
    this.pool = parts.pool;
    this.#lag = parts.lag;
    this.routes = composeRoutes({
      config: options.config,
      storage: parts.storage,
      core: parts.core,
      edges: parts.edges,
      agentUrl: () => 'https://manager.simulation:4120',
      prober: inert('prober'),
      system: inert('system'),
      ownCertificates: () => [],
    }).routes;
    this.#scheduler = composeSchedules(options, parts);
    this.#dials = options.dialTransport ? composeLifeDials(options, parts, options.dialTransport(this)) : undefined;
  }

  static async begin(options: LifeOptions): Promise<ManagerLife> {
    return new ManagerLife(options, await compose(options));
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  /** As the product's start does, in its order; agents come in from `onPortOpen` on, after `waitForPort`. */
  async start({ waitForPort, onPortOpen }: PortOpening): Promise<void> {
    const { core } = this;
    core.journal.note(managerStarted('simulated'));
    await core.journal.start();
    await core.heartbeats.recorder.start();
    await core.heartbeats.lateness.start();
    await core.ledger.register();
    await waitForPort();
    this.#isListening = true;
    onPortOpen();
    await core.ledger.opened();
    await core.selfDialler.start();
    core.portWatch.open({ host: '127.0.0.1', port: 4120, handshakes: () => 0 });
    this.#lag.start();
    await this.#dials?.start();
    this.#scheduler.start();
  }

  /** As the product's stop does. */
  async stop(): Promise<void> {
    const { core } = this;
    core.journal.note(managerStopped());
    await this.#scheduler.stop();
    await core.incidents.release();
    await core.notices.close();
    await core.verdicts.release();
    await this.#dials?.stop();
    await core.ledger.close();
    await core.heartbeats.batcher.drain();
    this.#isListening = false;
    await core.heartbeats.lateness.stop();
    await core.heartbeats.recorder.stop();
    await core.journal.stop();
  }

  /** What the agent port, or a dial, does with a body; throws a Problem. */
  async handle({ computerId, body, dialledBy, onReport }: IncomingReport): Promise<Orders> {
    const bytes = Buffer.from(body);
    const receivedAt = Math.floor(this.fleetClock.fleet());
    const report = readBy(reportSchema, parseBoundedJson(bytes));
    onReport({ computerId, receivedAt, report });
    const exchange: Exchange = {
      identity: { computerId, serial: '0f'.repeat(16) },
      receivedAt,
      listener: this.#options.config.node,
      via: 'direct',
      dialledBy,
      report,
      digest: hash('sha256', bytes, 'buffer'),
      address: '192.0.2.1',
      tls: { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384' },
    };
    const twisted = this.#options.twistExchange?.(exchange, this.fleetClock) ?? exchange;
    return this.core.heartbeats.batcher.submit(twisted);
  }
}

interface Parts {
  readonly edges: { readonly clock: OpenedFleetClock; readonly random: SeededRandom; readonly log: Log };
  readonly storage: Storage;
  readonly core: Core;
  readonly pool: SimulatedPool;
  readonly lag: LagWatch;
}

async function compose(options: LifeOptions): Promise<Parts> {
  const { config, process, random, log, overrides } = options;
  const pool = options.database.poolOf(process);
  options.orm.use(pool);
  const raw = { clock: process.clock, random, log };
  const inJobsTransaction = createHotTransaction(createPoolUnitOfWork(pool as unknown as pg.Pool, raw));
  const { bootId } = process.machine;
  const fleetClock = await openFleetClock({ ...raw, bootId, inTransaction: inJobsTransaction });
  const edges = { ...raw, clock: fleetClock };
  const storage: Storage = {
    dataSource: options.orm.dataSource,
    inTransaction: createUnitOfWork(options.orm.dataSource, raw),
    ingestPool: pool as unknown as pg.Pool,
    jobsPool: pool as unknown as pg.Pool,
    inJobsTransaction,
    inIngestTransaction: createPoolUnitOfWork(pool as unknown as pg.Pool, raw),
    sql: sqlOfClient(pool),
    fleetClock,
    auditProtected: true,
    appliedMigrations: [],
    connection: options.database.deps.connection,
  };
  const selfDialler = createSimulatedThread(process);
  const core = await composeCore({ config, edges, storage, managerUrls: [], overrides: { selfDialler, ...overrides } });
  return { edges, storage, core, pool, lag: createLagWatch(fleetClock, options.tickMs) };
}

/** The product's dials over a simulated network; notifications never come, so that only its polls tell it of others. */
function composeLifeDials({ config, log }: LifeOptions, { storage, core }: Parts, transport: ListenerTransport): Dials {
  const { fleetClock, sql, inJobsTransaction: inTransaction } = storage;
  const dials = composeDials({
    authority: core.authority,
    identity: inert('identity'),
    fleetClock,
    log,
    sql,
    inTransaction,
    connect: async () => ({ query: async () => undefined, on: () => undefined, end: async () => undefined }),
    settings: core.cache,
    limits: createPeerLimits({}, () => fleetClock.monotonic()),
    verdicts: core.verdicts,
    spans: () => core.ledger.spans(),
    isDeaf: () => core.breaker.isAway() || core.ledger.deafness() !== undefined,
    node: config.node,
    allowedCidrs: undefined,
    submit: (exchange) => core.heartbeats.batcher.submit(exchange),
    noteMismatch: core.noteMismatch,
    upload: core.commands.upload,
    transport,
  });
  core.hints.add(dials);
  core.dialRequests.connect(dials);
  return dials;
}

/** Every schedule of the product that verdicts rest on, at the simulation's tick. */
function composeSchedules({ config, process, log, tickMs }: LifeOptions, { storage, core, lag }: Parts): Scheduler {
  const { fleetClock, inJobsTransaction: inTransaction } = storage;
  const { ledger, portWatch, verdicts, cache, sealer, incidents, notices, statusNudge, alerts, commands, expiries } =
    core;
  const atTick = <J extends { readonly everyMs: number }>(job: J): J => ({
    ...job,
    everyMs: job.everyMs < SECOND_MS ? WITNESS_EVERY_MS : (job.everyMs * tickMs) / SECOND_MS,
  });
  const settings = { name: 'settings-poll', everyMs: SECOND_MS, run: () => cache.refresh() };
  const watch = createManagerWatch({ node: config.node, ledger, lag, alerts, inTransaction, fleetClock });
  const scheduler = createScheduler({
    clock: fleetClock,
    log,
    cron: createSimulatedCron(process, { [VERDICTS]: tickMs, [INCIDENTS]: tickMs, notices: tickMs }),
    jobs: cronJobs({ inTransaction, fleetClock, verdicts, sealer, incidents, notices, lag, commands, expiries }),
    monotonicJobs: [
      ...clockJobs({ inTransaction, fleetClock }),
      ...listeningJobs(ledger, portWatch),
      ...watchJobs(watch),
      settings,
    ].map(atTick),
  });
  addVerdictWakeUps(scheduler, verdicts);
  addIncidentWakeUps(scheduler, statusNudge);
  return scheduler;
}

/** A failure that the product answers with a problem document; anything else would be its `internal`. */
export function toProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem('internal', {}, error);
}
