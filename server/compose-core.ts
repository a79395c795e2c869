import { findRootFingerprint, openAuthority, type CertificateAuthority } from '../certs/certificate-authority.js';
import { openSecret } from '../certs/key-store.js';
import type { Lifecycle } from '../lib/lifecycle.js';
import { createAlertOutbox, type AlertOutbox } from './alerts/alert-outbox.js';
import { createAlertWriter } from './alerts/alert-writer.js';
import type { AlertWriter } from './alerts/alert.js';
import { createNoticeJob, type NoticeJob } from './alerts/notices/notice-job.js';
import { createAuditSealer, type AuditSealer } from './audit/audit-sealer.js';
import { createAuditLog, type AuditLog } from './audit/index.js';
import { createChannelWakeRelay, type ChannelWakeRelay } from './channels/index.js';
import { createCertificateRepository, type CertificateRepository } from './certificates/certificate-repository.js';
import { createExpiryJob, type ExpiryJob } from './certificates/expiry-job.js';
import { createLateRenewals, type LateRenewals } from './certificates/late-renewals.js';
import { createReportRenewals } from './certificates/report-renewals.js';
import { assertKnownAuthority, recordAuthority } from './certificates/known-authority.js';
import { composeCommands, type CommandParts } from './compose-commands.js';
import type { Config } from './config.js';
import type { Edges } from './edges.js';
import { createEnrollLimits } from './enrollment/enroll-limits.js';
import { createEnrollRepository } from './enrollment/enroll-repository.js';
import { createEnrollService, type EnrollService } from './enrollment/enroll-service.js';
import { createEventWriter, type EventWriter } from './events/event-writer.js';
import { createManagerJournal, type ManagerJournal } from './events/manager-journal.js';
import { clockDoubted, isWorthTelling, listeningGap, shardsLost } from './manager-notes.js';
import { composeHeartbeats, type Heartbeats } from './heartbeats/compose-heartbeats.js';
import { createReleaseCodes, type ReleaseCodes } from './agent-commands/index.js';
import { createIdentityTokens } from './heartbeats/identity-token.js';
import { createMismatchRecorder } from './heartbeats/identity-mismatch.js';
import { createDialRequestRelay, type DialRequestRelay } from './dials/dial-requests.js';
import { createHintRelay, type HintRelay } from './heartbeats/hint-relay.js';
import { createIngestMetrics, type IngestMetrics } from './heartbeats/ingest-metrics.js';
import { composeIncidents, createStatusNudge, nudging, type IncidentJob, type StatusNudge } from './incidents/index.js';
import { createListeningLedger, type RunningListeningLedger } from './listening/listening-ledger.js';
import { createOwnPath } from './listening/own-path.js';
import { createPortWatch, type PortWatch } from './listening/port-watch.js';
import { createSelfDialler, type SelfDialler } from './listening/self-dialler.js';
import { createInMaintenance, createMaintenanceView, type MaintenanceView } from './maintenance/index.js';
import { keyFolder, type Storage } from './open-storage.js';
import { createDatabaseBreaker, type DatabaseBreaker } from './database/database-breaker.js';
import { createNotificationClient } from './database/notification-client.js';
import { databaseEndpoint } from './database/connection.js';
import { composeNotifications, type Notifications } from './notifications/index.js';
import { sqlOfClient } from './database/sql.js';
import {
  createSettingsCache,
  createSettingsWatch,
  ensureBasePolicy,
  type PolicySettingsCache,
} from './policies/index.js';
import { createClaimedJob } from './scheduler/claimed-job.js';
import { createStatusWriter } from './statuses/status-writer.js';
import type { StatusWriter } from './statuses/status.js';
import { createManagerDrain, type ManagerDrain } from './system/drain.js';
import { SelfSuspicion } from './verdicts/self-suspicion.js';
import { createVerdictJob, type VerdictJob, type VerdictJobDeps } from './verdicts/verdict-job.js';
import { MANAGER_VERSION } from './version.js';

/** What both ports and the jobs stand on. */
export interface Core {
  readonly authority: CertificateAuthority;
  readonly audit: AuditLog;
  readonly alerts: AlertWriter;
  readonly outbox: AlertOutbox;
  readonly maintenance: MaintenanceView;
  readonly notices: NoticeJob;
  readonly statuses: StatusWriter;
  readonly events: EventWriter;
  readonly certificates: CertificateRepository;
  readonly lateRenewals: LateRenewals;
  readonly expiries: ExpiryJob;
  readonly cache: PolicySettingsCache;
  readonly settingsWatch: Lifecycle;
  readonly ledger: RunningListeningLedger;
  /** The second thread, that looks at the process from outside its event loop. */
  readonly selfDialler: SelfDialler;
  readonly portWatch: PortWatch;
  readonly verdicts: VerdictJob;
  /** Tells all who watch the computers what was stored of them. */
  readonly hints: HintRelay;
  readonly dialRequests: DialRequestRelay;
  readonly channelWakes: ChannelWakeRelay;
  readonly breaker: DatabaseBreaker;
  readonly heartbeats: Heartbeats;
  readonly enrollment: EnrollService;
  readonly noteMismatch: ReturnType<typeof createMismatchRecorder>;
  readonly metrics: IngestMetrics;
  readonly sealer: AuditSealer;
  /** Gathers what falls silent together. */
  readonly incidents: IncidentJob;
  readonly statusNudge: StatusNudge;
  readonly journal: ManagerJournal;
  readonly drain: ManagerDrain;
  readonly notifications: Notifications;
  readonly commands: CommandParts;
  readonly releaseCodes: ReleaseCodes;
}

export interface CoreDeps {
  readonly config: Config;
  readonly edges: Edges;
  readonly storage: Storage;
  /** Told to agents at enrollment, in order of preference. */
  readonly managerUrls: readonly string[];
  /** Instead of the parts' own; the simulator's. */
  readonly overrides?: CoreOverrides;
}

export interface CoreOverrides extends Pick<VerdictJobDeps, 'createLedger'> {
  readonly selfDialler?: SelfDialler;
}

/** Opens the authority, makes sure of the built-in policy, and wires the hot path and the verdicts. */
export async function composeCore({ config, edges, storage, managerUrls, overrides = {} }: CoreDeps): Promise<Core> {
  const { random, log } = edges;
  const { fleetClock } = storage;
  const authority = await openOwnAuthority({ config, edges, storage });
  const writers = composeWriters({ config, edges, storage });
  const cache = createSettingsCache({ sql: storage.sql });
  const { restoreEpoch } = fleetClock;
  await ensureBasePolicy({
    clock: fleetClock,
    inTransaction: storage.inTransaction,
    cache,
    random,
    restoreEpoch,
    ...writers,
  });
  await cache.refresh();
  const breaker = createDatabaseBreaker(() => fleetClock.monotonic());
  const hot = composeHotPath({ config, edges, storage, cache, writers, breaker, overrides, authority });
  const tokens = hot.tokens;
  const enrollment = createEnrollService({
    authority,
    inTransaction: storage.inIngestTransaction,
    repository: createEnrollRepository(),
    certificates: writers.certificates,
    audit: writers.audit,
    settings: cache,
    limits: createEnrollLimits({
      perAddressPerSecond: config.enrollPerAddressPerSecond,
      totalPerSecond: config.enrollTotalPerSecond,
    }),
    tokens,
    hints: hot.hints,
    load: () => hot.heartbeats.batcher.load(),
    breaker,
    fleetClock,
    random,
    metrics: hot.metrics,
    log,
    managerUrls,
  });
  const settingsWatch = createSettingsWatch({
    cache,
    clock: fleetClock,
    log,
    connect: () => createNotificationClient(storage.connection),
  });
  const sealer = composeSealer({ config, edges, storage });
  const calm = composeCalm({ config, edges, storage, cache, writers, ledger: hot.ledger });
  const { dialRequests, channelWakes } = hot;
  const commands = composeCommands({ config, edges, storage, audit: writers.audit, dialRequests, channelWakes });
  const renewal = composeRenewal({ config, storage, cache, writers, authority, breaker });
  const own = { authority, cache, settingsWatch, enrollment, breaker, sealer, commands, ...renewal };
  return { ...own, ...calm, ...writers, ...hot };
}

/** What stands between an alert and those it is told: incidents, maintenance, notices, channels. */
function composeCalm({
  ledger,
  ...shared
}: Omit<HotPathDeps, 'breaker' | 'overrides' | 'authority'> & Pick<Core, 'ledger'>): Pick<
  Core,
  'maintenance' | 'incidents' | 'notices' | 'notifications'
> {
  const { cache, storage, writers } = shared;
  const maintenance = createMaintenanceView({ cache, clock: storage.fleetClock });
  const notifications = composeOwnNotifications(shared, writers);
  const { notifier } = notifications;
  return {
    maintenance,
    notifications,
    incidents: composeIncidentJob({ ...shared, maintenance }),
    notices: composeNotices({ ...shared, maintenance, ledger, notifier }),
  };
}

function composeOwnNotifications(
  { config, edges, storage }: Pick<CoreDeps, 'config' | 'edges' | 'storage'>,
  { audit }: Pick<Core, 'audit'>,
): Notifications {
  const { random, log } = edges;
  const { node, adminOrigin, notifyAllowedCidrs: allowedCidrs } = config;
  const key = openSecret(keyFolder(config), 'notification-secret', random);
  const database = databaseEndpoint(storage.connection);
  const own = { node, adminOrigin, allowedCidrs, database, key, version: MANAGER_VERSION };
  return composeNotifications({ ...storage, ...own, random, log, audit });
}

type NoticeDeps = Pick<CoreDeps, 'config' | 'edges' | 'storage'> &
  Pick<Core, 'cache' | 'maintenance' | 'ledger'> &
  Pick<Notifications, 'notifier'>;

function composeNotices({ config, edges, storage, ledger, cache, maintenance, notifier }: NoticeDeps): NoticeJob {
  const { fleetClock, sql, inJobsTransaction: inTransaction } = storage;
  return createNoticeJob({
    cache,
    maintenance,
    notifier,
    job: createClaimedJob({ name: 'notices', owner: config.node, inTransaction, fleetClock }),
    sql,
    fleetClock,
    spans: () => ledger.spans(),
    log: edges.log,
  });
}

function composeSealer({ config, edges, storage }: Pick<CoreDeps, 'config' | 'edges' | 'storage'>): AuditSealer {
  const { fleetClock, inJobsTransaction: inTransaction } = storage;
  const job = createClaimedJob({ name: 'audit-seals', owner: config.node, inTransaction, fleetClock });
  return createAuditSealer({ job, sql: storage.sql, clock: fleetClock, log: edges.log });
}

/** What renews certificates apart from reports, and tells of those that nobody renewed. */
function composeRenewal({
  config,
  storage,
  cache,
  writers,
  ...shared
}: Omit<HotPathDeps, 'edges' | 'overrides'>): Pick<Core, 'lateRenewals' | 'expiries'> {
  const { fleetClock, inJobsTransaction: inTransaction } = storage;
  const job = createClaimedJob({ name: 'certificate-expiry', owner: config.node, inTransaction, fleetClock });
  return {
    lateRenewals: createLateRenewals({
      ...writers,
      ...shared,
      inTransaction: storage.inIngestTransaction,
      settings: cache,
      fleetClock,
    }),
    expiries: createExpiryJob({ job, settings: cache, alerts: writers.alerts, fleetClock }),
  };
}

type IncidentDeps = Omit<HotPathDeps, 'breaker' | 'overrides' | 'authority'> & Pick<Core, 'maintenance'>;

function composeIncidentJob({ config, edges, storage, cache, writers, maintenance }: IncidentDeps): IncidentJob {
  const { fleetClock, sql, inJobsTransaction: inTransaction } = storage;
  return composeIncidents({
    ...edges,
    node: config.node,
    inTransaction,
    sql,
    fleetClock,
    policies: cache,
    alerts: writers.alerts,
    findExcused: createInMaintenance({ view: maintenance, cache }),
  });
}

/** The authority that the database knows, or a new one on a new database. */
async function openOwnAuthority({ config, edges, storage }: Omit<CoreDeps, 'managerUrls'>) {
  const { sql, fleetClock } = storage;
  const dir = keyFolder(config);
  const known = { sql, clock: fleetClock, keyFolder: dir };
  await assertKnownAuthority(known, findRootFingerprint(dir));
  const clock = { wall: () => fleetClock.trustedTime() };
  const authority = await openAuthority({ dir, trustDomain: config.trustDomain, clock, random: edges.random });
  await recordAuthority(known, authority.rootFingerprint);
  return authority;
}

type Writers = Pick<
  Core,
  'audit' | 'alerts' | 'outbox' | 'statuses' | 'statusNudge' | 'events' | 'certificates' | 'journal'
>;

function composeWriters({ config, edges, storage }: Pick<CoreDeps, 'config' | 'edges' | 'storage'>): Writers {
  const { random, log } = edges;
  const { fleetClock } = storage;
  const alerts = createAlertWriter({ random });
  const events = createEventWriter({ random, fleetClock });
  const inTransaction = storage.inJobsTransaction;
  const statusNudge = createStatusNudge(fleetClock);
  return {
    statusNudge,
    alerts,
    outbox: createAlertOutbox({ random }),
    audit: createAuditLog({ clock: fleetClock, random }),
    statuses: nudging(createStatusWriter({ alerts, random, fleetClock }), statusNudge),
    events,
    journal: createManagerJournal({ node: config.node, events, inTransaction, clock: fleetClock, log }),
    certificates: createCertificateRepository(),
  };
}

interface HotPathDeps extends Pick<CoreDeps, 'config' | 'edges' | 'storage'> {
  readonly cache: PolicySettingsCache;
  readonly writers: Writers;
  readonly breaker: DatabaseBreaker;
  readonly overrides: CoreOverrides;
  readonly authority: CertificateAuthority;
}

/** The ledger asks the ingest path for its proof, and the ingest path tells the ledger what it turned away. */
function composeHotPath({ config, edges, storage, cache, writers, breaker, overrides, authority }: HotPathDeps) {
  const { random, log } = edges;
  const { fleetClock } = storage;
  const { journal } = writers;
  const drain = createManagerDrain({ fleetClock, journal, log });
  const metrics = createIngestMetrics();
  const settled = () => heartbeats.batcher.settled();
  const { selfDialler = createSelfDialler({ log }), ...ofVerdicts } = overrides;
  const listening = composeListening({ config, edges, storage, journal, settled, selfDialler });
  const { ledger } = listening;
  const verdicts = createVerdictJob({
    // The same after a restart, which takes its shards back at once instead of waiting for the lease to end.
    owner: config.node,
    inTransaction: storage.inJobsTransaction,
    fleetClock,
    ledger,
    settings: cache,
    statuses: writers.statuses,
    suspicion: composeSuspicion(listening, storage, edges),
    log,
    isDraining: () => drain.isOn(),
    onShardsLost: (shards) => journal.note(shardsLost(shards)),
    ...ofVerdicts,
  });
  const hints = createHintRelay(verdicts);
  const dialRequests = createDialRequestRelay();
  const secret = openSecret(keyFolder(config), 'fleet-secret', random);
  const known = { tokens: createIdentityTokens(secret), releaseCodes: createReleaseCodes(secret) };
  const heartbeats: Heartbeats = composeHeartbeats({
    pool: storage.ingestPool,
    settings: cache,
    statuses: writers.statuses,
    alerts: writers.alerts,
    listening: ledger,
    hints,
    dials: dialRequests,
    renewals: createReportRenewals({ ...writers, authority, fleetClock, log }),
    orderContact: drain.orderContact,
    onClockDoubt: (doubt) => journal.note(clockDoubted(doubt)),
    breaker,
    fleetClock,
    ...known,
    random,
    metrics,
    log,
  });
  const noteMismatch = createMismatchRecorder({ ...writers, inTransaction: storage.inIngestTransaction, metrics });
  const channelWakes = createChannelWakeRelay();
  return {
    metrics,
    drain,
    ...listening,
    verdicts,
    hints,
    dialRequests,
    channelWakes,
    ...known,
    heartbeats,
    noteMismatch,
  };
}

type Listening = Pick<Core, 'ledger' | 'selfDialler' | 'portWatch'>;

interface ListeningDeps extends Pick<CoreDeps, 'config' | 'edges' | 'storage'> {
  readonly journal: ManagerJournal;
  readonly settled: () => Promise<void>;
  readonly selfDialler: SelfDialler;
}

/** The ledger, and the second thread that tells it what the event loop cannot see of itself. */
function composeListening({ config, edges, storage, journal, settled, selfDialler }: ListeningDeps): Listening {
  const { log } = edges;
  const { fleetClock } = storage;
  const ledger = createListeningLedger({
    node: config.node,
    inTransaction: storage.inJobsTransaction,
    fleetClock,
    ingest: { settled },
    log,
    onDeafSpan: async (sql, span) => {
      if (isWorthTelling(span)) await journal.record(sql, listeningGap(span));
    },
    otherThreadMs: () => selfDialler.turnedMs(),
    isInDoubt: () => portWatch.isInDoubt(),
  });
  const portWatch = createPortWatch({ dialler: selfDialler, ledger, fleetClock, log });
  return { ledger, selfDialler, portWatch };
}

function composeSuspicion({ ledger, selfDialler, portWatch }: Listening, storage: Storage, { log }: Edges) {
  const { fleetClock, ingestPool } = storage;
  const path = createOwnPath({
    dialler: selfDialler,
    port: () => portWatch.port(),
    sql: sqlOfClient(ingestPool),
    clock: fleetClock,
  });
  return new SelfSuspicion({ path, ledger, fleetClock, log });
}
