import type { Pool } from 'pg';
import type { ReleaseCodes } from '../agent-commands/release-codes.js';
import { createReportCommands } from '../agent-commands/report-commands.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { ContactOrder } from '../../policies/drain-rules.js';
import { SHED_FROM, stretchedContactMs } from '../../policies/herd-rules.js';
import { MAX_EVENTS_PER_REPORT, type Orders } from '../../protocol/heartbeat-messages.js';
import type { AlertWriter } from '../alerts/alert.js';
import { NO_RENEWALS, type ReportRenewals } from '../certificates/report-renewals.js';
import type { DatabaseBreaker } from '../database/database-breaker.js';
import { sqlOfClient } from '../database/sql.js';
import { createEventWriter } from '../events/event-writer.js';
import { createLanePositionRepository } from '../events/lane-position-repository.js';
import { NO_DIAL_REQUESTS, type DialRequests } from '../dials/dial-requests.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ListeningLedger } from '../listening/listening.js';
import { createReportInventory } from '../telemetry/report-inventory.js';
import type { SettingsCache } from '../policies/settings-cache.js';
import type { StatusWriter } from '../statuses/status.js';
import { createClockStepRepository } from './clock-step-repository.js';
import { createClockSampleRepository } from './clock-sample-repository.js';
import { createClockWitness, type ClockDoubt } from './clock-witness.js';
import { createComponentRepository } from './component-repository.js';
import { createCountersRecorder, type CountersRecorder } from './counters-recorder.js';
import { createContactsRepository } from './contacts-repository.js';
import { createEventRates } from './event-rates.js';
import { createFactsRepository } from './facts-repository.js';
import { createHeartbeatRepository } from './heartbeat-repository.js';
import type { IdentityTokens } from './identity-token.js';
import type { IngestMetrics } from './ingest-metrics.js';
import { createLatenessRecorder, type LatenessRecorder } from './lateness-recorder.js';
import type { LivenessHints } from './liveness-hints.js';
import { createReportBatcher, type BatcherOptions, type ReportBatcher } from './report-batcher.js';
import { createReportService } from './report-service.js';
import { createSenderStanding } from './sender-standing.js';
import { createStandingRepository } from './standing-repository.js';

export interface HeartbeatsDeps {
  readonly pool: Pool;
  readonly settings: SettingsCache;
  readonly statuses: StatusWriter;
  readonly alerts: AlertWriter;
  readonly listening: Pick<ListeningLedger, 'spans' | 'spansUntilNow' | 'noteDeaf'>;
  readonly hints: LivenessHints;
  readonly breaker: DatabaseBreaker;
  readonly fleetClock: FleetClock;
  readonly tokens: IdentityTokens;
  /** Of isolations; none are made unless given. */
  readonly releaseCodes?: ReleaseCodes;
  readonly random: Random;
  readonly metrics: IngestMetrics;
  readonly log: Log;
  readonly batcher?: BatcherOptions;
  /** Nothing is renewed unless given. */
  readonly renewals?: ReportRenewals;
  /** Nothing dials unless given. */
  readonly dials?: DialRequests;
  /** When agents come back while the manager drains. */
  readonly orderContact?: ContactOrder | undefined;
  /** Most computers' clocks tell that the manager's is wrong, or was set. */
  readonly onClockDoubt?: (doubt: ClockDoubt) => void;
}

export interface Heartbeats {
  readonly batcher: ReportBatcher;
  readonly recorder: CountersRecorder;
  readonly lateness: LatenessRecorder;
  readonly refusalOf: ReturnType<typeof createSenderStanding>;
  /** Where most computers' clocks stand beside the manager's; null where that is not known. */
  readonly clocksBesideMs: () => number | null;
}

const SMALL_QUOTA = 100;

export function composeHeartbeats(deps: HeartbeatsDeps): Heartbeats {
  const { pool, listening, fleetClock, random, metrics, log } = deps;
  const recorder = createCountersRecorder({ sql: sqlOfClient(pool), clock: fleetClock, log });
  const lateness = createLatenessRecorder({ sql: sqlOfClient(pool), clock: fleetClock, log });
  const isBusy = (): boolean => batcher.load() >= SHED_FROM.events;
  const quota = (): Orders['eventQuota'] =>
    isBusy()
      ? { maxEventsPerReport: SMALL_QUOTA, drain: false }
      : { maxEventsPerReport: MAX_EVENTS_PER_REPORT, drain: true };
  const orderContact: ContactOrder = (usual) => {
    const drained = deps.orderContact?.(usual) ?? usual.usualMs;
    return drained === usual.usualMs ? stretchedContactMs(usual, batcher.load()) : drained;
  };
  const witness = createClockWitness({
    trustedMs: (now) => fleetClock.toTrusted(now) - now,
    onDoubt: (doubt) => deps.onClockDoubt?.(doubt),
  });
  const service = createReportService({
    ...deps,
    witness,
    orderContact,
    positions: createLanePositionRepository(),
    facts: createFactsRepository(),
    recorder,
    lateness,
    repository: createHeartbeatRepository(),
    events: createEventWriter({ random, fleetClock }),
    components: createComponentRepository(),
    contacts: createContactsRepository(),
    commands: createReportCommands(deps.releaseCodes),
    inventory: createReportInventory(),
    renewals: deps.renewals ?? NO_RENEWALS,
    steps: createClockStepRepository(),
    rings: createClockSampleRepository(),
    dials: deps.dials ?? NO_DIAL_REQUESTS,
    standings: createStandingRepository({ random, fleetClock }),
    rates: createEventRates(),
    spans: () => listening.spans(),
    spansUntilNow: () => listening.spansUntilNow(),
    admits: (lane) => lane === 'control' || !isBusy(),
    quota,
  });
  const batcher: ReportBatcher = createReportBatcher({
    service,
    listening,
    metrics,
    clock: fleetClock,
    breaker: deps.breaker,
    ...(deps.batcher ? { options: deps.batcher } : {}),
  });
  const refusalOf = createSenderStanding({
    sql: sqlOfClient(pool),
    breaker: deps.breaker,
    monotonic: () => fleetClock.monotonic(),
    log,
  });
  const clocksBesideMs = () => witness.besideMs(fleetClock.fleet());
  return { batcher, recorder, lateness, refusalOf, clocksBesideMs };
}
