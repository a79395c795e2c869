import type { CleanupStack, Lifecycle } from '../lib/lifecycle.js';
import type { AgentOptions } from './agent-options.js';
import { AGENT_VERSION } from './agent-version.js';
import type { Settings } from './apply-settings.js';
import type { AgentCommands } from './commands/compose-agent-commands.js';
import { changeWhileAway, watchClock } from './clock-watch.js';
import type { Directions } from './directions.js';
import type { Firewall } from './firewall/firewall.js';
import type { Identity } from './data-directory.js';
import { sleepUnlessAborted } from './deadline.js';
import type { InventoryLedger } from './inventory/inventory-ledger.js';
import type { AgentMetrics } from './metrics/agent-metrics.js';
import type { MetricsEndpoint } from './metrics/metrics-endpoint.js';
import type { HeartbeatLoop } from './heartbeat-loop.js';
import type { ListenerSet } from './listener/listener-set.js';
import type { GoodbyeReason, SettingsOrder } from '../protocol/heartbeat-messages.js';
import { createLocalHandler } from './local-socket/local-requests.js';
import { serveLocalSocket, type LocalSocketServer } from './local-socket/socket-server.js';
import type { Observer } from './observer.js';
import { isPassingTrouble } from './passing-trouble.js';
import type { Renewal } from './renewal.js';
import { listProxies, type ProxyChange, type ProxyControl } from './proxies/proxy-control.js';
import type { IncomingEvent } from './spool/event-intake.js';
import type { Spool } from './spool/spool.js';
import type { ClockMoment, StateStore } from './state-store.js';
import type { HeldTransport } from './transport/held-transport.js';
import { toStatus, type AgentStatus } from './status.js';

export interface DaemonParts {
  readonly options: AgentOptions;
  readonly identity: Identity;
  readonly cleanup: CleanupStack;
  readonly state: StateStore;
  readonly spool: Spool;
  readonly settings: Settings;
  readonly observer: Observer;
  readonly directions: Directions;
  readonly firewall: Firewall;
  readonly transport: HeldTransport;
  readonly listeners: ListenerSet;
  readonly proxies: ProxyControl;
  readonly firstSettings: SettingsOrder | undefined;
  readonly loop: HeartbeatLoop;
  readonly commands: AgentCommands;
  readonly renewal: Renewal;
  readonly endpoint: MetricsEndpoint;
  readonly metrics: AgentMetrics;
  readonly inventory: InventoryLedger | undefined;
}

const LOOK_AT_COMPONENTS_MS = 10_000;
const FIRST_INVENTORY_MS = 300_000;

/** The running agent: heartbeats, local socket, clock watch. `stop` says goodbye, `abort` does not. */
export class Daemon implements Lifecycle {
  readonly #parts: DaemonParts;
  readonly #watching = new AbortController();
  #watches: Promise<unknown> = Promise.resolve();
  #socket: LocalSocketServer | undefined;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  constructor(parts: DaemonParts) {
    this.#parts = parts;
  }

  get computerId(): string {
    return this.#parts.identity.computerId;
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  stop(reason: GoodbyeReason = 'shutdown'): Promise<void> {
    this.#stopping ??= this.#stop(reason);
    return this.#stopping;
  }

  /** Ends without goodbye and without a last event, as a kill would; the directory can be opened again after. */
  abort(): Promise<void> {
    this.#stopping ??= this.#end(() => this.#parts.loop.abort());
    return this.#stopping;
  }

  /** Hands in an event, as `emit` does. */
  get spool(): Spool {
    return this.#parts.spool;
  }

  /** The heartbeat interval in force. */
  get intervalSeconds(): number {
    return this.#parts.settings.values.heartbeatIntervalSeconds;
  }

  status(): AgentStatus {
    const { identity, loop, state, settings, directions, firewall, transport, spool } = this.#parts;
    return toStatus({
      identity,
      contact: loop.contact,
      progress: state.progress,
      settings: settings.values,
      appliedFingerprint: settings.applied?.fingerprint,
      candidateFingerprint: directions.ways.candidate?.fingerprint,
      listener: directions.listener,
      channel: transport.status,
      firewall: firewall.status,
      spool: spool.status(),
      nextContactAt: loop.nextContactAt,
    });
  }

  async #start(): Promise<void> {
    const { options, loop, directions, firewall, firstSettings, observer } = this.#parts;
    // Before anything is opened: a computer that was isolated is so again.
    await firewall.apply();
    await this.#spooling('spool-damaged', () => observer.tellFindings());
    await this.#report({
      kind: 'agent-started',
      severity: 'info',
      message: 'The agent was started',
      data: { version: AGENT_VERSION, pid: process.pid },
    });
    await this.#reportChangeWhileAway();
    await this.#openSocket();
    this.#watchMetrics();
    await this.#parts.endpoint.start();
    await directions.start(firstSettings);
    await observer.observe();
    await this.#parts.commands.runner.start();
    loop.start();
    const { signal } = this.#watching;
    const watches = [
      this.#watchComponents(signal),
      directions.watch(signal),
      firewall.watch(signal),
      this.#watchInventory(signal),
      this.#parts.renewal.watch(signal),
    ];
    if (options.clockDetection) watches.push(watchClock(options.clock, signal, (event) => this.#reportClock(event)));
    this.#watches = Promise.all(watches);
    options.log.info({ computerId: this.computerId, directory: options.directory.path }, 'Agent started');
  }

  async #release(code: string) {
    const result = await this.#parts.firewall.releaseByCode(code);
    this.#parts.loop.wake();
    return result;
  }

  #watchMetrics(): void {
    const { metrics, options, settings, state } = this.#parts;
    metrics.watch({
      clock: options.clock,
      version: AGENT_VERSION,
      status: () => this.status(),
      settingsGeneration: () => settings.applied?.generation.counter,
      isCollecting: () => state.stoppedCollection === undefined,
    });
  }

  /** The port of the metrics endpoint, where one listens. */
  get metricsPort(): number | undefined {
    return this.#parts.endpoint.port;
  }

  /** The first look may end long before the next heartbeat: where that is hours away, the inventory does not wait for it. */
  async #watchInventory(signal: AbortSignal): Promise<void> {
    const { options, inventory, observer, loop } = this.#parts;
    const { clock, random } = options;
    if (!inventory) return;
    await sleepUnlessAborted(clock, FIRST_INVENTORY_MS * (1 + random.fraction()), signal);
    if (signal.aborted || loop.nextContactAt - clock.wall() < FIRST_INVENTORY_MS) return;
    await observer.observe();
    inventory.look(observer.snapshot.inventory);
    if (inventory.hasNews) loop.wake();
  }

  /** On a disk that is full it may not be possible: then it is tried again. */
  async #openSocket(): Promise<void> {
    const { options, spool, state } = this.#parts;
    try {
      this.#socket = await serveLocalSocket({
        folder: options.directory.path,
        name: options.directory.socketName,
        log: options.log,
        handle: createLocalHandler({
          spool,
          status: () => this.status(),
          isCollecting: () => state.stoppedCollection === undefined,
          proxies: this.#proxies(),
          release: (code) => this.#release(code),
        }),
      });
    } catch (error) {
      if (!isPassingTrouble(error)) throw error;
      options.log.error({ err: error }, 'The local socket cannot be opened');
    }
  }

  #proxies() {
    const { proxies, settings, state, identity } = this.#parts;
    const enrolledUrls = identity.managerUrls;
    return {
      list: () =>
        listProxies({ local: proxies.local, settings: settings.values, inUse: state.progress.proxy, enrolledUrls }),
      change: (change: ProxyChange) => proxies.change(change),
    };
  }

  async #reportChangeWhileAway(): Promise<void> {
    const { options, state } = this.#parts;
    if (!options.clockDetection) return;
    const event = changeWhileAway(state.progress, this.#clockMoment());
    if (event) await this.#reportClock(event);
  }

  #clockMoment(): ClockMoment {
    const { bootId, clock } = this.#parts.options;
    return { bootId, wall: clock.wall(), boot: clock.boot() };
  }

  /** Between heartbeats, so that a component's event bears the time of the change. */
  async #watchComponents(signal: AbortSignal): Promise<void> {
    const { options, settings, observer, spool } = this.#parts;
    while (!signal.aborted) {
      await sleepUnlessAborted(options.clock, LOOK_AT_COMPONENTS_MS, signal);
      if (signal.aborted) return;
      if (settings.values.componentsWatched.length > 0 || spool.status().failure !== null) await observer.observe();
      if (!this.#socket) await this.#openSocket();
    }
  }

  async #stop(reason: GoodbyeReason): Promise<void> {
    const { loop } = this.#parts;
    await this.#starting?.catch(() => undefined);
    await this.#end(async () => {
      await this.#report({ kind: 'agent-stopped', severity: 'info', message: 'The agent was stopped' });
      await loop.leave(reason);
    });
  }

  async #end(finish: () => Promise<void>): Promise<void> {
    const { cleanup, options } = this.#parts;
    this.#watching.abort();
    await this.#watches;
    await this.#parts.commands.stop();
    await finish();
    this.#parts.transport.end();
    await this.#parts.listeners.destroy();
    await this.#parts.endpoint.stop();
    await this.#socket?.close();
    await cleanup.unwind((name, error) => options.log.error({ name, err: error }, 'Could not close'));
    options.log.info('Agent stopped');
  }

  /** Now, and noted: started again before an exchange, the agent would tell the same once more. */
  async #reportClock(event: IncomingEvent): Promise<void> {
    const { state, loop, options } = this.#parts;
    await this.#report(event);
    loop.wake();
    try {
      await state.note({ clockTold: this.#clockMoment() });
    } catch (error) {
      options.log.warn({ err: error }, 'That a change of the clock was told cannot be stored');
    }
  }

  /** A disk that fails must not end the agent. */
  #report(event: IncomingEvent): Promise<void> {
    return this.#spooling(event.kind, () => this.#parts.spool.append('control', event));
  }

  async #spooling(kind: string, action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#parts.options.log.error({ err: error, kind }, 'An event cannot be spooled');
      this.#parts.observer.spoolFailed(error);
    }
  }
}
