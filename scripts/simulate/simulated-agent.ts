import { createHash } from 'node:crypto';
import { Settings } from '../../agent/apply-settings.js';
import type { HostSnapshot } from '../../agent/collectors/host-collectors.js';
import { CommandJournal } from '../../agent/commands/command-journal.js';
import { CommandRunner } from '../../agent/commands/command-runner.js';
import { Directions } from '../../agent/directions.js';
import { ExchangeLock } from '../../agent/exchange-lock.js';
import { Exchanger } from '../../agent/exchange.js';
import { HeartbeatLoop } from '../../agent/heartbeat-loop.js';
import { ListenerSet } from '../../agent/listener/listener-set.js';
import { Observer } from '../../agent/observer.js';
import { Spool } from '../../agent/spool/spool.js';
import { StateStore } from '../../agent/state-store.js';
import type { Log } from '../../lib/log.js';
import type { GoodbyeReason, Lane } from '../../protocol/heartbeat-messages.js';
import { MemoryDisk } from './memory-store.js';
import type { SeededRandom } from './seeded-random.js';
import type { Machine, SimulatedProcess } from './simulated-machine.js';
import { connectionOf, createWire, type Link, type WireDeps } from './simulated-network.js';

export interface SimulatedAgentDeps extends Pick<WireDeps, 'computerId' | 'isReachable' | 'deliver' | 'note'> {
  readonly machine: Machine;
  readonly link: Link;
  readonly random: SeededRandom;
  readonly log: Log;
  /** An event is on the agent's disk now: it must arrive once. */
  readonly onAccepted: (event: AcceptedEvent) => void;
}

export interface AcceptedEvent {
  readonly computerId: string;
  readonly lane: Lane;
  readonly epoch: string;
  readonly sequence: number;
}

interface Running {
  readonly process: SimulatedProcess;
  readonly loop: HeartbeatLoop;
  readonly spool: Spool;
}

/** One computer with the product's own agent on it, but for its collectors, its disk and its sockets. */
export class SimulatedAgent {
  readonly computerId: string;
  readonly machine: Machine;
  readonly link: Link;
  readonly #deps: SimulatedAgentDeps;
  readonly #disk = new MemoryDisk();
  #process: SimulatedProcess | undefined;
  #running: Running | undefined;
  #lives = 0;
  /** Where the present life listens. */
  #ports = new Set<number>();

  constructor(deps: SimulatedAgentDeps) {
    this.#deps = deps;
    this.computerId = deps.computerId;
    this.machine = deps.machine;
    this.link = deps.link;
  }

  get isRunning(): boolean {
    return this.#process !== undefined && !this.#process.isDead;
  }

  get isPaused(): boolean {
    return this.#process?.isPaused ?? false;
  }

  get hasBacklog(): boolean {
    return this.#running?.spool.hasBacklog() ?? true;
  }

  start(): void {
    if (this.isRunning) return;
    const process = this.machine.spawn();
    this.#process = process;
    void process.whileAlive(this.#compose(process)).then(async (running) => {
      this.#running = running;
      running.loop.start();
      await this.#append(running, 'control');
    });
  }

  kill(): void {
    this.#process?.kill();
    this.#running = undefined;
  }

  /** The machine restarts without having synced its disk. */
  losePower(): void {
    this.kill();
    this.#disk.losePower();
    this.machine.reboot();
  }

  pause(): void {
    this.#process?.pause();
  }

  resume(): void {
    this.#process?.resume();
  }

  /** Says goodbye and ends. */
  leave(reason: GoodbyeReason): void {
    const running = this.#running;
    if (!running) return;
    void running.process.whileAlive(running.loop.leave(reason)).then(() => {
      running.process.kill();
      if (this.#running === running) this.#running = undefined;
    });
  }

  emit(lane: Lane): void {
    const running = this.#running;
    if (running && !running.process.isPaused) void this.#append(running, lane);
  }

  /** A dial of the manager's, as it arrives here; `ended` is told what it came to, if anything is ever said. */
  answer(port: number, deliver: WireDeps['deliver'], ended: (how: 'refused' | 'busy' | 'over') => void): void {
    const process = this.#process;
    const running = this.#running;
    if (!process || process.isDead || !running || !this.#ports.has(port)) return ended('refused');
    process.deliver(() => {
      const { computerId, link } = this;
      const carrier = { kind: 'listener', port, admittedBy: () => true } as const;
      const answered = running.loop.answer(connectionOf({ computerId, link, process, deliver }, carrier));
      if (!answered) return ended('busy');
      const over = (): void => ended('over');
      void process.whileAlive(answered).then(over, over);
    });
  }

  async #listen({ port }: { readonly port: number }) {
    const ports = this.#ports;
    ports.add(port);
    const close = async (): Promise<void> => void ports.delete(port);
    return { port, close, destroy: close, renew: () => undefined };
  }

  async #append({ spool, process }: Running, lane: Lane): Promise<void> {
    const event = { kind: 'simulated', severity: 'info', message: 'It happened' } as const;
    const { epoch, first } = await process.whileAlive(spool.append(lane, event));
    this.#deps.onAccepted({ computerId: this.computerId, lane, epoch, sequence: first });
  }

  async #compose(process: SimulatedProcess): Promise<Running> {
    const { log, computerId, link } = this.#deps;
    const { clock, machine } = process;
    this.#lives += 1;
    this.#ports = new Set();
    const random = this.#deps.random.fork(`life ${this.#lives}`);
    const store = this.#disk.open(process);
    const state = await StateStore.open(store, { owner: computerId, firstSequence: Math.floor(clock.wall()) });
    const spool = await Spool.open({ store, clock, random, maxMegabytes: 256 });
    const settings = new Settings(state, spool);
    const lock = new ExchangeLock();
    const base = { clock, random, log, state, spool, settings, lock, bootId: machine.bootId, firewall: NO_FIREWALL };
    const open = (request: { readonly port: number }) => this.#listen(request);
    const listeners = new ListenerSet({ clock, random, open, onChange: () => undefined });
    const directions: Directions = new Directions({
      ...base,
      listeners,
      listenerPort: undefined,
      localProxies: () => undefined,
      failureOver: () => undefined,
      onChange: () => loop.replan(),
      onNews: () => loop.wake(),
    });
    const makeCollectors = () => ({ snapshot: async () => SNAPSHOT });
    const journal = await CommandJournal.open(store);
    const parts = () => (directions.part ? [directions.part] : []);
    const observer = new Observer({ ...base, store, findings: NO_FINDINGS, journal, makeCollectors, parts });
    const incarnation = { computerId, instanceId: random.uuid(), bootId: machine.bootId, capabilities: [] };
    const { isReachable, deliver, note } = this.#deps;
    const transport = createWire({ computerId, link, process, isReachable, deliver, note });
    const commands = new CommandRunner({
      clock,
      log,
      journal,
      executors: {},
      managerNow: () => clock.wall(),
      onNews: () => undefined,
    });
    const exchanged = { incarnation, directions, transport, observer, commands, renewal: NO_RENEWAL };
    const exchanger = new Exchanger({ ...base, ...exchanged });
    const intervalSeconds = () => settings.values.heartbeatIntervalSeconds;
    const loop: HeartbeatLoop = new HeartbeatLoop({
      ...base,
      exchanger,
      transport,
      directions,
      intervalSeconds,
      hasNews: () => false,
    });
    await directions.start(undefined);
    void directions.watch(new AbortController().signal);
    return { process, loop, spool };
  }
}

const NO_FINDINGS = { tell: async () => undefined };
/** Its certificate is no part of the simulation. */
const NO_RENEWAL = {
  current: { keyPem: '', certificatePem: '' },
  isWanted: false,
  request: async () => undefined,
  answered: async () => undefined,
  failed: async () => false,
};
const NO_FIREWALL = { apply: async () => undefined, failure: undefined, report: () => undefined };
const FACTS = { hostname: 'simulated' };
const SNAPSHOT: HostSnapshot = {
  facts: FACTS,
  factsDigest: createHash('sha256').update(JSON.stringify(FACTS)).digest('hex'),
  counters: { cpu: 1 },
  components: [],
  errors: [],
};
