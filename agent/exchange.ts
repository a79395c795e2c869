import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import type { Random } from '../lib/random.js';
import { readBy } from '../lib/schema.js';
import {
  LANES,
  MAX_EVENTS_PER_REPORT,
  ordersSchema,
  type GoodbyeReason,
  type Orders,
} from '../protocol/heartbeat-messages.js';
import { AGENT_PATHS } from '../protocol/protocol-version.js';
import type { RenewalRequest } from '../protocol/renewal-messages.js';
import type { Settings } from './apply-settings.js';
import {
  ATTEMPT_LIMIT_MS,
  clockAheadMs,
  MAX_REPORTS_PER_EXCHANGE,
  nextContactAt,
  nextContactWithBacklog,
  reactionTo,
  sequenceAfterOlder,
} from './beat-rules.js';
import type { CommandExchange } from './commands/command-runner.js';
import { withDeadline } from './deadline.js';
import type { Directions } from './directions.js';
import type { Firewall } from './firewall/firewall.js';
import type { InventoryLedger } from './inventory/inventory-ledger.js';
import type { Observer } from './observer.js';
import type { IncomingEvent } from './spool/event-intake.js';
import type { Renewal } from './renewal.js';
import type { Credentials } from './renewal-file.js';
import { buildReport, carriedCount, EVENT_BYTES_PER_REPORT, type Incarnation } from './report-builder.js';
import type { CarriedRange, ReadBatch, Spool } from './spool/spool.js';
import type { Progress, StateStore, UnansweredReport } from './state-store.js';
import type { Carrier } from './direction-rules.js';
import type { HeldTransport } from './transport/held-transport.js';
import type { Route } from './transport/route-rules.js';
import type { ManagerConnection, WayTaken } from './transport/tls-connection.js';
import { ManagerRefusal, TransportError } from './transport/transport-error.js';

export interface ExchangeDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly incarnation: Incarnation;
  readonly state: StateStore;
  readonly spool: Spool;
  readonly settings: Settings;
  readonly directions: Directions;
  readonly firewall: { readonly report: () => ReturnType<Firewall['report']> | undefined };
  readonly transport: Pick<HeldTransport, 'connect'>;
  readonly observer: Observer;
  readonly commands: CommandExchange;
  readonly renewal: Pick<Renewal, 'current' | 'isWanted' | 'request' | 'answered' | 'failed'>;
  /** Where an inventory is gathered. */
  readonly inventory?: InventoryLedger | undefined;
  /** Told whenever an exchange gets on. */
  readonly onProgress?: () => void;
}

export interface ExchangeOutcome {
  /** When the next attempt begins, by the boot clock. */
  readonly nextContactBoot: number;
}

export interface ExchangeOptions {
  readonly signal: AbortSignal;
  /** To be tried out: neither in force nor a candidate of the settings. */
  readonly over?: Route | undefined;
  readonly goodbye?: GoodbyeReason;
}

/** What orders came by. */
interface Following {
  readonly connection: ManagerConnection;
  readonly goodbye: GoodbyeReason | undefined;
  readonly signal: AbortSignal;
  /** What the connection was opened with. */
  readonly used: Credentials;
}

/** One report on its way. */
interface Round {
  readonly report: UnansweredReport;
  /** Whether it was stored before this exchange: then a fresh one follows. */
  readonly isOld: boolean;
  readonly isGoodbye: boolean;
}

const REDUCED_REPORTS = 10;
/** How long an exchange stays for the results of commands that it brought. */
const RESULTS_WAIT_MS = 1000;
/** How long, once a file was sent that a command waited for. */
const PUMPED_WAIT_MS = 100;

/** Runs exchanges, one at a time (the loop's lock): reports until nothing is left to say, over one connection. */
export class Exchanger {
  readonly #deps: ExchangeDeps;
  #maxEvents = MAX_EVENTS_PER_REPORT;
  #fullReport = false;
  #reducedReports = 0;
  #olderAnswers = 0;
  /** The manager refuses some that the disk does not let us give up. */
  #isWithoutEvents = false;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
  }

  /** Throws `TransportError` or `ManagerRefusal`; an unanswered report stays stored and is sent first next time. */
  async run(options: ExchangeOptions): Promise<ExchangeOutcome & { readonly way: WayTaken }> {
    const { renewal, observer } = this.#deps;
    await observer.observe();
    const used = renewal.current;
    try {
      return await this.#runOnce(options, used);
    } catch (error) {
      if (options.signal.aborted || !(await renewal.failed(error, used, options.signal))) throw error;
    }
    // With another certificate than the one that was refused.
    return this.#runOnce(options, renewal.current);
  }

  async #runOnce(options: ExchangeOptions, used: Credentials): Promise<ExchangeOutcome & { readonly way: WayTaken }> {
    const { clock, transport } = this.#deps;
    const startBoot = clock.boot();
    const end = clock.monotonic() + ATTEMPT_LIMIT_MS;
    const { signal, goodbye, over } = options;
    const isLast = goodbye !== undefined;
    const connection = await transport.connect(end - clock.monotonic(), signal, { isLast, over });
    try {
      const outcome = await this.#converse(connection, { ...options, startBoot, end, used });
      return { ...outcome, way: { proxy: connection.proxy, warning: connection.warning } };
    } finally {
      connection.close();
    }
  }

  /** The same over a connection that the manager opened. */
  async answer(connection: ManagerConnection, { signal }: Pick<ExchangeOptions, 'signal'>): Promise<ExchangeOutcome> {
    const { clock, observer, renewal } = this.#deps;
    const startBoot = clock.boot();
    const end = clock.monotonic() + ATTEMPT_LIMIT_MS;
    const used = renewal.current;
    await observer.observe();
    return this.#converse(connection, { signal, startBoot, end, used });
  }

  /** The next report tells everything, whatever the manager knows. */
  tellAll(): void {
    this.#fullReport = true;
    this.#deps.inventory?.forget();
  }

  async #converse(
    connection: ManagerConnection,
    { signal, goodbye, startBoot, end, used }: ExchangeOptions & { startBoot: number; end: number; used: Credentials },
  ): Promise<ExchangeOutcome> {
    const { clock } = this.#deps;
    let attempt = { startBoot, end };
    let nextContactBoot = startBoot + this.#deps.settings.values.heartbeatIntervalSeconds * 1000;
    for (let reports = 1; ; reports += 1) {
      // Whoever gave this exchange up has begun another.
      signal.throwIfAborted();
      this.#deps.onProgress?.();
      const round = await this.#nextRound(goodbye, connection);
      signal.throwIfAborted();
      const orders = await this.#send(connection, round, { signal, end: attempt.end });
      this.#deps.onProgress?.();
      if (orders) nextContactBoot = nextContactAt(attempt.startBoot, orders.nextContactInMs);
      const again = orders ? await this.#follow(orders, round, { connection, goodbye, signal, used }) : true;
      if (!again) return { nextContactBoot };
      if (reports >= MAX_REPORTS_PER_EXCHANGE)
        return { nextContactBoot: nextContactWithBacklog(nextContactBoot, clock.boot()) };
      attempt = { startBoot: clock.boot(), end: clock.monotonic() + ATTEMPT_LIMIT_MS };
    }
  }

  async #nextRound(goodbye: GoodbyeReason | undefined, connection: ManagerConnection): Promise<Round> {
    const { state } = this.#deps;
    if (state.unanswered) return { report: state.unanswered, isOld: true, isGoodbye: false };
    const report = await this.#buildAndKeep(goodbye, proxyTold(connection, state.progress));
    return { report, isOld: false, isGoodbye: goodbye !== undefined };
  }

  /** A disk that fails never costs the heartbeat: what can be read still goes, in a report that is not stored. */
  async #buildAndKeep(goodbye: GoodbyeReason | undefined, proxy: string | undefined): Promise<UnansweredReport> {
    const { state, spool, log, observer } = this.#deps;
    const renewal = await this.#deps.renewal.request();
    const report = this.#build(await this.#readEvents(), { goodbye, proxy, renewal });
    let isStored = true;
    try {
      await state.keepUnanswered(report);
    } catch (error) {
      log.warn({ err: error }, 'A report cannot be stored: it goes once, and is made anew if nobody answers');
      observer.spoolFailed(error);
      isStored = false;
    }
    spool.carry(report.ranges, { isStored });
    return report;
  }

  async #readEvents(): Promise<readonly ReadBatch[]> {
    const { spool, log, observer } = this.#deps;
    this.#isWithoutEvents &&= spool.failure !== undefined;
    if (this.#isWithoutEvents) return [];
    try {
      return await spool.read({ maxEvents: this.#maxEvents, maxBytes: EVENT_BYTES_PER_REPORT });
    } catch (error) {
      log.warn({ err: error }, 'The spool cannot be read: this report goes without events');
      observer.spoolFailed(error);
      return [];
    }
  }

  #build(
    batches: readonly ReadBatch[],
    more: {
      readonly goodbye: GoodbyeReason | undefined;
      readonly proxy: string | undefined;
      readonly renewal?: RenewalRequest | undefined;
    },
  ): UnansweredReport {
    const { clock, random, incarnation, state, spool, settings, directions } = this.#deps;
    const { firewall, observer, commands, inventory } = this.#deps;
    const reduced = this.#reducedReports > 0;
    if (reduced) this.#reducedReports -= 1;
    inventory?.look(observer.snapshot.inventory);
    return buildReport({
      incarnation,
      reportId: random.uuid(),
      sequence: state.progress.sequence + 1,
      wall: clock.wall(),
      boot: clock.boot(),
      progress: state.progress,
      applied: settings.applied,
      settings: settings.values,
      directions: directions.report(),
      snapshot: observer.snapshot,
      agentParts: observer.agentParts,
      batches,
      spool: spool.report(),
      full: this.#fullReport,
      reduced,
      ...more,
      ...(reduced ? { renewal: undefined } : {}),
      tellings: commands.tellings,
      inventory: inventory?.next({ reduced }),
      isCollecting: state.stoppedCollection === undefined,
      firewall: firewall.report(),
    });
  }

  /** Undefined where the manager refused the report for its content and it was given up. */
  async #send(
    connection: ManagerConnection,
    round: Round,
    { signal, end }: { signal: AbortSignal; end: number },
  ): Promise<Orders | undefined> {
    const { clock } = this.#deps;
    const sentAt = clock.wall();
    try {
      const answer = await withDeadline(
        { clock, milliseconds: Math.max(0, end - clock.monotonic()), signal },
        (bounded) => connection.post(AGENT_PATHS.heartbeat, round.report.body, bounded),
      );
      const orders = this.#readOrders(answer, round.report);
      await this.#settle(orders, round, { sentAt, connection });
      return orders;
    } catch (error) {
      if (!(error instanceof ManagerRefusal)) throw error;
      return this.#afterRefusal(error, round.report);
    }
  }

  #readOrders(answer: unknown, report: UnansweredReport): Orders {
    let orders: Orders;
    try {
      orders = readBy(ordersSchema, answer);
    } catch (error) {
      throw new TransportError('protocol', 'The manager answered no orders', error);
    }
    if (orders.reportId !== report.reportId || orders.computerId !== this.#deps.incarnation.computerId)
      throw new TransportError('protocol', 'The orders answer another report');
    return orders;
  }

  async #afterRefusal(refusal: ManagerRefusal, report: UnansweredReport): Promise<undefined> {
    const { state, spool, log } = this.#deps;
    const reaction = reactionTo(refusal.code, { carriesEvents: carriedCount(report) > 0 });
    if (reaction === 'repeat' || reaction === 'try-slowly') throw refusal;
    log.warn({ code: refusal.code, detail: refusal.message, reaction }, 'The manager refused a report');
    if (reaction === 'give-up-events')
      await this.#despiteDisk(async () => {
        this.#isWithoutEvents = true;
        await spool.giveUp(blamedRanges(refusal, report), refusal.code);
        this.#isWithoutEvents = false;
      });
    await this.#despiteDisk(() => spool.settle(report.ranges));
    await this.#despiteDisk(() => state.settle({}));
    if (reaction === 'give-up-events') return undefined;
    this.#reducedReports = REDUCED_REPORTS;
    throw refusal;
  }

  async #settle(
    orders: Orders,
    { report }: Round,
    { sentAt, connection }: { sentAt: number; connection: ManagerConnection },
  ): Promise<void> {
    const { clock, state, spool, incarnation } = this.#deps;
    const { managerUrl, warning } = connection;
    const before = state.progress;
    const receivedAt = clock.wall();
    const { managerReceivedAt, managerSentAt } = orders;
    const progress: Partial<Progress> = {
      previousExchange: { sequence: report.sequence, sentAt: Math.round(sentAt), receivedAt: Math.round(receivedAt) },
      identityToken: orders.identityToken,
      ...(report.factsDigest === null ? {} : { acknowledgedFacts: report.factsDigest }),
      ...this.#heldInventory(report, orders),
      ...toldPort(report, orders),
      lastExchangeAt: receivedAt,
      nextContactAt: receivedAt + orders.nextContactInMs,
      clockOffsetMs: clockAheadMs({ sentAt, managerReceivedAt, managerSentAt, receivedAt }),
      ...(managerUrl === undefined ? {} : { managerUrl, proxy: connection.proxy ?? null }),
      anchor: { bootId: incarnation.bootId, boot: clock.boot(), managerWall: managerSentAt },
      lastError: warning ? { code: warning.code, at: receivedAt, detail: warning.message } : null,
      refusal: null,
      ...this.#nextSequence(orders),
    };
    for (const { lane, epoch, position } of orders.acknowledged)
      await this.#despiteDisk(() => spool.acknowledge(lane, epoch, position));
    await this.#despiteDisk(() => spool.settle(report.ranges));
    const { tells } = report;
    if (tells && orders.effect !== 'older') await this.#despiteDisk(() => this.#deps.commands.told(tells));
    await this.#despiteDisk(() => state.settle(progress));
    const event = proxyChange(before, connection);
    if (event) await this.#despiteDisk(() => spool.append('control', event));
  }

  #heldInventory({ hasInventory = false }: UnansweredReport, { inventory: told }: Orders): Partial<Progress> {
    const heldInventory = this.#deps.inventory?.answered(hasInventory, told);
    return heldInventory ? { heldInventory } : {};
  }

  /** The manager has the report already: a disk that fails now costs a repeat, not the heartbeat. */
  async #despiteDisk(action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'The state after an exchange cannot be stored');
      this.#deps.observer.spoolFailed(error);
    }
  }

  /** Our database was lost or set back: go on beyond what the manager has seen. */
  #nextSequence(orders: Orders): Partial<Progress> {
    if (orders.effect !== 'older') {
      this.#olderAnswers = 0;
      return {};
    }
    this.#olderAnswers += 1;
    return { sequence: sequenceAfterOlder(this.#deps.state.progress.sequence, this.#olderAnswers) };
  }

  /** Carries the orders out; whether another report belongs to this exchange. */
  async #follow(orders: Orders, round: Round, { connection, goodbye, signal, used }: Following): Promise<boolean> {
    await this.#deps.renewal.answered(orders, used);
    if (goodbye !== undefined) return !round.isGoodbye;
    this.#maxEvents = orders.eventQuota.maxEventsPerReport;
    this.#deps.spool.setEventRate(orders.eventQuota.ratePerMinute);
    const isChanged = await this.#followSettings(orders, connection.carrier);
    const hasResults = await this.#followCommands(orders, connection, signal);
    const wantsFacts = orders.fullReport && round.report.factsDigest === null;
    this.#fullReport = wantsFacts;
    if (isChanged && this.#deps.directions.needsAnotherDial(connection.carrier)) return false;
    return hasResults || isChanged || wantsFacts || this.#hasMore(orders, round);
  }

  /** Whether a further report is due, whatever these orders changed. */
  #hasMore(orders: Orders, round: Round): boolean {
    return orders.effect === 'older' || this.#isToAsk(round) || this.#isStale(round) || this.#drainsOn(orders, round);
  }

  /** A renewal came due that this report did not ask for. */
  #isToAsk({ report }: Round): boolean {
    return this.#deps.renewal.isWanted && !report.asksRenewal && this.#reducedReports === 0;
  }

  /** Keeps the commands, and stays a moment for their results; whether a further report tells something of them. */
  async #followCommands(
    { commands, managerSentAt }: Orders,
    connection: ManagerConnection,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { commands: runner } = this.#deps;
    if (commands.length > 0) {
      await this.#despiteDisk(() => runner.take(commands, managerSentAt));
      await runner.quiet(RESULTS_WAIT_MS, signal);
    }
    if (connection.carrier.kind === 'listener') {
      await runner.pump(connection, signal);
      await runner.quiet(PUMPED_WAIT_MS, signal);
    }
    return runner.tellings.length > 0 && this.#reducedReports === 0;
  }

  /** Whether other settings are in force or being proven now. */
  async #followSettings(orders: Orders, carrier: Carrier): Promise<boolean> {
    const { directions } = this.#deps;
    const before = directions.mark();
    await this.#despiteDisk(() => directions.follow(orders, carrier));
    return directions.mark() !== before;
  }

  /** A backlog goes on while the manager takes it: positions that did not move mean that it sheds, or that we cannot read. */
  #drainsOn({ eventQuota, acknowledged }: Orders, { report }: Round): boolean {
    if (this.#deps.inventory?.drainsOn) return true;
    if (!eventQuota.drain || eventQuota.maxEventsPerReport === 0) return false;
    return acknowledgesSome(acknowledged, report) && this.#deps.spool.hasBacklog();
  }

  /** A report that waited says how things were: a fresh one follows. */
  #isStale({ isOld, report }: Round): boolean {
    const { incarnation, clock, settings, directions } = this.#deps;
    if (!isOld) return false;
    // It may not tell of the candidate that this exchange is to prove.
    if (directions.ways.candidate) return true;
    if (report.instanceId !== incarnation.instanceId || report.bootId !== incarnation.bootId) return true;
    return clock.boot() - report.builtAtBoot > (settings.values.heartbeatIntervalSeconds * 1000) / 2;
  }
}

/** The ranges of the lanes that the refusal names; all of them where it names none that carried events. */
function blamedRanges({ facts }: ManagerRefusal, { ranges }: UnansweredReport): readonly CarriedRange[] {
  // A report lists its lanes in the order of LANES.
  const blamed = LANES.filter((_lane, index) =>
    facts.pointers?.some((pointer) => pointer.startsWith(`#/lanes/${index}/events/`)),
  );
  const named = ranges.filter(({ lane }) => blamed.includes(lane));
  return named.length > 0 ? named : ranges;
}

/** What is older than what the manager knows it does not store. */
function toldPort({ listenerPort }: UnansweredReport, { effect }: Orders): Partial<Progress> {
  return listenerPort === undefined || effect === 'older' ? {} : { toldListenerPort: listenerPort };
}

/** Of a connection that the manager opened what the agent's own last one went through. */
function proxyTold({ managerUrl, proxy }: ManagerConnection, progress: Progress): string | undefined {
  return managerUrl === undefined ? (progress.proxy ?? undefined) : proxy;
}

/** Told once: what the agent's own connections go through is another than before. */
function proxyChange(before: Progress, { managerUrl, proxy, warning }: ManagerConnection): IncomingEvent | undefined {
  const from = before.proxy ?? null;
  const to = proxy ?? null;
  if (managerUrl === undefined || from === to) return undefined;
  // Where the former way failed in an attempt of its own, that is the last error.
  const failure = warning ? { code: warning.code, detail: warning.message } : before.lastError;
  return {
    kind: 'proxy-changed',
    severity: to === null ? 'medium' : 'info',
    message: `The manager is reached ${throughText(to)} now, and was ${throughText(from)}`,
    data: { from, to, ...(failure ? { code: failure.code, detail: failure.detail } : {}) },
  };
}

function throughText(proxy: string | null): string {
  return proxy === null ? 'without a proxy' : `through ${proxy}`;
}

function acknowledgesSome(acknowledged: Orders['acknowledged'], { ranges }: UnansweredReport): boolean {
  return ranges.some(({ lane, epoch, from }) =>
    acknowledged.some((a) => a.lane === lane && a.epoch === epoch && a.position >= from),
  );
}
