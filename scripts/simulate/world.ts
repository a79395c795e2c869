import type { Log } from '../../lib/log.js';
import type { Config } from '../../server/config.js';
import { FaultCounter } from './fault-counter.js';
import { ManagerHost } from './manager-host.js';
import type { ManagerLife, ReceivedReport } from './manager-life.js';
import type { ListenerTransport } from '../../server/dials/dial-transport.js';
import { createSimulatedDials } from './simulated-dials.js';
import { EventLedger } from './oracle/event-ledger.js';
import { Oracle } from './oracle/oracle.js';
import type { Violations } from './oracle/violations.js';
import { sabotageOf, type Sabotage } from './sabotage.js';
import { drawScenario, type Scenario } from './scenario.js';
import { SeededRandom } from './seeded-random.js';
import { SimulatedAgent } from './simulated-agent.js';
import { SimulatedDatabase } from './simulated-database.js';
import { Machine } from './simulated-machine.js';
import { Link, type Reply } from './simulated-network.js';
import type { SeedDatabase } from './simulation-cluster.js';
import type { SimulationOrm } from './simulation-orm.js';
import { Timeline } from './timeline.js';
import { Trace } from './trace.js';

export interface WorldOptions {
  readonly seed: number;
  readonly agents: number;
  readonly sabotage: Sabotage | undefined;
  readonly config: Config;
  readonly database: SeedDatabase;
  readonly orm: SimulationOrm;
  readonly log: Log;
  readonly violations: Violations;
  readonly show?: (line: string) => void;
}

/** A process that stood still for longer must know of it. */
const PAUSE_COUNTS_MS = 1401;

/** Everything of one seed: time, machines, network, database, the manager, its agents, and who judges them. */
export class World {
  readonly options: WorldOptions;
  readonly random: SeededRandom;
  readonly scenario: Scenario;
  readonly timeline = new Timeline();
  readonly faults = new FaultCounter();
  readonly trace: Trace;
  readonly database: SimulatedDatabase;
  readonly manager: ManagerHost;
  readonly agents: SimulatedAgent[] = [];
  readonly policyIds: string[] = [];
  readonly oracle: Oracle;
  readonly events: EventLedger;
  /** Virtual milliseconds that a connection takes to come, beyond the usual. */
  databaseLatencyMs = 0;
  /** None while the fleet is set up. */
  usualLatencyMs = 0;
  heartbeats = 0;
  /** Since when, in fleet time, the manager has been all right. */
  #managerSince: number | undefined;
  readonly #agentSince = new Map<string, number | undefined>();

  constructor(options: WorldOptions) {
    this.options = options;
    this.random = new SeededRandom(`wardbeat ${options.seed}`);
    this.scenario = drawScenario(this.random.fork('scenario'));
    const { timeline } = this;
    this.trace = new Trace({ now: () => timeline.now, ...(options.show ? { show: options.show } : {}) });
    const { observer } = options.database;
    const { violations } = options;
    this.events = new EventLedger(observer, violations);
    this.oracle = new Oracle({
      observer,
      violations,
      tickMs: this.scenario.tickMs,
      fleet: () => this.manager.fleet(),
      note: (text) => this.trace.note(text),
      healthySince: (computerId) => this.healthySince(computerId),
    });
    const sabotaged = sabotageOf(options.sabotage, {
      random: this.random.fork('sabotage'),
      isBegun: () => this.agents.length > 0,
    });
    const latency = this.random.fork('database');
    this.database = new SimulatedDatabase({
      connection: options.database.app,
      trace: this.trace,
      latencyMs: () => latency.between(0, this.databaseLatencyMs + this.usualLatencyMs),
      onCommit: (tables) => this.oracle.committed(tables),
      onCommitFault: () => this.oracle.deafness.hiccup(this.manager.fleet()),
      twist: sabotaged.statements,
    });
    this.manager = new ManagerHost({
      config: options.config,
      database: this.database,
      orm: options.orm,
      log: options.log,
      tickMs: this.scenario.tickMs,
      overrides: sabotaged.overrides,
      twistExchange: sabotaged.exchange,
      dialTransport: this.scenario.hasDirections ? (life) => this.#dialsOf(life) : undefined,
      machine: new Machine(timeline, this.random.fork('manager machine'), { upForMs: 3_600_000, wallOffsetMs: 0 }),
      randomOf: (life) => this.random.fork(`manager ${life}`),
      hooks: this.#hooks(),
    });
  }

  #dialsOf({ process }: ManagerLife): ListenerTransport {
    return createSimulatedDials({
      process,
      agentOf: (computerId) => this.agents.find((agent) => agent.computerId === computerId),
      deliver: (delivery) => this.manager.receive(delivery),
      note: (text) => this.trace.note(text),
    });
  }

  settle(): Promise<void> {
    return this.database.turnstile.settle();
  }

  /** Lets virtual time pass. */
  async passTo(instant: number): Promise<void> {
    await this.timeline.run(instant, () => this.settle());
  }

  addAgent(computerId: string): SimulatedAgent {
    const random = this.random.fork(`agent ${computerId}`);
    const { timeline, faults, options } = this;
    const link = new Link({ timeline, faults, random: random.fork('link') });
    const wallOffsetMs = random.pick([0, 0, 1, -1]) * random.between(0, 7_200_000);
    const machine = new Machine(timeline, random.fork('machine'), { upForMs: random.between(0, 9e7), wallOffsetMs });
    const agent: SimulatedAgent = new SimulatedAgent({
      computerId,
      machine,
      link,
      random,
      log: options.log,
      isReachable: () => this.manager.life !== undefined,
      deliver: (delivery) => this.manager.receive(delivery),
      onAccepted: (event) => this.events.accept(event),
      note: (text) => this.trace.note(text),
    });
    this.agents.push(agent);
    this.oracle.add(computerId);
    return agent;
  }

  /** To be called when something that stood between an agent and the manager may be gone. */
  noteHealth(agent: SimulatedAgent): void {
    this.#agentSince.set(agent.computerId, isHealthy(agent) ? this.manager.fleet() : undefined);
  }

  noteManagerHealth(): void {
    const isHealthy = this.manager.life !== undefined && !this.manager.isPaused && this.isDatabaseWell;
    this.#managerSince = isHealthy ? (this.#managerSince ?? this.manager.fleet()) : undefined;
  }

  get isDatabaseWell(): boolean {
    return !this.database.isAway && this.databaseLatencyMs === 0;
  }

  pauseManager(): void {
    if (!this.manager.isUp || this.manager.isPaused) return;
    this.oracle.deafness.begin('paused', this.manager.fleet());
    this.manager.pause();
    this.noteManagerHealth();
  }

  resumeManager(): void {
    this.manager.resume();
    this.oracle.deafness.end('paused', this.manager.fleet(), PAUSE_COUNTS_MS);
    this.noteManagerHealth();
  }

  takeDatabaseAway(): void {
    this.oracle.deafness.begin('database', this.manager.fleet());
    this.database.goAway();
    this.noteManagerHealth();
  }

  bringDatabaseBack(): void {
    this.database.comeBack();
    this.oracle.deafness.end('database', this.manager.fleet(), 2 * this.scenario.tickMs + 3000);
    this.noteManagerHealth();
  }

  slowDatabase(latencyMs: number): void {
    if (latencyMs > 0) this.oracle.deafness.begin('slow', this.manager.fleet());
    else this.oracle.deafness.end('slow', this.manager.fleet(), Number.POSITIVE_INFINITY);
    this.databaseLatencyMs = latencyMs;
    this.noteManagerHealth();
  }

  healthySince(computerId: string): number | undefined {
    const agent = this.agents.find((candidate) => candidate.computerId === computerId);
    const [manager, since] = [this.#managerSince, this.#agentSince.get(computerId)];
    if (!agent || !isHealthy(agent) || manager === undefined || since === undefined) return undefined;
    return Math.max(manager, since);
  }

  #hooks() {
    const { violations } = this.options;
    return {
      onReport: ({ computerId, report, receivedAt }: ReceivedReport) =>
        this.oracle.submitted(computerId, report, receivedAt),
      onAnswer: (computerId: string, reply: Reply) => this.#answered(computerId, reply),
      onOpened: (fleet: number) => {
        this.trace.note('manager opened');
        this.oracle.deafness.end('down', fleet, 0);
        this.noteManagerHealth();
      },
      onClosed: (fleet: number) => {
        this.trace.note('manager ended');
        this.oracle.deafness.end('paused', fleet, PAUSE_COUNTS_MS);
        this.oracle.deafness.begin('down', fleet);
        this.noteManagerHealth();
      },
      onBroken: (error: unknown) => violations.add('other', `the manager cannot start: ${String(error)}`),
    };
  }

  async #answered(computerId: string, reply: Reply): Promise<void> {
    if (typeof reply === 'string') return;
    this.trace.note(`answer ${computerId} ${'code' in reply ? reply.code : reply.effect}`);
    if ('code' in reply) {
      if (reply.code === 'unavailable') this.oracle.deafness.hiccup(this.manager.fleet());
      else if (reply.code !== 'too-many-requests')
        this.options.violations.add('other', `${computerId} was answered ${reply.code}: ${reply.facts.detail ?? ''}`);
      return;
    }
    this.heartbeats += 1;
    this.oracle.answered(computerId, reply);
    await this.database.turnstile.enter(undefined, () => this.events.acknowledged(computerId, reply));
  }
}

function isHealthy({ isRunning, isPaused, link }: SimulatedAgent): boolean {
  return isRunning && !isPaused && link.isClean;
}
