import { openSecret } from '../certs/key-store.js';
import { openManagerIdentity, type ManagerIdentity } from '../certs/manager-identity.js';
import { toRfc3339 } from '../lib/clock.js';
import { CleanupStack } from '../lib/lifecycle.js';
import type { ReadinessCheck } from './admin-api/readiness-check.js';
import { composeAdminApi, type AdminApi } from './admin-api/compose-admin-api.js';
import { createAdminServer, type AdminServer, type AdminTls } from './admin-api/admin-server.js';
import { createAdminTls } from './admin-tls.js';
import {
  assertEnoughLife,
  authorityCertificates,
  createManagerCertificate,
  type ManagerCertificate,
  type ManagerCertificateDeps,
} from './certificates/manager-certificate.js';
import { composeChannels, type Channels } from './channels/index.js';
import type { AgentServer } from './agent-channel/agent-server.js';
import { composeAgentChannel } from './agent-channel/compose-agent-channel.js';
import { createPeerLimits, type PeerLimits } from './agent-channel/peer-limits.js';
import { composeCore, type Core } from './compose-core.js';
import { composeReadiness } from './compose-readiness.js';
import { composeRoutes, type FeatureRoutes } from './compose-routes.js';
import type { Config, Secrets } from './config.js';
import { lockDataDirectory } from './data-directory.js';
import { createNotificationClient } from './database/notification-client.js';
import { createRefusalRecorder, type RefusalRecorder } from './diagnosis/index.js';
import { composeDials, type Dials } from './dials/index.js';
import type { Edges } from './edges.js';
import { offerFirstToken } from './first-steps.js';
import { trustedClock } from './fleet-clock/trusted-clock.js';
import { clockStepped, managerStarted, managerStopped, migrationApplied } from './manager-notes.js';
import { agentUrlOf, certificateHosts, ownAgentHost, shownAgentHost } from './manager-hosts.js';
import { openStorage, keyFolder, type Storage } from './open-storage.js';
import { removeRunFile, writeRunFile } from './run-file.js';
import { composeScheduler } from './scheduler/compose-scheduler.js';
import { VERDICTS_EVERY_MS } from './scheduler/jobs.js';
import { createLagWatch, type LagWatch } from './scheduler/lag-watch.js';
import type { Scheduler } from './scheduler/scheduler.js';
import { keepPartitions } from './scheduler/maintenance.js';
import { createDeadMan, type DeadMan } from './system/dead-man.js';
import type { ManagerDrain } from './system/drain.js';
import { createMetrics } from './system/metrics.js';
import { createSystemView, type SystemViewDeps } from './system/system-view.js';
import { MANAGER_VERSION } from './version.js';

/** What the first lines on the terminal tell. */
export interface Announcement {
  /** Null where the process does not have the role. */
  readonly adminUrl: string | null;
  readonly agentUrl: string | null;
  /** Lower-case hex SHA-256 of the admin port's certificate; null over plain HTTP. */
  readonly adminFingerprint: string | null;
  readonly caFingerprint: string;
  readonly dataDir: string;
  /** Set when the first administrator was made just now. */
  readonly generatedPassword: string | undefined;
  /** A file with an enrollment token, while no computer is enrolled. */
  readonly tokenFile: string | undefined;
  /** The password was shown on a terminal: its file may go. */
  readonly forgetPasswordFile: () => void;
}

export interface Manager {
  /** Rejects when it cannot start; what was opened is closed again. */
  start(): Promise<Announcement>;
  /** Drains as configured before a stop; resolves when that is over, at once where there is nothing to drain, and with `stop`. */
  drain(): Promise<void>;
  stop(): Promise<void>;
}

export interface ComposeOptions {
  readonly config: Config;
  readonly secrets: Secrets;
  readonly edges: Edges;
  /** Told of a start that fails by itself, before what was opened is closed again. */
  readonly onStartFailed?: (error: unknown) => void;
}

/** The composition root: every long-lived object of the manager is made below here, in the order of its needs. */
export function compose(options: ComposeOptions): Manager {
  const { log } = options.edges;
  const cleanup = new CleanupStack();
  const leaving = new AbortController();
  let started: ManagerDrain | undefined;
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    leaving.abort();
    stopping ??= cleanup.unwind((step, error) => log.error({ err: error, step }, 'a step of the stop failed'));
    return stopping;
  };
  return {
    stop,
    drain: async () => started?.leave(options.config.drainSeconds, leaving.signal),
    async start() {
      try {
        return await startManager(options, cleanup, (drain) => (started = drain));
      } catch (error) {
        // After a signal it is the stop that ended the start.
        if (!stopping) options.onStartFailed?.(error);
        await stop().catch(() => undefined);
        throw error;
      }
    },
  };
}

async function startManager(
  { config, secrets, edges }: ComposeOptions,
  cleanup: CleanupStack,
  onServing: (drain: ManagerDrain) => void,
): Promise<Announcement> {
  lockDataDirectory(config.dataDir, cleanup);
  removeRunFile(config.dataDir);
  const storage = await openStorage({ config, secrets, edges, cleanup });
  await keepPartitions({ inTransaction: storage.inJobsTransaction, fleetClock: storage.fleetClock });
  const host = shownAgentHost(config);
  const managerUrls =
    config.agentPort === 0 ? [] : config.publicHosts.map((name) => agentUrlOf(name, config.agentPort));
  const core = await composeCore({ config, edges, storage, managerUrls });
  const parts = await composeParts({ config, edges, storage, core, host, deadManUrl: secrets.deadManUrl });
  const { generated } = await parts.api.firstAdministrator.ensure(
    secrets.adminPassword === undefined ? {} : { password: secrets.adminPassword },
  );
  await startParts({ config, storage, core, parts, cleanup });
  onServing(core.drain);
  const urls = parts.urls();
  const caFingerprint = core.authority.rootFingerprint;
  const startedAt = toRfc3339(edges.clock.wall());
  writeRunFile(config.dataDir, { pid: process.pid, ...urls, caFingerprint, startedAt });
  cleanup.push('run file', () => removeRunFile(config.dataDir));
  return {
    ...urls,
    adminFingerprint: parts.adminFingerprint,
    caFingerprint,
    dataDir: config.dataDir,
    generatedPassword: generated,
    tokenFile: await offerFirstToken({ dataDir: config.dataDir, tokens: parts.features.tokens, core, storage }),
    forgetPasswordFile: () => parts.api.firstAdministrator.forgetFile(),
  };
}

interface Parts {
  readonly features: FeatureRoutes;
  readonly api: AdminApi;
  readonly admin: AdminServer;
  readonly agents: AgentServer;
  readonly dials: Dials;
  readonly channels: Channels;
  readonly refusals: RefusalRecorder;
  readonly scheduler: Scheduler;
  readonly lag: LagWatch;
  readonly urls: () => Pick<Announcement, 'adminUrl' | 'agentUrl'>;
  readonly adminFingerprint: string | null;
}

interface PartsDeps {
  readonly config: Config;
  readonly edges: Edges;
  readonly storage: Storage;
  readonly core: Core;
  readonly host: string;
  readonly deadManUrl: string | undefined;
}

async function composeParts(deps: PartsDeps): Promise<Parts> {
  const { config, edges, storage, core, host } = deps;
  const identity = await reopenIdentity(deps);
  const adminTls = createAdminTls(config, identity);
  const others = () => [...authorityCertificates(core.authority), ...adminTls.certificates()];
  assertEnoughLife([{ name: 'manager', notAfter: identity.notAfter }, ...others()], {
    now: storage.fleetClock.trustedTime(),
    isForced: config.allowExpiringCertificate,
    log: edges.log,
  });
  const limits = createPeerLimits({}, () => storage.fleetClock.monotonic());
  const refusals = createRefusalRecorder({
    inTransaction: storage.inJobsTransaction,
    isDatabaseAway: () => core.breaker.isAway(),
    log: edges.log,
  });
  const channels = composeManagerChannels(deps);
  const agents = composeAgents(deps, identity, { limits, refusals, channels });
  const dials = composeManagerDials(deps, identity, limits);
  const lag = createLagWatch(storage.fleetClock, VERDICTS_EVERY_MS);
  const checks = composeReadiness({ config, storage, core });
  const deadMan = composeDeadMan(deps, checks, lag);
  const managerCertificate = composeManagerCertificate(deps, {
    identity,
    others,
    renew(next) {
      agents.renew(next);
      dials.renew(next);
    },
    showAdmin: (current) => adminTls.take(current, (tls) => admin.useTls(tls)),
  });
  const scheduler = composeScheduler({ config, edges, storage, ...core, lag, deadMan, managerCertificate });
  // Where another process has the role, its port is taken to be the one that is configured here too.
  const agentPort = () => (config.roles.has('agents') ? agents.port() : config.agentPort);
  const agentUrl = () => agentUrlOf(host, agentPort());
  const system = createSystemView({
    fleetClock: storage.fleetClock,
    verdicts: core.verdicts,
    ledger: core.ledger,
    drain: core.drain,
    deadMan,
    scheduler,
    facts: systemFacts(deps),
    urls: () => ({
      adminUrl: admin.url(),
      agentUrl: agentUrl(),
      ports: { admin: Number(new URL(admin.url()).port), agent: agentPort() },
    }),
  });
  const ownCertificates = () => managerCertificate.certificates();
  const features = composeRoutes({ config, storage, core, edges, agentUrl, prober: dials, system, ownCertificates });
  const tls = adminTls.current();
  const { api, admin } = composeAdmin({ ...deps, dials, channels, lag, checks, deadMan }, features, tls);
  const urls = () => ({
    adminUrl: config.roles.has('admin') ? admin.url() : null,
    agentUrl: config.roles.has('agents') ? agentUrl() : null,
  });
  const adminFingerprint = tls?.fingerprint ?? null;
  return { features, api, admin, agents, dials, channels, refusals, scheduler, lag, urls, adminFingerprint };
}

function reopenIdentity({ config, storage, core }: PartsDeps): Promise<ManagerIdentity> {
  return openManagerIdentity({
    dir: keyFolder(config),
    authority: core.authority,
    node: config.node,
    hosts: certificateHosts(config),
    clock: { wall: () => storage.fleetClock.trustedTime() },
  });
}

function composeManagerCertificate(
  deps: PartsDeps,
  shown: Pick<ManagerCertificateDeps, 'identity' | 'others' | 'renew' | 'showAdmin'>,
): ManagerCertificate {
  const { config, edges, storage, core } = deps;
  return createManagerCertificate({
    ...shown,
    node: config.node,
    reopen: () => reopenIdentity(deps),
    alerts: core.alerts,
    inTransaction: storage.inJobsTransaction,
    fleetClock: storage.fleetClock,
    log: edges.log,
  });
}

function composeDeadMan(
  { config, edges, storage, deadManUrl: url }: PartsDeps,
  checks: readonly ReadinessCheck[],
  lag: LagWatch,
): DeadMan | undefined {
  if (url === undefined) return undefined;
  const own = config.roles.has('jobs') ? lag : undefined;
  return createDeadMan({ url, checks, lag: own, clock: storage.fleetClock, log: edges.log });
}

function systemFacts({ config, core, storage }: PartsDeps): SystemViewDeps['facts'] {
  return {
    node: config.node,
    versions: { wardbeat: MANAGER_VERSION, node: process.versions.node },
    caFingerprint: core.authority.rootFingerprint,
    trustDomain: config.trustDomain,
    auditProtected: storage.auditProtected,
  };
}

/** One budget per computer, whoever dials. */
function composeManagerDials(
  { config, edges, storage, core }: PartsDeps,
  identity: ManagerIdentity,
  limits: PeerLimits,
): Dials {
  const { fleetClock, sql, inJobsTransaction: inTransaction } = storage;
  return composeDials({
    authority: core.authority,
    identity,
    fleetClock,
    log: edges.log,
    sql,
    inTransaction,
    connect: () => createNotificationClient(storage.connection),
    settings: core.cache,
    limits,
    verdicts: core.verdicts,
    spans: () => core.ledger.spans(),
    isDraining: () => core.drain.isOn(),
    isDeaf: () => core.breaker.isAway() || core.ledger.deafness() !== undefined,
    node: config.node,
    allowedCidrs: config.dialAllowedCidrs,
    submit: (exchange) => core.heartbeats.batcher.submit(exchange),
    upload: core.commands.upload,
    renewLate: (peer, request) => core.lateRenewals.renew(peer, request),
    noteMismatch: core.noteMismatch,
  });
}

function composeManagerChannels({ config, edges, storage, core }: PartsDeps): Channels {
  return composeChannels({
    ...edges,
    fleetClock: storage.fleetClock,
    sql: storage.sql,
    inTransaction: storage.inJobsTransaction,
    connect: () => createNotificationClient(storage.connection),
    settings: core.cache,
    node: config.node,
    drain: core.drain,
    load: () => core.heartbeats.batcher.load(),
  });
}

interface AgentsShared {
  readonly limits: PeerLimits;
  readonly refusals: RefusalRecorder;
  readonly channels: Channels;
}

function composeAgents(
  { config, edges, storage, core }: PartsDeps,
  identity: ManagerIdentity,
  { limits: peerLimits, refusals, channels }: AgentsShared,
): AgentServer {
  return composeAgentChannel({
    authority: core.authority,
    identity,
    fleetClock: storage.fleetClock,
    random: edges.random,
    log: edges.log,
    listening: core.ledger,
    peerLimits,
    listener: config.node,
    host: config.agentHost,
    port: config.agentPort,
    submit: (exchange) => core.heartbeats.batcher.submit(exchange),
    refusalOf: core.heartbeats.refusalOf,
    enroll: (request, address) => core.enrollment.enroll(request, address),
    upload: core.commands.upload,
    renewLate: (peer, request) => core.lateRenewals.renew(peer, request),
    noteMismatch: core.noteMismatch,
    noteThrottled: () => void (core.metrics.throttled += 1),
    noteRefusal: (refusal) => refusals.note(refusal),
    channels,
  });
}

interface AdminDeps extends PartsDeps, Pick<Parts, 'dials' | 'channels' | 'lag'> {
  readonly checks: readonly ReadinessCheck[];
  readonly deadMan: DeadMan | undefined;
}

function composeAdmin(deps: AdminDeps, { routes }: FeatureRoutes, tls: AdminTls | null): Pick<Parts, 'api' | 'admin'> {
  const { config, storage, core, dials, channels, lag, checks, deadMan } = deps;
  const { log, random } = deps.edges;
  const clock = storage.fleetClock;
  const api = composeAdminApi({
    clock: trustedClock(clock),
    random,
    log,
    inTransaction: storage.inTransaction,
    sql: storage.sql,
    audit: core.audit,
    dataDir: config.dataDir,
    accessKey: openSecret(keyFolder(config), 'access-secret', random),
    rules: config.access,
    secure: tls !== null,
    adminOrigin: config.adminOrigin,
    version: MANAGER_VERSION,
    routes,
    checks,
    metrics: createMetrics({
      ingest: core.metrics,
      batcher: core.heartbeats.batcher,
      ...core,
      dials: dials.metrics,
      channels: channels.counts,
      lag: config.roles.has('jobs') ? lag : undefined,
      fleetClock: clock,
      deadMan,
    }),
  });
  const { adminHost: host, adminPort: port } = config;
  return { api, admin: createAdminServer({ host, port, tls, app: api.app, clock, log }) };
}

interface StartDeps extends Pick<PartsDeps, 'config' | 'storage' | 'core'> {
  readonly parts: Parts;
  readonly cleanup: CleanupStack;
}

/**
 * Opens the ports and starts the jobs. The stop goes the other way round: verdicts end first, then the last proof of
 * listening is stored, the agent port stops accepting and answers what is in flight, and only then does the database close.
 */
async function startParts({ config, storage, core, parts, cleanup }: StartDeps): Promise<void> {
  const { roles } = config;
  await startJournal({ storage, core, cleanup });
  if (roles.has('jobs')) {
    cleanup.push('audit seals', () => core.sealer.close());
    cleanup.push('notifications in flight', () => core.notifications.deliverer.close());
    cleanup.push('notices', () => core.notices.close());
    cleanup.push('commands', () => core.commands.job.release());
    cleanup.push('certificate expiry', () => core.expiries.release());
  }
  await core.settingsWatch.start();
  cleanup.push('settings watch', () => core.settingsWatch.stop());
  // Whether or not this process holds any: others may.
  core.channelWakes.connect(parts.channels);
  await core.heartbeats.recorder.start();
  cleanup.push('counters', () => core.heartbeats.recorder.stop());
  await core.heartbeats.lateness.start();
  cleanup.push('lateness', () => core.heartbeats.lateness.stop());
  if (roles.has('agents')) {
    await core.ledger.register();
    cleanup.push('refusals', () => parts.refusals.settled());
    await parts.agents.start();
    cleanup.push('reports in flight', () => core.heartbeats.batcher.drain());
    cleanup.push('agent port', () => parts.agents.stop());
    await core.selfDialler.start();
    cleanup.push('thread of self-dials', () => core.selfDialler.stop());
    core.portWatch.open({
      host: ownAgentHost(config),
      port: parts.agents.port(),
      handshakes: () => parts.agents.handshakes(),
    });
    await core.ledger.opened();
    cleanup.push('listening ledger', () => core.ledger.close());
    core.hints.add(parts.dials);
    core.dialRequests.connect(parts.dials);
    await parts.channels.start();
    cleanup.push('channels', () => parts.channels.stop());
    await parts.dials.start();
    cleanup.push('dials', () => parts.dials.stop());
  }
  if (roles.has('admin')) {
    await parts.admin.start();
    cleanup.push('admin port', () => parts.admin.stop());
  }
  parts.lag.start();
  parts.scheduler.start();
  cleanup.push('verdict shards', () => core.verdicts.release());
  if (roles.has('jobs')) cleanup.push('incidents', () => core.incidents.release());
  cleanup.push('jobs', () => parts.scheduler.stop());
  cleanup.push('farewell', () => core.journal.note(managerStopped()));
}

/** The manager's own events, from what this start has found on. */
async function startJournal({
  storage,
  core,
  cleanup,
}: Pick<StartDeps, 'storage' | 'core' | 'cleanup'>): Promise<void> {
  for (const name of storage.appliedMigrations) core.journal.note(migrationApplied(name));
  core.journal.note(managerStarted(MANAGER_VERSION));
  storage.fleetClock.onStep(({ byMs }) => core.journal.note(clockStepped(byMs)));
  await core.journal.start();
  cleanup.push('manager events', () => core.journal.stop());
}
