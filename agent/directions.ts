import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import type { SettingValues } from '../policies/setting-values.js';
import { LISTENER_PART } from '../protocol/component-parts.js';
import type { CandidateReport, ComponentReport, ListenerReport, Orders } from '../protocol/heartbeat-messages.js';
import type { SettingsOrder } from '../protocol/heartbeat-messages.js';
import { withoutCandidateKeys, type CheckedSettings, type Settings } from './apply-settings.js';
import { sleepUnlessAborted } from './deadline.js';
import {
  commitCandidate,
  dialsByItself,
  forgetExpired,
  forgetReverted,
  isListenerUntold,
  listenerWishes,
  listens,
  missCandidate,
  needsAnotherDial,
  nextChangeBoot,
  nextDialBoot,
  offerWay,
  reroute,
  revertCandidate,
  wayOf,
  type Candidate,
  type Carrier,
  type DialFacts,
  type RevertReason,
  type Way,
  type Ways,
} from './direction-rules.js';
import type { ExchangeLock } from './exchange-lock.js';
import type { Firewall, FirewallWish } from './firewall/firewall.js';
import type { ListenerSet, ListenerState } from './listener/listener-set.js';
import type { DirectionReport } from './report-builder.js';
import type { IncomingEvent } from './spool/event-intake.js';
import type { Spool } from './spool/spool.js';
import type { StateStore } from './state-store.js';
import type { Routes } from './transport/manager-transport.js';
import { routeOf, type LocalProxies, type Route } from './transport/route-rules.js';
import type { TransportError } from './transport/transport-error.js';

export interface DirectionsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly bootId: string;
  readonly state: StateStore;
  readonly spool: Spool;
  readonly settings: Settings;
  readonly listeners: ListenerSet;
  readonly lock: ExchangeLock;
  readonly firewall: Pick<Firewall, 'apply' | 'failure'>;
  /** Instead of the settings' one. */
  readonly listenerPort: number | undefined;
  /** What an operator at the computer set instead of the policy's proxies. */
  readonly localProxies: () => LocalProxies | undefined;
  /** Why a route could not be proven so far. */
  readonly failureOver: (route: Route) => TransportError | undefined;
  /** Who dials, or where to listen, is another now. */
  readonly onChange: () => void;
  /** The manager is to hear of something now. */
  readonly onNews: () => void;
}

/** Timers do not count suspend: the boot clock is looked at this often while something has a deadline. */
const LONGEST_SLEEP_MS = 5000;
const EXCHANGE_PAUSE_MS = 200;

/** Who dials whom: carries out what agent/direction-rules.ts decides, durably, and opens the ports that belong to it. */
export class Directions {
  readonly #deps: DirectionsDeps;
  #ways: Ways;
  #candidate: CheckedSettings | undefined;
  /** The failure of the listener in force that was told last. */
  #toldFailure: string | undefined;
  #changed = new AbortController();

  constructor(deps: DirectionsDeps) {
    this.#deps = deps;
    this.#ways = { inForce: this.#wayOf(deps.settings.values) };
  }

  #wayOf(values: SettingValues): Way {
    const { listenerPort, localProxies } = this.#deps;
    return wayOf(values, { listenerPort, route: routeOf(values, localProxies()) });
  }

  /** What connections of the agent's own go over. */
  get routes(): Routes {
    const { inForce, candidate } = this.#ways;
    return { inForce: inForce.route, ...(candidate?.proof === 'dial' ? { candidate: candidate.way.route } : {}) };
  }

  /** What the firewall is to be: the rules that are being proven are in force meanwhile. */
  get firewallWish(): FirewallWish {
    const { settings, listeners } = this.#deps;
    const { reverted } = this.#ways;
    const wishes = listenerWishes(this.#ways).map(({ port, sources }) => {
      const state = listeners.stateOf(port);
      const isAnybody = sources.some(({ length }) => length === 0);
      return { port: state?.state === 'listening' ? state.port : port, sources: isAnybody ? [] : sources.flat() };
    });
    return {
      rules: this.#candidate || settings.applied ? (this.#candidate ?? settings).values.firewallRules : undefined,
      listeners: wishes.filter(({ port }) => port > 0),
      routes: this.routes,
      reverted: reverted?.reason === 'firewall-failed' ? reverted.detail : undefined,
    };
  }

  /** The mark of the rules under which a connection is opened now. */
  get firewallMark(): string | undefined {
    return (this.#ways.candidate?.way ?? this.#ways.inForce).route.firewall;
  }

  /** The operator's own list changed. */
  rerouted(): void {
    const { settings, localProxies } = this.#deps;
    const local = localProxies();
    const candidate = this.#candidate && routeOf(this.#candidate.values, local);
    this.#setWays(reroute(this.#ways, { inForce: routeOf(settings.values, local), candidate }));
    void this.#deps.firewall.apply();
  }

  /** Whether what is to be proven needs a connection of its own, over another route than this one. */
  needsAnotherDial(carrier: Carrier): boolean {
    return needsAnotherDial(this.#ways, carrier);
  }

  get ways(): Ways {
    return this.#ways;
  }

  get dialsByItself(): boolean {
    return dialsByItself(this.#ways);
  }

  nextDialBoot(facts: Omit<DialFacts, 'isListenerUntold'>): number {
    return nextDialBoot(this.#ways, { ...facts, isListenerUntold: this.#isListenerUntold });
  }

  get #isListenerUntold(): boolean {
    const { inForce } = this.#ways;
    return isListenerUntold(inForce, {
      openPort: this.#stateOf(inForce) && (this.listener.port ?? null),
      toldPort: this.#deps.state.progress.toldListenerPort,
      settingPort: this.#deps.settings.values.listenerPort,
    });
  }

  /** Changes whenever a report would tell of other settings. */
  mark(): string {
    const { candidate, reverted } = this.#ways;
    return [this.#deps.settings.applied?.fingerprint, candidate?.fingerprint, reverted?.fingerprint].join(' ');
  }

  /** Opens the ports. `first` are the settings of an enrollment after which no exchange has come about yet. */
  async start(first: SettingsOrder | undefined): Promise<void> {
    const { state, log } = this.#deps;
    const unproven = state.candidate;
    if (unproven) {
      log.info(
        { fingerprint: unproven.fingerprint },
        'Settings that were being proven are forgotten: the old way goes on',
      );
      await this.#despiteDisk(() => state.forgetCandidate());
    }
    if (first) await this.#despiteDisk(() => this.#offer(first, { isFirst: true }));
    await this.#listen();
  }

  /** Carries out what orders say of settings. */
  async follow(orders: Orders, carrier: Carrier): Promise<void> {
    if (this.needsAnotherDial(carrier)) this.#ways = missCandidate(this.#ways, this.#deps.clock.boot());
    else if (orders.committed !== undefined) await this.#commit(orders.committed, carrier);
    const { retryCandidate } = orders;
    if (retryCandidate !== undefined) this.#ways = forgetReverted(this.#ways, retryCandidate);
    if (orders.settings) await this.#offer(orders.settings, { isFirst: false });
    else await this.#deps.settings.confirm(orders.settingsGeneration);
  }

  async #offer(order: SettingsOrder, { isFirst }: { readonly isFirst: boolean }): Promise<void> {
    const { clock, settings } = this.#deps;
    const checked = await settings.examine(order);
    if (!checked) return;
    const way = this.#wayOf(checked.values);
    const { kind, ways } = offerWay(forgetExpired(this.#ways, clock.boot()), {
      fingerprint: order.fingerprint,
      way,
      nowBoot: clock.boot(),
      intervalMs: this.#intervalMs(checked),
      // A port that only this computer knows has to be told first: nobody would dial it.
      ...(isFirst ? { holdsDials: way.listenerPort === checked.values.listenerPort } : {}),
    });
    if (kind === 'ignored') return;
    if (kind === 'at-once') await this.#putInForce(checked, { ways, isFirst });
    else await this.#prove(checked, ways);
  }

  async #putInForce(checked: CheckedSettings, { ways, isFirst }: { ways: Ways; isFirst: boolean }): Promise<void> {
    const from = this.#ways.inForce;
    await this.#deps.settings.adopt(checked);
    this.#candidate = undefined;
    // Nothing was open yet that could go on.
    this.#setWays(isFirst ? { inForce: ways.inForce } : ways);
    await this.#tellDirection(from);
    if (!isFirst) await this.#listen();
  }

  async #prove(checked: CheckedSettings, ways: Ways): Promise<void> {
    const { settings, bootId, log } = this.#deps;
    const { candidate } = ways;
    if (!candidate) return;
    const { document } = checked;
    const { deadlineBoot, proof, way } = candidate;
    await settings.adopt(withoutCandidateKeys(checked, settings.values), { ...document, bootId, deadlineBoot });
    this.#candidate = checked;
    this.#setWays(ways);
    log.info({ fingerprint: document.fingerprint, direction: way.direction, proof }, 'New settings are being proven');
    await this.#listen();
    const { failure } = this.#deps.firewall;
    if (failure !== undefined) return this.#revert('firewall-failed', failure);
    const state = this.#stateOf(way);
    if (proof === 'listener' && state?.state === 'failed') await this.#revert('listener-failed', state.detail);
  }

  async #commit(fingerprint: string, carrier: Carrier): Promise<void> {
    const { clock, log } = this.#deps;
    const checked = this.#candidate;
    if (!checked || this.#ways.candidate?.fingerprint !== fingerprint) return;
    const intervalMs = this.#intervalMs(checked);
    const ways = commitCandidate(this.#ways, { fingerprint, carrier, nowBoot: clock.boot(), intervalMs });
    if (ways) return this.#putInForce(checked, { ways, isFirst: false });
    log.warn({ fingerprint, carrier: carrier.kind }, 'The manager committed settings over a way that proves nothing');
  }

  /** Reverts candidates at their deadline, closes what lingers, until the signal is aborted. */
  async watch(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted) {
      if (this.#changed.signal.aborted) this.#changed = new AbortController();
      const left = nextChangeBoot(this.#ways) - clock.boot();
      const wake = AbortSignal.any([signal, this.#changed.signal]);
      if (left > 0)
        await sleepUnlessAborted(clock, left === Infinity ? FOREVER_MS : Math.min(left, LONGEST_SLEEP_MS), wake);
      else await this.#despiteDisk(() => this.#timePassed(signal));
    }
  }

  /** Under the lock: an exchange in flight may prove the candidate yet. */
  async #timePassed(signal: AbortSignal): Promise<void> {
    const { clock, lock } = this.#deps;
    const release = lock.tryAcquire();
    if (!release) return sleepUnlessAborted(clock, EXCHANGE_PAUSE_MS, signal);
    try {
      await this.settle();
    } finally {
      release();
    }
  }

  /** Does what time has brought about; whoever calls holds the lock. */
  async settle(): Promise<void> {
    const { candidate } = this.#ways;
    const nowBoot = this.#deps.clock.boot();
    if (nowBoot < nextChangeBoot(this.#ways)) return;
    if (candidate && nowBoot >= candidate.deadlineBoot) await this.#revertLate(candidate);
    this.#setWays(forgetExpired(this.#ways, nowBoot));
    await this.#listen();
  }

  async #revertLate({ proof, way }: Candidate): Promise<void> {
    if (proof === 'listener') return this.#revert('not-dialled', DEADLINE_DETAIL);
    const failure = this.#deps.failureOver(way.route);
    const why = failure ? `: ${failure.code}: ${failure.message}` : '';
    await this.#revert('manager-not-reached', `${DEADLINE_DETAIL}${why}`);
  }

  async #revert(reason: RevertReason, detail: string): Promise<void> {
    const { clock, state, log } = this.#deps;
    const { candidate } = this.#ways;
    if (!candidate) return;
    const { fingerprint, way } = candidate;
    this.#candidate = undefined;
    this.#setWays(revertCandidate(this.#ways, { reason, detail }, clock.boot()));
    log.warn({ fingerprint, direction: way.direction, reason, detail }, 'Settings were reverted');
    await this.#despiteDisk(() => state.forgetCandidate());
    await this.#tell({
      kind: 'settings-reverted',
      severity: 'high',
      message: `Settings were reverted: ${REVERT_TEXTS[reason]}`,
      data: { fingerprint, direction: way.direction, listenerPort: way.listenerPort, reason, detail },
    });
    await this.#listen();
    this.#deps.onNews();
  }

  /** Opens and closes ports as the ways want it now, and lets the firewall know. */
  async #listen(): Promise<void> {
    await this.#deps.listeners.want(listenerWishes(this.#ways));
    await this.#deps.firewall.apply();
    await this.listenersChanged();
  }

  /** Tells of a listener in force that cannot be opened: once, until it can, or cannot for another reason. */
  async listenersChanged(): Promise<void> {
    if (this.#isListenerUntold) this.#deps.onNews();
    const { inForce } = this.#ways;
    const state = listens(inForce) ? this.#stateOf(inForce) : undefined;
    const failure = state?.state === 'failed' ? state.detail : undefined;
    if (failure === this.#toldFailure) return;
    this.#toldFailure = failure;
    if (failure === undefined) return;
    const isNeeded = inForce.direction === 'managerInitiated';
    this.#deps.log.info({ detail: failure, direction: inForce.direction }, 'The listener cannot be opened');
    await this.#tell({
      kind: 'listener-failed',
      severity: isNeeded ? 'high' : 'info',
      message: `The listener cannot be opened: ${failure}`,
      data: { direction: inForce.direction, port: inForce.listenerPort },
    });
  }

  report(): DirectionReport {
    const candidate = this.#candidateReport();
    return {
      direction: this.#ways.inForce.direction,
      listener: this.listener,
      ...(candidate ? { candidate } : {}),
    };
  }

  /** The first port that is open, of the way in force, of the one before or of the candidate. */
  get listener(): ListenerReport {
    const { inForce, lingering, candidate } = this.#ways;
    const states = [inForce, lingering?.way, candidate?.way]
      .filter((way) => way !== undefined && listens(way))
      .map((way) => this.#stateOf(way as Way));
    const open = states.find((state) => state?.state === 'listening');
    const failed = listens(inForce) ? states[0] : undefined;
    return open ?? (failed?.state === 'failed' ? { state: 'failed', detail: failed.detail.slice(0, 1024) } : CLOSED);
  }

  /** The agent's part `listener`, where the settings in force want one. */
  get part(): ComponentReport | undefined {
    const { inForce } = this.#ways;
    if (!listens(inForce)) return undefined;
    const state = this.#stateOf(inForce);
    if (!state) return { ...LISTENER_PART, state: 'unknown', detail: 'not opened yet' };
    if (state.state === 'listening') return { ...LISTENER_PART, state: 'online' };
    return { ...LISTENER_PART, state: 'offline', detail: state.detail.slice(0, 1024) };
  }

  #candidateReport(): CandidateReport | undefined {
    const { candidate, reverted } = this.#ways;
    if (candidate) return this.#provingReport(candidate);
    if (!reverted || this.#deps.clock.boot() >= reverted.untilBoot) return undefined;
    const { fingerprint, direction, reason, detail } = reverted;
    return { fingerprint, direction, state: 'reverted', reason, detail: detail.slice(0, 1024) };
  }

  #provingReport({ fingerprint, way }: Candidate): CandidateReport {
    const state = this.#stateOf(way);
    const port = listens(way) && state?.state === 'listening' ? { port: state.port } : {};
    return { fingerprint, direction: way.direction, state: 'proving', ...port };
  }

  #stateOf({ listenerPort }: Way): ListenerState | undefined {
    return this.#deps.listeners.stateOf(listenerPort);
  }

  #intervalMs({ values }: CheckedSettings): number {
    return Math.max(values.heartbeatIntervalSeconds, this.#deps.settings.values.heartbeatIntervalSeconds) * 1000;
  }

  #setWays(ways: Ways): void {
    this.#ways = ways;
    this.#changed.abort();
    this.#deps.onChange();
  }

  async #tellDirection(from: Way): Promise<void> {
    const { direction } = this.#ways.inForce;
    if (direction === from.direction) return;
    await this.#tell({
      kind: 'direction-changed',
      severity: 'info',
      message: `Who opens connections was changed from ${from.direction} to ${direction}`,
      data: { from: from.direction, to: direction },
    });
  }

  #tell(event: IncomingEvent): Promise<void> {
    return this.#despiteDisk(() => this.#deps.spool.append('control', event));
  }

  /** A disk that fails must not change who dials. */
  async #despiteDisk(action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'A change of direction cannot be stored');
    }
  }
}

const FOREVER_MS = 86_400_000;
const CLOSED = { state: 'closed' } as const;
const DEADLINE_DETAIL = 'no exchange over the new way was stored within two minutes';
const REVERT_TEXTS: Readonly<Record<RevertReason, string>> = {
  'listener-failed': 'the listener cannot be opened',
  'not-dialled': 'the manager did not reach the listener',
  'manager-not-reached': 'the manager was not reached',
  'firewall-failed': 'the rules of the firewall could not be loaded',
};
