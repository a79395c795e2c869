import { createLog } from '../../lib/log.js';
import { createSystemRandom } from '../../lib/random.js';
import { createAlertWriter } from '../../server/alerts/alert-writer.js';
import { createHotTransaction, type HotTransaction } from '../../server/database/hot-transaction.js';
import { createPoolUnitOfWork } from '../../server/database/in-transaction.js';
import { createListeningLedger, type RunningListeningLedger } from '../../server/listening/listening-ledger.js';
import type { OwnPath } from '../../server/listening/own-path.js';
import type { ComputerSettings, SettingsCache, VerdictRules } from '../../server/policies/settings-cache.js';
import { createStatusWriter } from '../../server/statuses/status-writer.js';
import type { Status } from '../../server/statuses/status.js';
import { SelfSuspicion } from '../../server/verdicts/self-suspicion.js';
import { createVerdictJob, type VerdictJob } from '../../server/verdicts/verdict-job.js';
import type { TestDatabase } from './database.js';
import { FakeClock } from './fake-clock.js';

export const START = Date.UTC(2026, 10, 21, 12);
const random = createSystemRandom();
const log = createLog({ name: 'test', level: 'silent' });

/** Settings that a test edits; every computer has the same. */
class FakeSettings implements SettingsCache {
  rules: VerdictRules = {
    missedAllowed: 2,
    graceMs: 5000,
    offlineAlertForStoppedVm: false,
    goodbyeToleranceMs: 300_000,
  };
  rulesSince = 0;
  readonly broken = new Set<string>();
  #listeners: (() => void)[] = [];

  generation = () => ({ epoch: '', counter: 0 });
  ensure = async () => {};
  onChange = (listener: () => void) => void this.#listeners.push(listener);

  settingsOf({ policyId }: { readonly policyId: string }): ComputerSettings {
    if (this.broken.has(policyId)) throw new Error('no such policy');
    return {
      json: '{}',
      fingerprint: '',
      intervalMs: 60_000,
      verdictRules: this.rules,
      clockLimits: { changeMs: 60_000, driftMs: 300_000 },
      settingsPendingContactsAllowed: 2,
      certificateDays: { lifetime: 30, renewAfterExpiry: 7, expiryAlert: 7 },
      eventRateLimitPerMinute: 600,
      rulesSince: this.rulesSince,
    };
  }

  edit(change: Partial<VerdictRules>, at: number): void {
    this.rules = { ...this.rules, ...change };
    this.rulesSince = at;
    for (const listener of this.#listeners) listener();
  }
}

/** Managers' verdict jobs over one real database, with one fake clock; instants are milliseconds since START. */
export class VerdictWorld {
  readonly clock = new FakeClock(START);
  readonly settings = new FakeSettings();
  readonly policyId = random.uuid();
  readonly statements: string[] = [];
  readonly #database: TestDatabase;
  readonly inTransaction: HotTransaction;
  readonly statuses = createStatusWriter({
    alerts: createAlertWriter({ random }),
    random,
    fleetClock: this.clock,
  });

  constructor(database: TestDatabase) {
    this.#database = database;
    const inTransaction = createHotTransaction(createPoolUnitOfWork(database.pool, { clock: this.clock, random }));
    this.inTransaction = (work, options) =>
      inTransaction(
        (sql) =>
          work({
            query: (text, parameters) => {
              this.statements.push(text);
              return sql.query(text, parameters);
            },
          }),
        options,
      );
  }

  async open(): Promise<void> {
    await this.#database.pool.query(
      `DELETE FROM computers; DELETE FROM policies; DELETE FROM computer_live; DELETE FROM computer_status; DELETE FROM alerts; DELETE FROM computer_contacts; DELETE FROM computer_dials;
       DELETE FROM status_history; DELETE FROM listeners; DELETE FROM deaf_spans;
       UPDATE verdict_shards SET owner = NULL, generation = 0, lease_until_fleet_ms = 0`,
    );
    await this.#insertPolicy(this.policyId);
  }

  async #insertPolicy(id: string): Promise<void> {
    await this.#database.pool.query(
      `INSERT INTO policies (id, name, description, settings, locks, revision, created_at, updated_at, verdict_rules_fleet_ms)
       VALUES ($1, $2, '', '{}', '{}', 1, '2026-11-21T12:00:00Z', '2026-11-21T12:00:00Z', 0)`,
      [id, id],
    );
  }

  async policy(): Promise<string> {
    const id = random.uuid();
    await this.#insertPolicy(id);
    return id;
  }

  /** A listening manager process; its renewals are `turn`. */
  async listen(node = 'n1', settled: () => Promise<void> = async () => {}): Promise<RunningListeningLedger> {
    const ledger = createListeningLedger({
      node,
      inTransaction: this.inTransaction,
      fleetClock: this.clock,
      ingest: { settled },
      log,
    });
    await ledger.register();
    await ledger.opened();
    return ledger;
  }

  job(ledger: RunningListeningLedger, owner = 'n1', isDraining = () => false): VerdictJob {
    const { clock, settings, statuses, inTransaction } = this;
    return createVerdictJob({ owner, inTransaction, fleetClock: clock, ledger, settings, statuses, log, isDraining });
  }

  /** A job that doubts itself; `check` is what it finds when it looks at its own path. */
  doubtingJob(
    ledger: RunningListeningLedger,
    check: OwnPath['check'],
    isDraining: () => boolean = () => false,
  ): VerdictJob {
    const { clock, settings, statuses, inTransaction } = this;
    const suspicion = new SelfSuspicion({ path: { check }, ledger, fleetClock: clock, log });
    return createVerdictJob({
      owner: 'n1',
      inTransaction,
      fleetClock: clock,
      ledger,
      settings,
      statuses,
      suspicion,
      isDraining,
      log,
    });
  }

  async run(job: VerdictJob): Promise<void> {
    await job.run(new AbortController().signal);
  }

  /** A computer that was seen `at`, with its next contact due at `due`. */
  async computer(options: { at?: number; due?: number; policyId?: string; status?: Status; id?: string } = {}) {
    const { at = 0, due = at + 60_000, policyId = this.policyId, status = 'online', id = random.uuid() } = options;
    const { pool } = this.#database;
    await pool.query(
      `INSERT INTO computers (id, name, kind, policy_id, labels, revision, verdict_rules_fleet_ms, created_fleet_ms)
       VALUES ($1, 'web1', 'agent', $2, '{}', 1, 0, 0)`,
      [id, policyId],
    );
    await pool.query(
      `INSERT INTO computer_live (computer_id, last_seen_fleet_ms, contact_due_fleet_ms, confirmed_interval_ms)
       VALUES ($1, $2, $3, 60000)`,
      [id, status === 'pending' ? null : START + at, status === 'pending' ? null : START + due],
    );
    await pool.query(
      `INSERT INTO computer_status (computer_id, status, reason, since_fleet_ms) VALUES ($1, $2, 'in-contact', $3)`,
      [id, status, START + at],
    );
    return id;
  }

  /** The direction that the computer's last report told to be in force. */
  async direct(id: string, direction: 'managerInitiated' | 'agentInitiated' | 'bidirectional'): Promise<void> {
    await this.#database.pool.query(
      `INSERT INTO computer_contacts (computer_id, direction) VALUES ($1, $2)
       ON CONFLICT (computer_id) DO UPDATE SET direction = EXCLUDED.direction`,
      [id, direction],
    );
  }

  /** What a dialler stores of a dial that failed. */
  async failDial(id: string, [begun, ended]: readonly [number, number], result = 'unreachable'): Promise<void> {
    await this.#database.pool.query(
      `INSERT INTO computer_dials AS known (computer_id, last_begun_fleet_ms, last_ended_fleet_ms, last_result, failures,
         failed_begun_fleet_ms, failed_ended_fleet_ms) VALUES ($1, $2, $3, $4, 1, ARRAY[$2::bigint], ARRAY[$3::bigint])
       ON CONFLICT (computer_id) DO UPDATE SET last_begun_fleet_ms = $2, last_ended_fleet_ms = $3, last_result = $4,
         failures = known.failures + 1, failed_begun_fleet_ms = known.failed_begun_fleet_ms || $2::bigint,
         failed_ended_fleet_ms = known.failed_ended_fleet_ms || $3::bigint`,
      [id, START + begun, START + ended, result],
    );
  }

  /** What ingest does with a stored report. */
  async beat(id: string, jobs: readonly VerdictJob[], dueIn = 60_000): Promise<void> {
    const at = this.clock.fleet();
    await this.inTransaction(async (sql) => {
      await sql.query('SELECT 1 FROM computer_live WHERE computer_id = $1 FOR NO KEY UPDATE', [id]);
      await sql.query(
        `UPDATE computer_live SET last_seen_fleet_ms = $2, contact_due_fleet_ms = $3, confirmed_interval_ms = 60000
         WHERE computer_id = $1`,
        [id, at, at + dueIn],
      );
      const [row] = await sql.query<{ status: Status }>('SELECT status FROM computer_status WHERE computer_id = $1', [
        id,
      ]);
      if (!row || row.status === 'online') return;
      const back = { computerId: id, from: row.status, to: 'online' as const, reason: 'in-contact', since: at };
      await this.statuses.apply(sql, [{ ...back, offlineAt: null, offlineAlert: null }], at);
    });
    for (const job of jobs)
      job.heard([{ computerId: id, lastSeenAt: at, contactDueAt: at + dueIn, intervalMs: 60_000 }]);
  }

  async status(id: string) {
    const { rows } = await this.#database.pool.query(
      'SELECT status, reason, since_fleet_ms FROM computer_status WHERE computer_id = $1',
      [id],
    );
    return [rows[0].status, rows[0].reason, Number(rows[0].since_fleet_ms) - START];
  }

  async alerts(id?: string) {
    const { rows } = await this.#database.pool.query(
      `SELECT * FROM alerts WHERE $1::text IS NULL OR subject = $1 ORDER BY raised_fleet_ms, subject`,
      [id ?? null],
    );
    return rows.map((row) => ({
      state: row.state as string,
      reason: row.reason as string,
      raisedAt: Number(row.raised_fleet_ms) - START,
      closedAt: row.closed_fleet_ms === null ? null : Number(row.closed_fleet_ms) - START,
      occurrences: Number(row.occurrences),
    }));
  }

  async history(id: string) {
    const { rows } = await this.#database.pool.query(
      `SELECT * FROM status_history WHERE computer_id = $1 ORDER BY noticed_fleet_ms, since_fleet_ms`,
      [id],
    );
    return rows.map((row) => [row.previous_status, row.status, Number(row.since_fleet_ms) - START]);
  }
}
