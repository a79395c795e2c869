import { randomUUID } from 'node:crypto';
import { createSystemRandom } from '../../lib/random.js';
import type { AgentEvent, Report } from '../../protocol/heartbeat-messages.js';
import type { Actor } from '../../server/access/actor.js';
import { Scope } from '../../server/access/scope.js';
import { createAlertOutbox } from '../../server/alerts/alert-outbox.js';
import { createAlertService, type AlertService } from '../../server/alerts/alert-service.js';
import { createAlertWriter } from '../../server/alerts/alert-writer.js';
import { createUnitOfWork } from '../../server/database/in-transaction.js';
import { createCoveredDrift } from '../../server/heartbeats/covered-drift.js';
import { useDatabase, type TestDatabase } from './database.js';
import { addComputers, changePolicy, createIngestWorld, seedForest, type IngestWorld } from './ingest-world.js';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const NO_CAPABILITY = { capabilities: [] as string[] };
const ADA: Actor = { kind: 'user', id: 'ada', name: 'ada', role: 'administrator', sourceAddress: null };
/** Stands for the agent's clock when it tells the event. */
const NOW_BY_AGENT = -1;

interface AlertRow {
  readonly type: string;
  readonly state: string;
  readonly occurrences: number;
  readonly id: string;
  readonly raised: number;
  readonly detail: Record<string, unknown>;
}

/** Called in a `describe`: each of its tests has a computer of its own, whose clock is what the test says. */
export function useClocks(): ClockWorld {
  const database = useDatabase();
  const clocks = new ClockWorld(database);
  before(() => clocks.open());
  beforeEach(() => clocks.begin());
  return clocks;
}

/** One computer at a time, and the alerts about its clock. */
export class ClockWorld {
  readonly #database: TestDatabase;
  #ingest: IngestWorld | undefined;
  #service: AlertService | undefined;
  #id = '';
  #previous: Report['previousExchange'];
  #sequence = 0;
  #applied = '0'.repeat(64);

  constructor(database: TestDatabase) {
    this.#database = database;
  }

  async open(): Promise<void> {
    await seedForest(this.#database.pool);
    this.#ingest = createIngestWorld(this.#database.pool);
    const { clock, settings } = this.#ingest;
    const random = createSystemRandom();
    this.#service = createAlertService({
      outbox: createAlertOutbox({ random }),
      fleetClock: clock,
      inTransaction: createUnitOfWork(this.#database.dataSource, { clock, random }),
      audit: { append: async () => undefined, appendAll: async () => undefined },
      covered: createCoveredDrift({ alerts: createAlertWriter({ random }), settings, fleetClock: clock }),
    });
  }

  async begin(): Promise<void> {
    [this.#id = ''] = await addComputers(this.pool, 1);
    // What the computers of earlier tests showed of the manager's clock is long past.
    this.ingest.clock.now += HOUR;
    this.ingest.clock.wallStepMs = 0;
    await changePolicy(this.pool, {});
    this.#previous = undefined;
    this.#sequence = 0;
  }

  get pool(): TestDatabase['pool'] {
    return this.#database.pool;
  }

  get ingest(): IngestWorld {
    if (!this.#ingest) throw new Error('The world is not open');
    return this.#ingest;
  }

  /** The computer of the test that runs. */
  get id(): string {
    return this.#id;
  }

  alerts = async (): Promise<AlertRow[]> => {
    const { rows } = await this.pool.query<AlertRow>(
      `SELECT id, type, state, occurrences, detail, raised_fleet_ms::float8 AS raised FROM alerts
       WHERE computer_id = $1 AND type LIKE 'clock-%' ORDER BY raised_fleet_ms, type`,
      [this.#id],
    );
    return rows;
  };

  shown = async (): Promise<string[]> =>
    (await this.alerts()).map(({ type, state, occurrences }) => `${type} ${state} ${occurrences}`);

  /** A minute later, by an agent that is ahead by so much. */
  beat = async (aheadMs: number, changes: Partial<Report> = {}): Promise<void> => {
    const { clock } = this.ingest;
    clock.now += MINUTE;
    const agentTime = clock.now + aheadMs;
    this.#sequence += 1;
    const told = this.#previous ? { previousExchange: this.#previous } : {};
    const lanes = (changes.lanes ?? []).map((batch) => ({
      ...batch,
      events: batch.events.map((event) => ({
        ...event,
        occurredAt: event.occurredAt === NOW_BY_AGENT ? agentTime : event.occurredAt,
      })),
    }));
    const facts = { sequence: this.#sequence, agentTime, appliedFingerprint: this.#applied };
    const orders = await this.ingest.beat(this.#id, { ...facts, ...told, ...changes, lanes });
    this.#applied = orders.settings?.fingerprint ?? this.#applied;
    this.#previous = { sequence: this.#sequence, sentAt: agentTime - 5, receivedAt: agentTime + 5 };
  };

  /** Sends a report twice, as the first of the computer. */
  beatTwice = async (changes: Partial<Report>): Promise<void> => {
    const report = this.ingest.report(this.#id, { ...changes, reportId: randomUUID() });
    this.#sequence = 1;
    await this.ingest.batcher.submit(report);
    await this.ingest.batcher.submit(report);
  };

  dismissByHand = async (): Promise<void> => {
    const open = (await this.alerts()).find(({ type, state }) => type === 'clock-changed' && state !== 'dismissed');
    await this.#service?.dismiss({ id: open?.id ?? '', actor: ADA, scope: Scope.all, comment: undefined });
  };
}

/** What an agent tells in lane `control`: by default that its clock was set an hour ahead just now. */
export const control = (...events: readonly (Partial<AgentEvent> & { sequence: number })[]): Partial<Report> => ({
  lanes: [
    {
      lane: 'control',
      epoch: 'e1',
      events: events.map((event) => ({
        occurredAt: NOW_BY_AGENT,
        kind: 'clock-changed',
        code: 5004,
        severity: 'medium',
        message: 'set',
        data: { stepMs: HOUR },
        ...event,
      })),
    },
  ],
});
