import type { Clock } from '../lib/clock.js';
import type { Log } from '../lib/log.js';
import type { Random } from '../lib/random.js';
import type { GoodbyeReason } from '../protocol/heartbeat-messages.js';
import { FAILURES_UNTIL_REBUILD, GOODBYE_LIMIT_MS, reactionTo, retryDelayMs } from './beat-rules.js';
import { sleepUnlessAborted, withDeadline } from './deadline.js';
import { isLostIdentity } from './enrollment-rules.js';
import type { Directions } from './directions.js';
import type { ExchangeLock } from './exchange-lock.js';
import type { Exchanger, ExchangeOutcome } from './exchange.js';
import { LoopWatch, StoodStill } from './loop-watch.js';
import type { StateStore } from './state-store.js';
import type { HeldTransport } from './transport/held-transport.js';
import type { ManagerTransport } from './transport/manager-transport.js';
import type { Route } from './transport/route-rules.js';
import type { ManagerConnection, WayTaken } from './transport/tls-connection.js';
import { ManagerRefusal, toTransportError, TransportError } from './transport/transport-error.js';

export type ContactState = 'starting' | 'online' | 'retrying' | 'refused' | 'stopped';

export interface LoopDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly exchanger: Exchanger;
  readonly state: StateStore;
  readonly transport: Pick<ManagerTransport, 'rebuild'> & Partial<Pick<HeldTransport, 'review'>>;
  readonly directions: Directions;
  readonly lock: ExchangeLock;
  readonly bootId: string;
  readonly intervalSeconds: () => number;
  /** Something came up during an exchange that it did not tell. */
  readonly hasNews: () => boolean;
  readonly onStateChange?: ((state: ContactState) => void) | undefined;
  /** Whoever waits for signs of the loop's life; the loop gives one at least every `longestSleepMs`, exchanges aside. */
  readonly watch?: LoopWatch | undefined;
  readonly longestSleepMs?: number | undefined;
  /** What became of each exchange: the code of its failure, and how long it took. */
  readonly onExchange?: ((failure: string | undefined, milliseconds: number) => void) | undefined;
  /** Runs an attempt when others that share the processor have let it. */
  readonly inTurn?: ((attempt: () => Promise<void>) => Promise<void>) | undefined;
}

const LONGEST_SLEEP_MS = 30_000;
const SHORTEST_PAUSE_MS = 1000;
const PAUSE_BETWEEN_WAKES_MS = 100;

/**
 * Begins exchanges when they are due, or answers those that the manager begins, one at a time, and never gives up. Who
 * dials is up to the directions.
 */
export class HeartbeatLoop {
  readonly #deps: LoopDeps;
  readonly #stop = new AbortController();
  #wakeUp = new AbortController();
  #running: Promise<void> | undefined;
  #leaving = false;
  #contact: ContactState = 'starting';
  #failures = 0;
  #lastStartBoot = Number.NEGATIVE_INFINITY;
  #nextBoot = 0;
  /** An exchange is to begin at or after this instant, whatever the one in flight is told. */
  #askedBoot = Number.POSITIVE_INFINITY;
  readonly #begun: (() => void)[] = [];
  readonly #watch: LoopWatch;
  /** The last exchange over whatever carrier, the last own attempt, or the start. */
  #quietSinceBoot = 0;

  constructor(deps: LoopDeps) {
    this.#deps = deps;
    this.#watch = deps.watch ?? new LoopWatch(deps);
  }

  get contact(): ContactState {
    return this.#contact === 'online' && this.#isOverdue() ? 'retrying' : this.#contact;
  }

  /** The manager was to dial and has not done so for an interval. */
  #isOverdue(): boolean {
    const { clock, directions, intervalSeconds } = this.#deps;
    return !directions.dialsByItself && clock.boot() > this.#nextBoot + intervalSeconds() * 1000;
  }

  /** The wall time of the next attempt, Unix milliseconds. */
  get nextContactAt(): number {
    const { clock } = this.#deps;
    return clock.wall() + Math.max(0, Math.min(this.#nextBoot, this.#askedBoot) - clock.boot());
  }

  start(): void {
    const { clock, state, bootId } = this.#deps;
    this.#nextBoot = clock.boot();
    const { anchor } = state.progress;
    this.#quietSinceBoot = anchor?.bootId === bootId ? Math.min(anchor.boot, this.#nextBoot) : this.#nextBoot;
    this.#running ??= this.#run(this.#stop.signal);
  }

  /** Who dials is another now. */
  replan(): void {
    this.#wakeUp.abort();
  }

  /** Something must be told now, if this agent may dial. */
  wake(): void {
    this.#askFrom(this.#lastStartBoot + SHORTEST_PAUSE_MS);
  }

  /** The manager asks for an exchange; resolves once one has begun after this call. */
  answerWake(): Promise<void> {
    const begun = new Promise<void>((resolve) => this.#begun.push(resolve));
    this.#askFrom(this.#lastStartBoot + PAUSE_BETWEEN_WAKES_MS);
    return begun;
  }

  /** An exchange is due within so many milliseconds, if this agent may dial. */
  hasten(milliseconds: number): void {
    this.#askFrom(this.#deps.clock.boot() + milliseconds);
  }

  #askFrom(boot: number): void {
    this.#askedBoot = Math.min(this.#askedBoot, Math.max(this.#deps.clock.boot(), boot));
    this.#wakeUp.abort();
  }

  /** Runs one exchange over a route that is not in force, after the one in flight; throws what it came to. */
  async tryOut(over: Route): Promise<WayTaken> {
    const taken = await this.#deps.lock.run(async () => {
      if (this.#leaving) throw new TransportError('unknown', 'The agent is stopping');
      const { nextContactBoot, way } = await this.#guarded((signal) => this.#deps.exchanger.run({ signal, over }));
      this.#succeeded(nextContactBoot);
      return way;
    });
    this.replan();
    return taken;
  }

  /** Runs an exchange over a connection of the manager's; undefined where another one is in flight. */
  answer(connection: ManagerConnection): Promise<void> | undefined {
    const isEnding = this.#leaving || this.#stop.signal.aborted;
    const release = isEnding ? undefined : this.#deps.lock.tryAcquire();
    return release && this.#answer(connection).finally(release);
  }

  async #answer(connection: ManagerConnection): Promise<void> {
    this.#noteBegin();
    try {
      const { nextContactBoot } = await this.#guarded((signal) => this.#deps.exchanger.answer(connection, { signal }));
      this.#succeeded(nextContactBoot);
      this.#deps.transport.review?.();
      this.replan();
    } catch (error) {
      if (error instanceof ManagerRefusal) await this.#noteRefusal(error);
      throw error;
    }
  }

  /** Says goodbye in bounded time, after the exchange in flight; then no more exchanges. */
  async leave(reason: GoodbyeReason): Promise<void> {
    const { clock, log } = this.#deps;
    let farewell: Promise<unknown> = Promise.resolve();
    try {
      if (!this.#deps.directions.dialsByItself) throw new NotDialling();
      await withDeadline({ clock, milliseconds: GOODBYE_LIMIT_MS }, (signal) => {
        farewell = this.#sayGoodbye(reason, signal);
        return farewell;
      });
      log.info({ reason }, 'Said goodbye to the manager');
    } catch (error) {
      if (error instanceof NotDialling) log.info('Left without goodbye: the manager dials');
      else log.warn({ code: codeOf(error) }, 'Left without goodbye');
    }
    this.#leaving = true;
    this.#stop.abort();
    this.#wakeUp.abort();
    await Promise.allSettled([farewell, this.#running]);
    this.#setContact('stopped');
  }

  async #sayGoodbye(reason: GoodbyeReason, signal: AbortSignal): Promise<void> {
    await this.#finish();
    signal.throwIfAborted();
    const { lock, exchanger } = this.#deps;
    await lock.run(async () => {
      signal.throwIfAborted();
      await exchanger.run({ signal, goodbye: reason });
    });
  }

  /** Stops at once, as if the process had been killed. */
  async abort(): Promise<void> {
    this.#stop.abort();
    this.#wakeUp.abort();
    await this.#running;
    this.#setContact('stopped');
  }

  /** Lets the exchange in flight end; begins no other. */
  async #finish(): Promise<void> {
    this.#leaving = true;
    this.#wakeUp.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#leaving) {
      await this.#waitUntilDue();
      const { inTurn } = this.#deps;
      await (inTurn ? inTurn(() => this.#attemptIfDue(signal)) : this.#attemptIfDue(signal));
    }
  }

  /** After an exchange that was in flight it may be due no longer. */
  #attemptIfDue(signal: AbortSignal): Promise<void> {
    return this.#deps.lock.run(async () => {
      await this.#deps.directions.settle();
      if (!signal.aborted && !this.#leaving && this.#left() <= 0) await this.#attempt(signal);
    });
  }

  /** Slices: timers do not count suspend, the boot clock does. */
  async #waitUntilDue(): Promise<void> {
    const { clock, longestSleepMs = LONGEST_SLEEP_MS } = this.#deps;
    while (!this.#stop.signal.aborted && !this.#leaving) {
      if (this.#wakeUp.signal.aborted) this.#wakeUp = new AbortController();
      this.#watch.mark();
      const left = this.#left();
      if (left <= 0) return;
      await sleepUnlessAborted(clock, Math.min(left, longestSleepMs), this.#wakeUp.signal);
    }
  }

  /** Milliseconds until the next own attempt. */
  #left(): number {
    const { clock, directions, intervalSeconds } = this.#deps;
    const facts = {
      orderedBoot: Math.min(this.#nextBoot, this.#askedBoot),
      lastDialBoot: this.#lastStartBoot,
      quietSinceBoot: this.#quietSinceBoot,
      intervalMs: intervalSeconds() * 1000,
    };
    return directions.nextDialBoot(facts) - clock.boot();
  }

  /** What was asked for before is what this exchange brings; what is asked for later is not. */
  #noteBegin(): void {
    if (this.#askedBoot <= this.#deps.clock.boot()) this.#askedBoot = Number.POSITIVE_INFINITY;
    for (const resolve of this.#begun.splice(0)) resolve();
  }

  #succeeded(nextContactBoot: number): void {
    this.#failures = 0;
    this.#nextBoot = nextContactBoot;
    this.#quietSinceBoot = this.#deps.clock.boot();
    this.#setContact('online');
    if (this.#deps.hasNews()) this.wake();
  }

  /** Everything that is kept is dropped where an exchange stands still: whatever holds it is of no use any more. */
  async #guarded<O extends ExchangeOutcome>(exchange: (signal: AbortSignal) => Promise<O>): Promise<O> {
    const { clock, log, transport, onExchange } = this.#deps;
    const begun = clock.monotonic();
    this.#watch.mark();
    try {
      const outcome = await this.#watch.guard(this.#stop.signal, exchange);
      onExchange?.(undefined, clock.monotonic() - begun);
      return outcome;
    } catch (error) {
      if (!this.#stop.signal.aborted) onExchange?.(codeOf(error), clock.monotonic() - begun);
      if (error instanceof StoodStill) {
        log.error({ err: error }, 'An exchange stood still: the transport is made anew');
        transport.rebuild();
      }
      throw error;
    } finally {
      this.#watch.mark();
    }
  }

  async #attempt(signal: AbortSignal): Promise<void> {
    const { clock, exchanger } = this.#deps;
    this.#lastStartBoot = clock.boot();
    this.#quietSinceBoot = this.#lastStartBoot;
    this.#noteBegin();
    try {
      const { nextContactBoot } = await this.#guarded((bounded) => exchanger.run({ signal: bounded }));
      this.#succeeded(nextContactBoot);
    } catch (error) {
      if (signal.aborted) return;
      await this.#afterFailure(error);
    }
  }

  async #afterFailure(error: unknown): Promise<void> {
    const { clock, random, log, transport, intervalSeconds } = this.#deps;
    this.#failures += 1;
    const failure = error instanceof ManagerRefusal ? error : toTransportError(error);
    if (failure instanceof TransportError && failure.code === 'unknown')
      log.error({ err: error }, 'An exchange failed for an unexpected reason');
    const isRefused = failure instanceof ManagerRefusal;
    const reaction = isRefused ? reactionTo(failure.code, { carriesEvents: false }) : 'repeat';
    const delayMs = retryDelayMs(
      {
        failures: this.#failures,
        intervalSeconds: intervalSeconds(),
        retryAfterMs: isRefused ? failure.facts.retryAfterMs : undefined,
        reaction,
      },
      random,
    );
    this.#nextBoot = clock.boot() + delayMs;
    // Nothing is asked of a manager that is not there: the next attempt brings it.
    this.#askedBoot = Number.POSITIVE_INFINITY;
    log.warn({ code: failure.code, detail: failure.message, failures: this.#failures, delayMs }, 'No contact');
    await this.#note(failure);
    this.#setContact(reaction === 'try-slowly' ? 'refused' : 'retrying');
    if (this.#failures % FAILURES_UNTIL_REBUILD === 0) transport.rebuild();
  }

  /** The manager dialled and refused the report: no reason to dial it. */
  async #noteRefusal(refusal: ManagerRefusal): Promise<void> {
    const isUnwanted = reactionTo(refusal.code, { carriesEvents: false }) === 'try-slowly';
    this.#deps.log.warn({ code: refusal.code, detail: refusal.message }, 'The manager refused a report');
    await this.#note(refusal);
    if (isUnwanted) this.#setContact('refused');
  }

  async #note(failure: ManagerRefusal | TransportError): Promise<void> {
    const { clock, state, log } = this.#deps;
    const at = Math.round(clock.wall());
    const code = failure.code.slice(0, 64);
    const isLost = failure instanceof ManagerRefusal && isLostIdentity(code);
    try {
      await state.note({
        lastError: { code, at, detail: failure.message.slice(0, 1024) },
        nextContactAt: this.nextContactAt,
        ...(isLost ? { refusal: { code, at } } : {}),
      });
    } catch (error) {
      log.warn({ err: error }, 'The last error cannot be stored');
    }
  }

  #setContact(contact: ContactState): void {
    if (this.#contact === contact) return;
    this.#contact = contact;
    this.#deps.log.info({ contact }, 'Contact changed');
    this.#deps.onStateChange?.(contact);
  }
}

/** This agent waits to be dialled. */
class NotDialling extends Error {}

function codeOf(error: unknown): string {
  return error instanceof ManagerRefusal ? error.code : toTransportError(error).code;
}
