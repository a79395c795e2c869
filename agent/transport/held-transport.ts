import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import { CHANNEL_CLOSE } from '../../protocol/channel-messages.js';
import type { ComponentReport } from '../../protocol/heartbeat-messages.js';
import {
  afterLiving,
  afterLoss,
  afterOpening,
  afterRefusal,
  afterSilence,
  isSwallowed,
  mayOpen,
  NO_TROUBLE,
  SHORT_LIFE_MS,
  type ChannelTrouble,
} from '../channel-rules.js';
import { ATTEMPT_LIMIT_MS } from '../beat-rules.js';
import { DeadlinePassed, sleepUnlessAborted, withDeadline } from '../deadline.js';
import { upgradeToChannel, type AgentChannel, type ChannelEnds } from './agent-channel.js';
import type { ManagerTransport, Routes } from './manager-transport.js';
import { routeKey, type Route } from './route-rules.js';
import { SecondWay, type OpenWay } from './second-way.js';
import type { ManagerConnection } from './tls-connection.js';
import { ManagerRefusal, toTransportError } from './transport-error.js';

/** What of the settings in force decides about channels. */
export interface ChannelSettings {
  readonly connectionMode: 'held' | 'perHeartbeat';
  readonly heartbeatIntervalSeconds: number;
  readonly pingIntervalSeconds: number;
  readonly pongTimeoutSeconds: number;
}

export interface HeldTransportDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly https: Pick<ManagerTransport, 'connect' | 'open' | 'rebuild'>;
  readonly settings: () => ChannelSettings;
  readonly routes: () => Routes;
  /** Whether this agent opens connections at all. */
  readonly dialsByItself: () => boolean;
  /** The manager asks for an exchange: resolves once one has begun. */
  readonly onWake: () => Promise<void>;
  /** An exchange is due in so many milliseconds, so that a channel is opened with it. */
  readonly onLost: (returnInMs: number) => void;
}

/** `open`; `closed` while HTTPS delivers; `fallback`: upgrades fail, and are tried anew hourly; `off`: none is wanted. */
export interface ChannelStatus {
  readonly state: 'open' | 'closed' | 'fallback' | 'off';
  /** Unix milliseconds; of a state that began. */
  readonly since: number | null;
  readonly detail: string | null;
}

export interface ConnectOptions {
  /** A goodbye opens no channel that would be closed at once. */
  readonly isLast?: boolean;
  /** A route that is neither in force nor a candidate: one exchange over it, by HTTPS. */
  readonly over?: Route | undefined;
}

const CHANNEL_PART = { name: 'channel', kind: 'agentPart', state: 'unknown' } as const;
const LONGEST_UPGRADE_MS = 4000;
/** A whole policy may want channels all at once. */
const NEWLY_WANTED_SPREAD_MS = 5000;

/**
 * Keeps a channel to the manager while the settings want one, and delivers by HTTPS whenever there is none. A channel is
 * opened by the exchange that first uses it; what makes none live is remembered by agent/channel-rules.ts.
 */
export class HeldTransport {
  readonly #deps: HeldTransportDeps;
  #channel: AgentChannel | undefined;
  #trouble: ChannelTrouble = NO_TROUBLE;
  /** Of the present channel or the last one; wall time. */
  #changedAt: number | null = null;
  /** When the present channel was opened, monotonic milliseconds. */
  #openedAt = 0;
  #lastEnd: string | null = null;
  /** When an exchange was asked for that opens one. */
  #askedBoot = Number.NEGATIVE_INFINITY;
  #isEnding = false;
  /** Of the attempt that goes on by HTTPS. */
  #unanswered: { readonly error: DeadlinePassed; readonly waitedMs: number } | undefined;
  /** The channel, or the upgrade that is under way, showed credentials that are not those of now. */
  #isOutdated = false;
  readonly #secondWay: SecondWay;

  constructor(deps: HeldTransportDeps) {
    this.#deps = deps;
    this.#secondWay = new SecondWay(deps.clock);
  }

  /** A connection for the reports of one exchange; `close` leaves a channel open. */
  async connect(
    milliseconds: number,
    signal: AbortSignal,
    { isLast = false, over }: ConnectOptions = {},
  ): Promise<ManagerConnection> {
    const { clock } = this.#deps;
    const end = clock.monotonic() + milliseconds;
    this.#unanswered = undefined;
    this.review();
    if (over) return this.#byHttps(milliseconds, signal, { over });
    if (this.#channel?.isStale) this.#channel.destroy();
    // Once it is proven nothing goes the former way any more.
    if (this.#isRouteUnproven()) return this.#byHttps(milliseconds, signal, { onClose: () => this.review() });
    const channel = this.#usable() ?? (isLast ? undefined : await this.#openIfWanted(milliseconds, signal));
    if (channel) return this.#over(channel);
    const onClose = (): void => this.#askAgain();
    return this.#byHttps(Math.max(0, end - clock.monotonic()), signal, { onClose });
  }

  #byHttps(
    milliseconds: number,
    signal: AbortSignal,
    { over, onClose }: { readonly over?: Route; readonly onClose?: () => void } = {},
  ): Promise<ManagerConnection> {
    const { clock, https } = this.#deps;
    const open: OpenWay = async (left, limit) => {
      const begunAt = clock.monotonic();
      return this.#judging(await https.connect(left, limit, over), begunAt);
    };
    return this.#secondWay.connect({ open, onClose }, milliseconds, signal);
  }

  /** Drops everything that is kept: after repeated failures nothing of it is trusted. */
  rebuild(): void {
    this.#channel?.destroy();
    this.#deps.https.rebuild();
  }

  /** Shows other credentials from the next connection on; a channel that showed others ends with its exchange. */
  renew(): void {
    this.#deps.https.rebuild();
    this.#isOutdated = true;
  }

  /** Ends a channel that the settings in force do not want, or lead another way, or that showed other credentials. */
  review(): void {
    const channel = this.#channel;
    if (!this.#isWanted()) channel?.close(CHANNEL_CLOSE.done, 'not wanted');
    else if (channel && this.#isOutdated) channel.close(CHANNEL_CLOSE.done, 'another certificate');
    else if (channel && channel.route !== routeKey(this.#deps.routes().inForce))
      channel.close(CHANNEL_CLOSE.done, 'another route');
  }

  /** Only a connection of its own can prove another route. */
  #isRouteUnproven(): boolean {
    const { inForce, candidate } = this.#deps.routes();
    return candidate !== undefined && routeKey(candidate) !== routeKey(inForce);
  }

  /** No channel any more. */
  end(): void {
    this.#isEnding = true;
    this.#channel?.close(CHANNEL_CLOSE.done, 'goodbye');
  }

  /** For the report, while none can be held where one is wanted. */
  get part(): ComponentReport | undefined {
    const { fallback } = this.#trouble;
    if (!fallback || !this.#isWanted() || this.#usable()) return undefined;
    const detail = `no channel can be held, each heartbeat opens a connection: ${fallback.detail}; tried hourly`;
    return { ...CHANNEL_PART, detail: detail.slice(0, 1024) };
  }

  get status(): ChannelStatus {
    if (this.#usable()) return { state: 'open', since: this.#changedAt, detail: null };
    if (!this.#isWanted()) return { state: 'off', since: null, detail: null };
    const { fallback } = this.#trouble;
    if (!fallback) return { state: 'closed', since: this.#changedAt, detail: this.#lastEnd };
    const { clock } = this.#deps;
    return { state: 'fallback', since: clock.wall() - (clock.boot() - fallback.sinceBoot), detail: fallback.detail };
  }

  async #openIfWanted(milliseconds: number, signal: AbortSignal): Promise<AgentChannel | undefined> {
    const isOpenable = this.#isWanted() && mayOpen(this.#trouble, this.#deps.clock.boot());
    return isOpenable ? this.#open(milliseconds, signal) : undefined;
  }

  /** The exchange that ends now may have brought settings that want one, and the next heartbeat may be a day away. */
  #askAgain(): void {
    const { clock, random } = this.#deps;
    if (!this.#isWanted() || this.#usable()) return;
    const nowBoot = clock.boot();
    if (mayOpen(this.#trouble, nowBoot)) this.#ask(NEWLY_WANTED_SPREAD_MS * random.fraction());
    // This one may have been asked for in its place.
    else if (this.#askedBoot > nowBoot) this.#ask(this.#askedBoot - nowBoot);
  }

  #ask(milliseconds: number): void {
    const { clock, onLost } = this.#deps;
    this.#askedBoot = clock.boot() + milliseconds;
    onLost(milliseconds);
  }

  #isWanted(): boolean {
    const { settings, dialsByItself } = this.#deps;
    return !this.#isEnding && settings().connectionMode === 'held' && dialsByItself();
  }

  #usable(): AgentChannel | undefined {
    return this.#channel?.isOpen ? this.#channel : undefined;
  }

  /** Undefined where the manager was reached and no channel came about. Throws `TransportError` where it was not. */
  async #open(milliseconds: number, signal: AbortSignal): Promise<AgentChannel | undefined> {
    const { clock, https } = this.#deps;
    const begunAt = clock.monotonic();
    this.#isOutdated = false;
    const verified = await https.open(milliseconds, signal);
    const openedAt = clock.monotonic();
    const left = Math.max(0, begunAt + milliseconds - openedAt);
    const limit = { clock, milliseconds: Math.min(left / 2, LONGEST_UPGRADE_MS), signal };
    try {
      const channel = await withDeadline(limit, (bounded) =>
        upgradeToChannel(
          verified,
          {
            ...this.#deps,
            rhythm: this.#deps.settings,
            onEnd: (ended) => this.#ended(channel, ended),
          },
          bounded,
        ),
      );
      this.#opened(channel);
      return channel;
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof DeadlinePassed) this.#unheard(error, clock.monotonic() - openedAt);
      else this.#refused(error);
      return undefined;
    }
  }

  #opened(channel: AgentChannel): void {
    const { log } = this.#deps;
    const { fallback } = this.#trouble;
    this.#channel = channel;
    this.#openedAt = this.#deps.clock.monotonic();
    this.#changed(null);
    this.#trouble = afterOpening(this.#trouble);
    void this.#watchLife(channel);
    if (fallback) log.info({ managerUrl: channel.managerUrl }, 'A channel is open again');
    else log.debug({ managerUrl: channel.managerUrl }, 'A channel is open');
  }

  #unheard(error: DeadlinePassed, waitedMs: number): void {
    const { clock, random } = this.#deps;
    const nowBoot = clock.boot();
    this.#unanswered = { error, waitedMs };
    this.#trouble = afterSilence(this.#trouble, { nowBoot, chance: random.fraction() });
    this.#changed(error.message);
    this.#ask(this.#trouble.notBeforeBoot - nowBoot);
  }

  /** The report that goes by HTTPS in its place tells what an upgrade meant that had no answer. */
  #judging(connection: ManagerConnection, begunAt: number): ManagerConnection {
    const { clock } = this.#deps;
    return {
      ...connection,
      post: async (path, body, signal) => {
        const unanswered = this.#unanswered;
        this.#unanswered = undefined;
        const answer = await connection.post(path, body, signal);
        const httpsMs = clock.monotonic() - begunAt;
        if (unanswered && isSwallowed({ ...unanswered, httpsMs })) this.#refused(unanswered.error);
        return answer;
      },
    };
  }

  #refused(error: unknown): void {
    const { clock, random, log } = this.#deps;
    const failure = error instanceof ManagerRefusal ? error : toTransportError(error);
    const isKnown = this.#trouble.fallback !== undefined;
    const detail = `${failure.code}: ${failure.message}`.slice(0, 512);
    const retryAfterMs = failure instanceof ManagerRefusal ? failure.facts.retryAfterMs : undefined;
    const nowBoot = clock.boot();
    this.#trouble = afterRefusal(this.#trouble, { nowBoot, detail, retryAfterMs, chance: random.fraction() });
    this.#changed(detail);
    const facts = { code: failure.code, detail: failure.message };
    if (!this.#trouble.fallback) {
      log.debug(facts, 'No channel came about: HTTPS delivers');
      this.#ask(this.#trouble.notBeforeBoot - nowBoot);
    } else if (!isKnown) log.warn(facts, 'No channel can be held: each heartbeat opens a connection of its own');
  }

  /** A channel that has lived for a while proves that nothing in between is against it. */
  async #watchLife(channel: AgentChannel): Promise<void> {
    await sleepUnlessAborted(this.#deps.clock, SHORT_LIFE_MS, channel.ended);
    if (this.#channel === channel && channel.isOpen) this.#trouble = afterLiving(this.#trouble);
  }

  #ended(channel: AgentChannel, { code, reason }: ChannelEnds): void {
    if (this.#channel !== channel) return;
    const { clock, random, settings, log } = this.#deps;
    const livedMs = clock.monotonic() - this.#openedAt;
    this.#channel = undefined;
    this.#changed(`ended with ${code}${reason === '' ? '' : `: ${reason}`}`.slice(0, 512));
    if (!this.#isWanted()) return;
    const intervalMs = settings().heartbeatIntervalSeconds * 1000;
    const lost = { nowBoot: clock.boot(), livedMs, code, reason, intervalMs, chance: random.fraction() };
    const { trouble, returnInMs } = afterLoss(this.#trouble, lost);
    if (trouble.fallback && !this.#trouble.fallback)
      log.warn(
        { detail: trouble.fallback.detail },
        'No channel can be held: each heartbeat opens a connection of its own',
      );
    this.#trouble = trouble;
    log.debug({ code, reason, returnInMs }, 'The channel ended: HTTPS delivers');
    if (returnInMs !== undefined) this.#ask(returnInMs);
  }

  #changed(end: string | null): void {
    this.#changedAt = this.#deps.clock.wall();
    this.#lastEnd = end;
  }

  /** Where the channel fails under a report, the same bytes go over HTTPS within the same attempt. */
  #over(channel: AgentChannel): ManagerConnection {
    const { clock } = this.#deps;
    let fallen: ManagerConnection | undefined;
    let isClosed = false;
    return {
      get managerUrl() {
        return fallen ? fallen.managerUrl : channel.managerUrl;
      },
      get proxy() {
        return fallen ? fallen.proxy : channel.proxy;
      },
      get carrier() {
        return fallen ? fallen.carrier : { kind: 'dial' as const, route: channel.route };
      },
      get warning() {
        return fallen ? fallen.warning : channel.warning;
      },
      post: async (path, body, signal) => {
        const end = clock.monotonic() + ATTEMPT_LIMIT_MS;
        if (!fallen) {
          try {
            return await channel.exchange(body, signal);
          } catch (error) {
            if (error instanceof ManagerRefusal || signal.aborted) throw error;
          }
        }
        fallen ??= await this.#byHttps(Math.max(0, end - clock.monotonic()), signal);
        if (isClosed) fallen.close();
        return fallen.post(path, body, signal);
      },
      close: () => {
        isClosed = true;
        fallen?.close();
        this.review();
      },
    };
  }
}
