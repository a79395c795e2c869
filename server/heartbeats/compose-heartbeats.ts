import type { Pool } from 'pg';
import { createReportCommands } from '../agent-commands/report-commands.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { ContactOrder } from '../../policies/drain-rules.js';
import { SHED_FROM, stretchedContactMs } from '../../policies/herd-rules.js';
import { MAX_EVENTS_PER_REPORT, type Orders } from '../../protocol/heartbeat-messages.js';
import type { AlertWriter } from '../alerts/alert.js';
import type { DatabaseBreaker } from '../database/database-breaker.js';
import { sqlOfClient } from '../database/sql.js';
import { createEventWriter } from '../events/event-writer.js';
import { createLanePositionRepository } from '../events/lane-position-repository.js';
import { NO_DIAL_REQUESTS, type DialRequests } from '../dials/dial-requests.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ListeningLedger } from '../listening/listening.js';
import type { SettingsCache } from '../policies/settings-cache.js';
import type { StatusWriter } from '../statuses/status.js';
import { createClockStepRepository } from './clock-step-repository.js';
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
  readonly random: Random;
  readonly metrics: IngestMetrics;
  readonly log: Log;
  readonly batcher?: BatcherOptions;
  /** Nothing dials unless given. */
  readonly dials?: DialRequests;
  /** When agents come back while the manager drains. */
  readonly orderContact?: ContactOrder | undefined;
}

export interface Heartbeats {
  readonly batcher: ReportBatcher;
  readonly recorder: CountersRecorder;
  readonly lateness: LatenessRecorder;
  readonly refusalOf: ReturnType<typeof createSenderStanding>;
}

const SMALL_QUOTA = 100;

export function composeHeartbeats(deps: HeartbeatsDeps): Heartbeats {
  const { pool, listening, fleetClock, random, metrics, log } = deps;
  const positions = createLanePositionRepository();
  const facts = createFactsRepository();
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
  const service = createReportService({
    ...deps,
    orderContact,
    positions,
    facts,
    recorder,
    lateness,
    repository: createHeartbeatRepository(),
    events: createEventWriter({ random, fleetClock }),
    components: createComponentRepository(),
    contacts: createContactsRepository(),
    commands: createReportCommands(),
    steps: createClockStepRepository(),
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
  return { batcher, recorder, lateness, refusalOf };
}
