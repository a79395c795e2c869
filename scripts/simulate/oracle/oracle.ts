import type pg from 'pg';
import type { Orders, Report } from '../../../protocol/heartbeat-messages.js';
import type { RecordRow } from './circumstances.js';
import { ComputerTruth, type LiveFacts } from './computer-truth.js';
import { TrueDeafness } from './deafness.js';
import { RuleBook } from './rule-book.js';
import { earliestOffline, latestOffline, quietAfter, type Deafness } from './silence-bounds.js';
import { joined, type Span } from './spans.js';
import type { Violations } from './violations.js';

export interface OracleDeps {
  readonly observer: pg.Client;
  readonly tickMs: number;
  /** The fleet instant of now. */
  readonly fleet: () => number;
  readonly violations: Violations;
  readonly note: (text: string) => void;
  /** Since when, in fleet time, nothing has stood between this agent and the manager; undefined when something does. */
  readonly healthySince: (computerId: string) => number | undefined;
}

interface OpenAlert {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly raisedAt: number;
}

const READ = `SELECT
  (SELECT json_agg(json_build_object('computerId', computer_id, 'reportId', report_id, 'lastSeenAt', last_seen_fleet_ms,
     'contactDueAt', contact_due_fleet_ms, 'deliveredMs', delivered_interval_ms)) FROM computer_live) AS live,
  (SELECT json_agg(json_build_object('id', id, 'type', type, 'subject', subject, 'raisedAt', raised_fleet_ms)
     ORDER BY raised_fleet_ms, subject) FROM alerts WHERE state NOT IN ('resolved', 'dismissed')) AS alerts`;

const READ_RECORDS = `SELECT id, policy_id, power_state, power_since_fleet_ms::float8 AS power_since,
  power_expires_fleet_ms::float8 AS power_expires FROM computers ORDER BY id`;

const READ_SUSPICIONS = `SELECT from_fleet_ms::float8 AS from, until_fleet_ms::float8 AS until FROM deaf_spans
  WHERE cause = 'self-suspicion' ORDER BY from_fleet_ms`;

/** How much later than by the rule an alert may be stamped: nothing but rounding. */
const ROUNDING_MS = 1;

/** Judges what the product stores by what was really done to it; it knows nothing of the product's own rules. */
export class Oracle {
  readonly deafness: TrueDeafness;
  readonly #deps: OracleDeps;
  readonly #rules = new RuleBook();
  readonly #computers = new Map<string, ComputerTruth>();
  #open = new Map<string, OpenAlert>();
  readonly #known = new Set<string>();
  /** Silences for which an alert was missed already. */
  readonly #missed = new Map<string, number>();
  #alertsRaised = 0;
  #alertsExpected = 0;

  constructor(deps: OracleDeps) {
    this.#deps = deps;
    this.deafness = new TrueDeafness(deps.tickMs);
  }

  get alertsRaised(): number {
    return this.#alertsRaised;
  }

  get alertsExpected(): number {
    return this.#alertsExpected;
  }

  add(computerId: string): void {
    this.#computers.set(computerId, new ComputerTruth(computerId));
  }

  submitted(computerId: string, report: Report, receivedAt: number): void {
    this.#computers.get(computerId)?.submit(report, receivedAt);
  }

  answered(computerId: string, orders: Orders): void {
    this.#computers.get(computerId)?.answered(orders);
  }

  async committed(tables: ReadonlySet<string>): Promise<void> {
    if (tables.has('policies')) await this.#readPolicies();
    if (tables.has('computers')) await this.#readRecords();
    if (tables.has('deaf_spans')) await this.#readSuspicions();
    if (tables.has('computer_live') || tables.has('alerts')) await this.#readFleet();
  }

  async #readPolicies(): Promise<void> {
    const { rows } = await this.#deps.observer.query('SELECT id, parent_id, settings FROM policies ORDER BY id');
    this.#rules.read(rows, this.#deps.fleet());
  }

  async #readRecords(): Promise<void> {
    const at = this.#deps.fleet();
    const { rows } = await this.#deps.observer.query(READ_RECORDS);
    for (const row of rows as RecordRow[]) this.#computers.get(row.id)?.circumstances.read(row, at);
  }

  /** The manager may doubt itself where its own path is broken too: the time that it then excuses is possible. */
  async #readSuspicions(): Promise<void> {
    const { rows } = await this.#deps.observer.query(READ_SUSPICIONS);
    for (const { from, until } of rows as Span[]) this.deafness.excuse({ from, until });
  }

  async #readFleet(): Promise<void> {
    const { rows } = await this.#deps.observer.query({ name: 'oracle', text: READ });
    const { live, alerts } = rows[0] as { live: LiveFacts[] | null; alerts: OpenAlert[] | null };
    for (const facts of live ?? []) {
      const wrong = this.#computers.get(facts.computerId)?.follow(facts);
      if (wrong !== undefined) this.#deps.violations.add('other', `${facts.computerId}: ${wrong}`);
    }
    this.#followAlerts(alerts ?? []);
  }

  #followAlerts(alerts: readonly OpenAlert[]): void {
    const open = new Map<string, OpenAlert>();
    for (const alert of alerts) {
      const key = `${alert.type} ${alert.subject}`;
      if (open.has(key)) this.#deps.violations.add('other', `two open alerts: ${key}`);
      open.set(key, alert);
      if (this.#known.has(alert.id)) continue;
      this.#known.add(alert.id);
      this.#deps.note(`alert ${key} ${alert.raisedAt}`);
      if (alert.type === 'computer-offline') this.#judgeRaised(alert);
    }
    for (const [key, alert] of this.#open) if (open.get(key)?.id !== alert.id) this.#deps.note(`closed ${key}`);
    this.#open = open;
    for (const alert of open.values()) this.#judgeStanding(alert);
  }

  #judgeRaised(alert: OpenAlert): void {
    this.#alertsRaised += 1;
    const falsity = this.#falsityOf(alert);
    if (falsity === undefined) this.#alertsExpected += 1;
    else this.#deps.violations.add('false-alert', `${alert.subject} at ${alert.raisedAt}: ${falsity}`);
  }

  #falsityOf({ subject, raisedAt }: OpenAlert): string | undefined {
    const now = this.#deps.fleet();
    const computer = this.#computers.get(subject);
    const contact = computer?.soonest();
    if (!computer || !contact) return 'it was never seen';
    if (raisedAt > now) return `raised ${raisedAt - now} ms ahead of its time`;
    const deafness = this.deafness.deafness();
    const policies = computer.circumstances.policiesAt(now);
    const rules = policies.flatMap((policyId) => this.#rules.applicable(policyId, now));
    const bySilence = Math.min(...rules.map((rule) => earliestOffline(contact, rule, deafness)));
    const earliest = Math.max(bySilence, computer.circumstances.excusedUntil(contact.lastSeenAt));
    if (raisedAt < earliest - ROUNDING_MS) return `not due before ${earliest}, ${earliest - raisedAt} ms later`;
    if (rules.length === 1) this.#judgeStamp(computer, raisedAt);
    const isTight = rules.some(({ missedAllowed, graceMs }) => missedAllowed === 0 && graceMs < NETWORK_SLACK_MS);
    return isTight ? undefined : this.#healthOf(subject, contact.intervalMs * (contact.isDialled ? 2 : 1), now);
  }

  /** The stamp is the deadline, not the instant at which somebody looked. */
  #judgeStamp(computer: ComputerTruth, raisedAt: number): void {
    const latest = this.#latestRaise(computer, this.deafness.deafness());
    if (latest !== undefined && raisedAt > latest + ROUNDING_MS)
      this.#deps.violations.add('other', `${computer.computerId}: stamped ${raisedAt - latest} ms late`);
  }

  /** Whoever runs, with nothing in between, is in contact: an alert is false whatever the arithmetic says. */
  #healthOf(computerId: string, longestMs: number, now: number): string | undefined {
    const since = this.#deps.healthySince(computerId);
    const enough = longestMs + 2 * ATTEMPT_MS;
    return since !== undefined && now - since > enough ? `nothing stood in its way for ${now - since} ms` : undefined;
  }

  #judgeStanding({ type, subject, raisedAt }: OpenAlert): void {
    const seen = this.#computers.get(subject)?.lastSeenAt;
    if (type === 'computer-offline' && seen !== undefined && seen > raisedAt)
      this.#deps.violations.add('other', `${subject}: offline since ${raisedAt} although seen at ${seen}`);
  }

  /** Looks for silences that should have been noticed by now. */
  lookForMissed(): void {
    const now = this.#deps.fleet();
    const deafness = this.deafness.deafness();
    for (const computer of this.#computers.values()) {
      const { computerId, lastSeenAt = 0 } = computer;
      if (this.#open.has(`computer-offline ${computerId}`) || this.#missed.get(computerId) === lastSeenAt) continue;
      const latest = this.#latestNotice(computer, deafness);
      if (latest === undefined || now <= latest) continue;
      this.#missed.set(computerId, lastSeenAt);
      this.#alertsExpected += 1;
      this.#deps.violations.add('missed-alert', `${computerId}, seen at ${lastSeenAt}, was due by ${latest}`);
    }
  }

  /** At the end, when all has been well for long enough: everyone is in contact. */
  lookForLost(): void {
    const now = this.#deps.fleet();
    for (const computer of this.#computers.values()) {
      const contact = computer.slowest();
      const since = this.#deps.healthySince(computer.computerId);
      if (!contact || since === undefined) continue;
      const longestMs = 2 * contact.intervalMs + 2 * ATTEMPT_MS;
      if (now - since > longestMs && now - contact.lastSeenAt > longestMs)
        this.#deps.violations.add('other', `${computer.computerId} has not come back since ${contact.lastSeenAt}`);
    }
  }

  #latestNotice(computer: ComputerTruth, deafness: Deafness): number | undefined {
    const due = this.#latestRaise(computer, deafness);
    if (due === undefined || !Number.isFinite(due)) return undefined;
    return quietAfter(due, 2 * this.#deps.tickMs + 8000, deafness.possible);
  }

  /** The instant that the alert is about, at the latest. */
  #latestRaise(computer: ComputerTruth, { possible }: Deafness): number | undefined {
    const contact = computer.slowest();
    const { place } = computer.circumstances;
    const present = place && this.#rules.present(place.policyId);
    if (!contact || !place || !present) return undefined;
    const excusedUntil = computer.circumstances.excusedUntil(contact.lastSeenAt);
    const bySilence = latestOffline(contact, present.rules, joined(possible));
    return Math.max(bySilence, present.from, place.from, excusedUntil);
  }
}

const ATTEMPT_MS = 10_000;
/** Without so much grace a single heartbeat may be late by the network's own doing. */
const NETWORK_SLACK_MS = 1000;
