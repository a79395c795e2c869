import type { Log } from '../../lib/log.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { DeafConditions } from './listening.js';
import type { SelfDialTarget } from './self-dial.js';
import type { SelfDialler } from './self-dialler.js';

export interface PortWatchDeps {
  readonly dialler: Pick<SelfDialler, 'dial'>;
  readonly ledger: DeafConditions;
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'monotonic'>;
  readonly log: Log;
}

/** The open agent port. */
export interface WatchedPort extends SelfDialTarget {
  /** How many handshakes it has completed so far. */
  handshakes(): number;
}

/** Looks from outside the event loop whether the agent port takes connections. */
export interface PortWatch {
  open(port: WatchedPort): void;
  /** Undefined until `open`. */
  port(): SelfDialTarget | undefined;
  /** One look; to be called every few seconds. Without an open port it does nothing. */
  look(signal: AbortSignal): Promise<void>;
  /** A handshake has been waiting for too long, and none was completed meanwhile. */
  isInDoubt(): boolean;
}

/** Shorter than an agent's whole attempt. */
const TIMEOUT_MS = 5000;
const DOUBTFUL_AFTER_MS = 1500;

interface Look {
  readonly begunAt: FleetInstant;
  readonly begunMonotonic: number;
  readonly handshakes: number;
}

export function createPortWatch(deps: PortWatchDeps): PortWatch {
  return new Watch(deps);
}

class Watch implements PortWatch {
  readonly #deps: PortWatchDeps;
  #port: WatchedPort | undefined;
  #look: Look | undefined;
  /** The beginning of the last look that was answered. */
  #answeredAt: FleetInstant = 0;
  #isClosed = false;

  constructor(deps: PortWatchDeps) {
    this.#deps = deps;
  }

  open(port: WatchedPort): void {
    this.#port = port;
    this.#answeredAt = this.#deps.fleetClock.fleet();
  }

  port(): SelfDialTarget | undefined {
    return this.#port && { host: this.#port.host, port: this.#port.port };
  }

  isInDoubt(): boolean {
    const look = this.#look;
    if (!look || this.#isAnswered(look)) return false;
    return this.#deps.fleetClock.monotonic() - look.begunMonotonic > DOUBTFUL_AFTER_MS;
  }

  async look(signal: AbortSignal): Promise<void> {
    // One that tells nothing of now leaves the last answer long ago: what comes next would be dated by it.
    if ((await this.#lookOnce(signal)) === 'stale') await this.#lookOnce(signal);
  }

  async #lookOnce(signal: AbortSignal): Promise<'stale' | undefined> {
    const port = this.#port;
    if (!port || signal.aborted) return undefined;
    const { fleetClock, dialler } = this.#deps;
    const look = {
      begunAt: fleetClock.fleet(),
      begunMonotonic: fleetClock.monotonic(),
      handshakes: port.handshakes(),
    };
    this.#look = look;
    const report = await unlessAborted(signal, dialler.dial({ host: port.host, port: port.port }, TIMEOUT_MS));
    this.#look = undefined;
    if (!report) return undefined;
    const isAnswered = report.fault === null || this.#isAnswered(look);
    if (isAnswered) this.#answered(look);
    else if (!report.isVoid) {
      this.#unanswered(report.fault);
      return undefined;
    }
    return fleetClock.fleet() - look.begunAt > DOUBTFUL_AFTER_MS ? 'stale' : undefined;
  }

  /** Whoever else got through at the same time proves as much. */
  #isAnswered({ handshakes }: Look): boolean {
    return (this.#port?.handshakes() ?? 0) > handshakes;
  }

  #answered({ begunAt }: Look): void {
    if (this.#isClosed) this.#deps.log.info('the agent port takes connections again');
    this.#isClosed = false;
    this.#answeredAt = begunAt;
    this.#deps.ledger.endDeaf('not-accepting');
  }

  #unanswered(fault: string): void {
    if (!this.#isClosed) this.#deps.log.error({ fault }, 'the agent port takes no connections');
    this.#isClosed = true;
    this.#deps.ledger.beginDeaf('not-accepting', this.#answeredAt);
  }
}

async function unlessAborted<T>(signal: AbortSignal, answer: Promise<T>): Promise<T | undefined> {
  const { promise: aborted, resolve } = withResolvers();
  signal.addEventListener('abort', resolve, { once: true });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    signal.removeEventListener('abort', resolve);
  }
}

function withResolvers(): { readonly promise: Promise<undefined>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<undefined>((done) => {
    resolve = () => done(undefined);
  });
  return { promise, resolve };
}
