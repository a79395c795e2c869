import { CleanupStack } from '../lib/lifecycle.js';
import type { AgentOptions } from './agent-options.js';
import { Settings } from './apply-settings.js';
import { COMMANDS_CAPABILITY } from '../protocol/command-messages.js';
import { CommandJournal } from './commands/command-journal.js';
import { composeAgentCommands, managerNow } from './commands/compose-agent-commands.js';
import { createHostCollectors, systemSources, wholeSources } from './collectors/host-collectors.js';
import { CredentialStore } from './credential-store.js';
import { Daemon } from './daemon.js';
import { adoptNextIdentity, getIdentity, prepareDirectory, type Identity } from './data-directory.js';
import { Directions } from './directions.js';
import { Firewall, type FirewallDeps } from './firewall/firewall.js';
import { firewallExecutors } from './firewall/firewall-executors.js';
import { systemNetwork } from './firewall/host-network.js';
import { isolationFile } from './firewall/isolation-file.js';
import { tablesFile } from './firewall/tables-file.js';
import { ExchangeLock } from './exchange-lock.js';
import { Exchanger } from './exchange.js';
import { HeartbeatLoop } from './heartbeat-loop.js';
import { firstSettings } from './first-settings.js';
import { ownerOf } from './identity-check.js';
import { InventoryLedger } from './inventory/inventory-ledger.js';
import { createListeners } from './listener/compose-listener.js';
import type { ListenerSet } from './listener/listener-set.js';
import { LoopWatch } from './loop-watch.js';
import { MetricsEndpoint } from './metrics/metrics-endpoint.js';
import { AgentMetrics } from './metrics/agent-metrics.js';
import { Observer } from './observer.js';
import { Renewal } from './renewal.js';
import type { Incarnation } from './report-builder.js';
import { ProxyControl } from './proxies/proxy-control.js';
import { createDiskRoom } from './spool/disk-room.js';
import { DurableStore, type OpenedStore } from './spool/durable-store.js';
import { Spool } from './spool/spool.js';
import { StateStore, type Progress } from './state-store.js';
import { HeldTransport } from './transport/held-transport.js';
import { judgeManager, ManagerTransport, type Routes, type TransportOptions } from './transport/manager-transport.js';
import type { KnownPath } from './transport/route-rules.js';

/** Builds an agent on an enrolled directory and takes its lock. Throws `NotEnrolled` or `StoreInUse`. */
export async function composeAgent(options: AgentOptions): Promise<Daemon> {
  const { directory, clock } = options;
  getIdentity(directory);
  prepareDirectory(directory);
  const opened = await DurableStore.open(directory.store, clock, { orWithoutDisk: true });
  const { store } = opened;
  const cleanup = new CleanupStack();
  cleanup.push('store', () => store.close());
  try {
    if (!store.failure) adoptNextIdentity(directory);
    // Read again: until the lock was held, an enrollment could replace it.
    const identity = getIdentity(directory);
    return await composeOn(await readKept(opened, { options, identity }), { options, identity, cleanup });
  } catch (error) {
    await cleanup.unwind();
    throw error;
  }
}

interface Opened {
  readonly options: AgentOptions;
  readonly identity: Identity;
  readonly cleanup: CleanupStack;
}

/** What the agent keeps in its database. */
interface Kept extends OpenedStore {
  readonly state: StateStore;
  readonly spool: Spool;
  readonly journal: CommandJournal;
}

/** Damage that shows only when it is read is mended, once. */
async function readKept(opened: OpenedStore, deps: Pick<Opened, 'options' | 'identity'>): Promise<Kept> {
  const { store } = opened;
  const hadDisk = !store.failure;
  try {
    return { ...opened, ...(await readAll(store, deps)) };
  } catch (error) {
    if (!hadDisk || !store.failure) throw error;
    const mended = await store.recover(deps.options.clock);
    if (mended) store.findings.add({ mended });
    return { ...opened, mended: mended ?? opened.mended, ...(await readAll(store, deps)) };
  }
}

async function readAll(store: DurableStore, { options, identity }: Pick<Opened, 'options' | 'identity'>) {
  const { directory, clock, random } = options;
  // Later than what a lost database can have used: the wall clock in milliseconds outruns one report per heartbeat.
  const firstSequence = Math.floor(clock.wall());
  const owner = ownerOf(identity);
  const state = await StateStore.open(store, { owner, firstSequence, isolationFile: isolationFile(directory, owner) });
  const room = createDiskRoom(directory.store, clock);
  const carried = state.unanswered?.ranges;
  const spool = await Spool.open({ store, clock, random, maxMegabytes: 256, room, carried });
  return { state, spool, journal: await CommandJournal.open(store) };
}

async function composeOn(kept: Kept, { options, identity: found, cleanup }: Opened): Promise<Daemon> {
  const credentials = new CredentialStore(options.directory, found);
  const { identity } = credentials;
  const { clock, random, log, bootId } = options;
  const { store, state, spool, journal, mended } = kept;
  const settings = new Settings(state, spool);
  const { makeCollectors, ...telemetry } = composeTelemetry(options, state);
  // A lost database does not make an agent new.
  const isNew = state.progress.lastExchangeAt === undefined && !mended && !store.failure;
  const lock = new ExchangeLock();
  const ways = composeWays({ options, identity, state, spool, settings, lock, credentials, loop: () => loop });
  const { https, transport, directions, firewall, renewal } = ways;
  const owners = [directions, transport, firewall, telemetry.endpoint];
  const parts = () => owners.map(({ part }) => part).filter((part) => part !== undefined);
  const known = { clock, random, log, bootId, state, spool, settings, lock };
  const base = { ...known, ...telemetry, directions, firewall, transport, renewal };
  const { findings } = store;
  const seen = { ...base, store, findings, journal };
  const observer = new Observer({ ...seen, makeCollectors, parts, restart: options.restart });
  const incarnation = incarnationOf(options, identity);
  const commands = composeAgentCommands({
    ...base,
    transport: {
      connect: (milliseconds, signal) => https.connect(milliseconds, signal),
      rebuild: () => transport.rebuild(),
    },
    options,
    identity,
    journal,
    observer,
    instanceId: incarnation.instanceId,
    tellAll: () => exchanger.tellAll(),
    wake: () => loop.wake(),
    status: () => daemon.status(),
    executors: firewallExecutors(firewall),
  });
  const exchanger: Exchanger = new Exchanger({ ...base, incarnation, observer, commands: commands.runner });
  const loop: HeartbeatLoop = new HeartbeatLoop({
    ...base,
    exchanger,
    intervalSeconds: () => settings.values.heartbeatIntervalSeconds,
    hasNews: () => commands.runner.tellings.length > 0,
    onStateChange: options.onStateChange,
    longestSleepMs: options.longestSilenceMs,
    inTurn: options.inTurn,
  });
  const daemon: Daemon = new Daemon({
    ...base,
    options,
    identity,
    cleanup,
    observer,
    loop,
    commands,
    listeners: ways.listeners,
    proxies: ways.proxies,
    firstSettings: isNew ? firstSettings(identity, options) : undefined,
  });
  return daemon;
}

function incarnationOf({ random, bootId, clockDetection }: AgentOptions, { computerId }: Identity): Incarnation {
  const capabilities = [...(clockDetection ? ['clockChangeEvents'] : []), COMMANDS_CAPABILITY];
  return { computerId, instanceId: random.uuid(), bootId, capabilities };
}

/** What is gathered of the machine, and what is told of the agent itself. */
function composeTelemetry(options: AgentOptions, state: StateStore) {
  const { clock, directory, log, collectors, inventory: hasInventory = collectors === undefined } = options;
  const metrics = new AgentMetrics();
  const watch = new LoopWatch({ clock, onProgress: options.onProgress });
  const sources = () => (hasInventory ? wholeSources(directory.path, clock) : systemSources(directory.path));
  return {
    metrics,
    makeCollectors: () =>
      collectors ?? createHostCollectors({ clock, sources: sources(), onCollected: metrics.collected }),
    inventory: hasInventory ? new InventoryLedger(clock, state.progress.heldInventory) : undefined,
    endpoint: new MetricsEndpoint({ port: options.metricsPort, metrics, log }),
    watch,
    onProgress: watch.mark,
    onExchange: metrics.exchanged,
  };
}

interface WaysDeps {
  readonly options: AgentOptions;
  readonly identity: Identity;
  readonly state: StateStore;
  readonly spool: Spool;
  readonly settings: Settings;
  readonly lock: ExchangeLock;
  readonly credentials: CredentialStore;
  /** Built later: it needs these ways. */
  readonly loop: () => HeartbeatLoop;
}

/** What connects agent and manager, either way. */
function composeWays({ options, identity, state, spool, settings, lock, credentials, loop }: WaysDeps) {
  const { clock, random, log, bootId, listenerPort } = options;
  const base = { clock, random, log };
  const proxies: ProxyControl = new ProxyControl({
    directory: options.directory,
    log,
    settings: () => settings.values,
    tryOut: (route) => loop().tryOut(route),
    onChange: () => {
      directions.rerouted();
      transport.review();
    },
  });
  const firewall = composeFirewall({ options, identity, state, spool, wish: () => directions.firewallWish });
  const over = { routes: () => directions.routes, proxies, firewall };
  const transportOptions = transportOptionsOf({ options, identity, state }, over);
  const listeners = createListeners({
    options,
    identity,
    recognise: (socket) => judgeManager(socket, transportOptions),
    exchange: (connection) => loop().answer(connection),
    renewal: { requestAgain: () => renewal.requestAgain(), take: (renewed) => renewal.take(renewed) },
    onChange: () => void directions.listenersChanged(),
    onDialled: (address) => void firewall.dialledFrom(address),
    firewallMark: () => directions.firewallMark,
  });
  const directions: Directions = new Directions({
    ...base,
    bootId,
    state,
    spool,
    settings,
    listeners,
    lock,
    firewall,
    listenerPort,
    localProxies: () => proxies.local,
    failureOver: (route) => https.failureOver(route),
    onChange: () => loop().replan(),
    onNews: () => loop().wake(),
  });
  const https = new ManagerTransport(transportOptions);
  const transport: HeldTransport = new HeldTransport({
    ...base,
    https,
    settings: () => settings.values,
    routes: () => directions.routes,
    dialsByItself: () => directions.dialsByItself,
    onWake: () => loop().answerWake(),
    onLost: (returnInMs) => loop().hasten(returnInMs),
  });
  const ways = { https, transport, listeners };
  const renewal: Renewal = composeRenewal({ options, state, spool, credentials, loop }, ways);
  return { ...ways, directions, firewall, proxies, renewal };
}

interface Over {
  readonly routes: () => Routes;
  readonly proxies: ProxyControl;
  readonly firewall: Firewall;
}

function transportOptionsOf(
  { options: { clock, bootId }, identity, state }: Pick<WaysDeps, 'options' | 'identity' | 'state'>,
  { routes, proxies, firewall }: Over,
): TransportOptions {
  return {
    identity,
    clock,
    bootId,
    anchor: () => state.progress.anchor,
    routes,
    known: () => knownPath(state.progress),
    secretOf: (name) => proxies.secretOf(name),
    admit: (host, port) => firewall.admit(host, port),
  };
}

interface RenewalWays {
  readonly https: ManagerTransport;
  readonly transport: HeldTransport;
  readonly listeners: ListenerSet;
}

function composeRenewal(
  { options, state, spool, credentials, loop }: Pick<WaysDeps, 'options' | 'state' | 'spool' | 'credentials' | 'loop'>,
  { https, transport, listeners }: RenewalWays,
): Renewal {
  const { clock, random, log } = options;
  return new Renewal({
    clock,
    random,
    log,
    credentials,
    spool,
    managerNow: () => managerNow(options, state),
    connect: (milliseconds, signal) => https.connect(milliseconds, signal),
    onChange() {
      transport.renew();
      listeners.renew();
    },
    wake: () => loop().wake(),
  });
}

function composeFirewall({
  options: { clock, log, directory, packetFilter: filter },
  identity,
  ...others
}: Pick<WaysDeps, 'options' | 'identity' | 'state' | 'spool'> & Pick<FirewallDeps, 'wish'>): Firewall {
  const tables = tablesFile(directory, ownerOf(identity));
  const enrolledUrls = identity.managerUrls;
  return new Firewall({ clock, log, tables, filter, network: systemNetwork, enrolledUrls, ...others });
}

function knownPath({ managerUrl, proxy = null }: Progress): KnownPath | undefined {
  return managerUrl === undefined ? undefined : { managerUrl, proxy };
}
