import { createHash, randomUUID } from 'node:crypto';
import type pg from 'pg';
import { createSystemClock } from '../../lib/clock.js';
import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import type { ContactOrder } from '../../policies/drain-rules.js';
import type { Orders, Report } from '../../protocol/heartbeat-messages.js';
import { createAlertWriter } from '../../server/alerts/alert-writer.js';
import type { ReportRenewals } from '../../server/certificates/report-renewals.js';
import { sqlOfClient } from '../../server/database/sql.js';
import type { DialRequests } from '../../server/dials/index.js';
import type { FleetClock } from '../../server/fleet-clock/fleet-clock.js';
import { composeHeartbeats, type Heartbeats } from '../../server/heartbeats/compose-heartbeats.js';
import type { ClockDoubt } from '../../server/heartbeats/clock-witness.js';
import type { Exchange } from '../../server/heartbeats/exchange.js';
import { createDatabaseBreaker } from '../../server/database/database-breaker.js';
import { createIdentityTokens } from '../../server/heartbeats/identity-token.js';
import { createIngestMetrics, type IngestMetrics } from '../../server/heartbeats/ingest-metrics.js';
import type { LivenessHint, LivenessHints } from '../../server/heartbeats/liveness-hints.js';
import type { BatcherOptions } from '../../server/heartbeats/report-batcher.js';
import type { DeafSpan } from '../../server/listening/listening.js';
import { createSettingsCache, type PolicySettingsCache } from '../../server/policies/cached-settings.js';
import { createStatusWriter } from '../../server/statuses/status-writer.js';

export const POLICY_ID = '00000000-0000-4000-8000-00000000ba5e';
export const EPOCH = '00000000-0000-4000-8000-0000000e70c4';
export const SERIAL = '0f'.repeat(16);

/** A fleet clock that tests move by hand; waiting is real. */
export interface HandClock extends FleetClock {
  now: number;
  /** What the wall clock was stepped by and is not trusted yet. */
  wallStepMs: number;
}

export function handClock(now = 1_790_000_000_000): HandClock {
  const system = createSystemClock();
  const clock: HandClock = {
    ...system,
    now,
    wallStepMs: 0,
    fleet: () => clock.now,
    toWall: (instant) => instant + clock.wallStepMs,
    toTrusted: (instant) => instant,
    trustedTime: () => clock.now,
    toFleet: (wall) => wall,
  };
  return clock;
}

export interface IngestWorld extends Heartbeats {
  readonly pool: pg.Pool;
  readonly clock: HandClock;
  readonly settings: PolicySettingsCache;
  readonly metrics: IngestMetrics;
  readonly heard: LivenessHint[];
  readonly reconsidered: string[];
  /** Computers that the ingest path asked to have dialled. */
  readonly dialled: string[];
  readonly deaf: string[];
  readonly spans: DeafSpan[];
  /** The deafness that goes on. */
  readonly present: DeafSpan[];
  /** What most computers told of the manager's clock. */
  readonly doubts: ClockDoubt[];
  report(computerId: string, changes?: Partial<Report>): Exchange;
  beat(computerId: string, changes?: Partial<Report>): Promise<Orders>;
}

/** Stores the forest with one policy, as the first start of a manager does. */
export async function seedForest(pool: pg.Pool): Promise<void> {
  await pool.query(`INSERT INTO policy_forest (id, epoch, counter) VALUES (1, $1, 7)`, [EPOCH]);
  await pool.query(
    `INSERT INTO policies (id, name, description, settings, locks, built_in, revision, created_at, updated_at, verdict_rules_fleet_ms)
     VALUES ($1, 'Base Policy', '', '{}', '{}', true, 1, to_timestamp(0), to_timestamp(0), 0)`,
    [POLICY_ID],
  );
}

export async function changePolicy(pool: pg.Pool, settings: Record<string, unknown>): Promise<void> {
  await pool.query('UPDATE policies SET settings = $1::jsonb', [JSON.stringify(settings)]);
  await pool.query('UPDATE policy_forest SET counter = counter + 1');
}

export async function addComputers(pool: pg.Pool, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID()).sort();
  await pool.query(
    `INSERT INTO computers (id, name, kind, policy_id, labels, revision, verdict_rules_fleet_ms, created_fleet_ms)
     SELECT id, 'web', 'agent', $2, '{}', 1, 0, 0 FROM unnest($1::uuid[]) AS id`,
    [ids, POLICY_ID],
  );
  await pool.query(`INSERT INTO computer_live (computer_id) SELECT id FROM unnest($1::uuid[]) AS id`, [ids]);
  await pool.query(
    `INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms)
     SELECT id, 'pending', 'never-seen', 0 FROM unnest($1::uuid[]) AS id`,
    [ids],
  );
  return ids;
}

export function createIngestWorld(
  pool: pg.Pool,
  options: {
    clock?: HandClock;
    batcher?: BatcherOptions;
    hints?: LivenessHints;
    dials?: DialRequests;
    orderContact?: ContactOrder;
    renewals?: ReportRenewals;
  } = {},
): IngestWorld {
  const clock = options.clock ?? handClock();
  const random = createSystemRandom();
  const metrics = createIngestMetrics();
  const alerts = createAlertWriter({ random });
  const settings = createSettingsCache({ sql: sqlOfClient(pool) });
  const heard: LivenessHint[] = [];
  const reconsidered: string[] = [];
  const dialled: string[] = [];
  const deaf: string[] = [];
  const spans: DeafSpan[] = [];
  const present: DeafSpan[] = [];
  const doubts: ClockDoubt[] = [];
  const heartbeats = composeHeartbeats({
    pool,
    settings,
    alerts,
    statuses: createStatusWriter({ alerts, random, fleetClock: clock }),
    listening: {
      spans: () => spans,
      spansUntilNow: () => [...spans, ...present],
      noteDeaf: (cause) => void deaf.push(cause),
    },
    breaker: createDatabaseBreaker(() => clock.monotonic()),
    hints: options.hints ?? {
      heard: (hints) => void heard.push(...hints),
      reconsider: (ids) => void reconsidered.push(...ids),
    },
    dials: options.dials ?? { request: (ids) => void dialled.push(...ids) },
    fleetClock: clock,
    tokens: createIdentityTokens(Buffer.alloc(32, 7)),
    random,
    metrics,
    log: createLog({ name: 'test', level: 'silent' }),
    orderContact: options.orderContact,
    onClockDoubt: (doubt) => void doubts.push(doubt),
    ...(options.batcher ? { batcher: options.batcher } : {}),
    ...(options.renewals ? { renewals: options.renewals } : {}),
  });
  const sequences = new Map<string, number>();
  const report = (computerId: string, changes: Partial<Report> = {}): Exchange => {
    const sequence = (sequences.get(computerId) ?? 0) + 1;
    sequences.set(computerId, sequence);
    return toExchange(computerId, clock.now, { ...steadyReport(clock.now), sequence, ...changes });
  };
  return {
    ...heartbeats,
    pool,
    clock,
    settings,
    metrics,
    heard,
    reconsidered,
    dialled,
    deaf,
    spans,
    present,
    doubts,
    report,
    beat: (computerId, changes) => heartbeats.batcher.submit(report(computerId, changes)),
  };
}

export function steadyReport(now: number): Report {
  return {
    protocolVersion: 1,
    reportId: randomUUID(),
    sequence: 1,
    bootId: 'boot-1',
    instanceId: '11111111-1111-4111-8111-111111111111',
    agentTime: now,
    // Longer than any test: no reboot lies between its reports.
    uptimeMs: 30 * 86_400_000,
    agentVersion: '0.1.0',
    platform: 'linux-x64',
    capabilities: ['clockChangeEvents'],
    factsDigest: 'a'.repeat(64),
    facts: { hostname: 'web1' },
    components: [],
    counters: { cpu: 1 },
    intervalSeconds: 60,
    lanes: [],
  };
}

export function toExchange(computerId: string, receivedAt: number, report: Report): Exchange {
  return {
    identity: { computerId, serial: SERIAL },
    receivedAt,
    listener: 'node-1',
    via: 'direct',
    dialledBy: 'agent',
    report,
    digest: createHash('sha256').update(JSON.stringify(report)).digest(),
    address: '192.0.2.1',
    tls: { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384' },
  };
}
