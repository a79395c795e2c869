import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { createAlertWriter } from '../../server/alerts/alert-writer.js';
import { sqlOfClient } from '../../server/database/sql.js';
import { composeIncidents, type IncidentJob, type IncidentsDeps } from '../../server/incidents/index.js';
import type { Status, StatusTransition } from '../../server/statuses/status.js';
import type { GoodbyeReason } from '../../policies/status-model.js';
import type { TestDatabase } from './database.js';
import { VerdictWorld } from './verdict-world.js';

const random = createSystemRandom();
const log = createLog({ name: 'test', level: 'silent' });

export interface Site {
  readonly count: number;
  /** The third part of its subnet. */
  readonly net: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly policyId?: string;
  readonly intervalMs?: number;
}

const INSERT_COMPUTERS = `
INSERT INTO computers (id, name, kind, policy_id, labels, revision, verdict_rules_fleet_ms, created_fleet_ms)
SELECT id, name, 'agent', $3, $4::jsonb, 1, 0, 0 FROM unnest($1::uuid[], $2::text[]) AS made (id, name)`;
const INSERT_LIVE = `
INSERT INTO computer_live (computer_id, last_seen_fleet_ms, contact_due_fleet_ms, confirmed_interval_ms)
SELECT id, $2, $2 + $3::bigint, $3::integer FROM unnest($1::uuid[]) AS made (id)`;
const INSERT_STATUS = `
INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms)
SELECT id, 'online', 'in-contact', $2 FROM unnest($1::uuid[]) AS made (id)`;
const INSERT_FACTS = `
INSERT INTO computer_facts (computer_id, facts, agent_version, platform, protocol_version, capabilities,
  observed_address, carrier, updated_fleet_ms)
SELECT id, '{}', '1.0.0', 'linux', 1, '{}', '10.0.' || $2::text || '.' || (place % 250), 'https', 0
FROM unnest($1::uuid[]) WITH ORDINALITY AS made (id, place)`;

/** A fleet on a real database, whose statuses a test moves, and managers' jobs that look for incidents in it. */
export class IncidentWorld extends VerdictWorld {
  readonly #pool: TestDatabase['pool'];
  readonly names = new Map<string, { readonly name: string; readonly parentId: string | null }>();
  readonly excused = new Set<string>();
  #named = 0;

  constructor(database: TestDatabase) {
    super(database);
    this.#pool = database.pool;
  }

  override async open(): Promise<void> {
    await super.open();
    await this.#pool.query('DELETE FROM computer_facts; DELETE FROM jobs; DELETE FROM alert_outbox');
    this.names.set(this.policyId, { name: 'Servers', parentId: null });
  }

  incidents(node = 'n1', more: Partial<IncidentsDeps> = {}): IncidentJob {
    return composeIncidents({
      node,
      inTransaction: this.inTransaction,
      sql: sqlOfClient(this.#pool),
      fleetClock: this.clock,
      random,
      log,
      alerts: createAlertWriter({ random }),
      policies: { policies: () => this.names, onChange: () => {} },
      findExcused: async () => this.excused,
      ...more,
    });
  }

  async look(job: IncidentJob): Promise<void> {
    await job.run(new AbortController().signal);
  }

  /** Computers in contact, sorted by id. */
  async site({ count, net, labels = {}, policyId = this.policyId, intervalMs = 60_000 }: Site): Promise<string[]> {
    const ids = Array.from({ length: count }, () => random.uuid()).sort();
    const names = ids.map(() => `host${String((this.#named += 1)).padStart(4, '0')}`);
    await this.#pool.query(INSERT_COMPUTERS, [ids, names, policyId, JSON.stringify(labels)]);
    await this.#pool.query(INSERT_LIVE, [ids, this.clock.fleet(), intervalMs]);
    await this.#pool.query(INSERT_STATUS, [ids, this.clock.fleet()]);
    await this.#pool.query(INSERT_FACTS, [ids, net]);
    return ids;
  }

  /** Stores that these computers change over, as verdicts and ingest do. */
  async move(ids: readonly string[], from: Status, to: Status): Promise<void> {
    const since = this.clock.fleet();
    const offlineAlert = to === 'offline' ? { raisedAt: since, reason: 'unknown' } : null;
    const transitions = ids.map((computerId): StatusTransition => ({
      computerId,
      from,
      to,
      reason: to,
      since,
      offlineAt: null,
      offlineAlert,
    }));
    await this.inTransaction((sql) => this.statuses.apply(sql, transitions, since));
  }

  late = (ids: readonly string[]) => this.move(ids, 'online', 'late');
  offline = (ids: readonly string[]) => this.move(ids, 'late', 'offline');
  back = (ids: readonly string[]) => this.move(ids, 'offline', 'online');

  async goodbye(ids: readonly string[], reason: GoodbyeReason): Promise<void> {
    const goodbye = { reason, receivedAt: this.clock.fleet(), expectedBackMs: null };
    await this.inTransaction((sql) =>
      this.statuses.setGoodbyes(
        sql,
        ids.map((computerId) => ({ computerId, goodbye })),
      ),
    );
  }

  /** Incidents, oldest first. */
  async outages() {
    const { rows } = await this.#pool.query(
      `SELECT id, subject, state, detail FROM alerts WHERE type = 'mass-outage' ORDER BY raised_fleet_ms, id`,
    );
    return rows.map(({ id, subject, state, detail }) => ({ id, subject, state, detail }));
  }

  /** `subject state silent/of children`, oldest first. */
  async told(): Promise<string[]> {
    const outages = await this.outages();
    return outages.map(
      ({ subject, state, detail }) => `${subject} ${state} ${detail.silent}/${detail.of} ${detail.children}`,
    );
  }

  /** How many open offline alerts there are by the incident that holds them; 'none' for none. */
  async held(): Promise<Record<string, number>> {
    const { rows } = await this.#pool.query(
      `SELECT coalesce(incidents.subject, 'none') AS subject, count(*)::int AS count
       FROM alerts LEFT JOIN alerts AS incidents ON incidents.id = alerts.incident_id
       WHERE alerts.type = 'computer-offline' AND alerts.state IN ('raised', 'acknowledged') GROUP BY 1`,
    );
    return Object.fromEntries(rows.map(({ subject, count }) => [subject, count]));
  }

  async releasedAlerts(): Promise<string[]> {
    const { rows } = await this.#pool.query(
      `SELECT alerts.subject FROM alert_outbox JOIN alerts ON alerts.id = alert_outbox.alert_id
       WHERE alert_outbox.change = 'incident' ORDER BY alerts.subject`,
    );
    return rows.map(({ subject }) => subject);
  }
}
