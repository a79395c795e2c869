import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../../lib/deadline.js';
import { ATTEMPT_LIMIT_MS } from '../beat-rules.js';
import { DeadlinePassed } from '../deadline.js';
import type { Carrier } from '../direction-rules.js';
import type { ManagerConnection } from './tls-connection.js';
import { ManagerRefusal, toTransportError, TransportError } from './transport-error.js';

/** Opens a connection within so many milliseconds: the way that failed last comes last. */
export type OpenWay = (milliseconds: number, signal: AbortSignal) => Promise<ManagerConnection>;

export interface Opening {
  readonly open: OpenWay;
  readonly onClose?: (() => void) | undefined;
}

/** Of the time left in its attempt a report waits so much for its answer through a proxy, where there is another way. */
const FIRST_SHARE = 0.5;

/**
 * Opens connections for reports: where a proxy fails under one, the same bytes go another way, once within the same attempt.
 * Of a silent proxy nobody knows whether it is dead or the line is slow: after a report that no way answered, the next one
 * has the whole time of its attempt for one way.
 */
export class SecondWay {
  readonly #clock: Clock;
  #isPatient = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Throws what `open` does. The milliseconds are those of the attempt that the first report belongs to. */
  async connect(opening: Opening, milliseconds: number, signal: AbortSignal): Promise<ManagerConnection> {
    const end = this.#clock.monotonic() + milliseconds;
    const first = await opening.open(milliseconds, signal);
    return new ReportConnection(first, { ...opening, clock: this.#clock, end, patience: this });
  }

  /** Whether the next report is to wait for as long as it may. */
  takePatience(): boolean {
    const isPatient = this.#isPatient;
    this.#isPatient = false;
    return isPatient;
  }

  noWayAnswered(): void {
    this.#isPatient = true;
  }
}

interface Ways extends Opening {
  readonly clock: Clock;
  /** When the first report's attempt is over, monotonic milliseconds. */
  readonly end: number;
  readonly patience: SecondWay;
}

class ReportConnection implements ManagerConnection {
  readonly #ways: Ways;
  #current: ManagerConnection;
  #end: number | undefined;
  #isClosed = false;

  constructor(first: ManagerConnection, ways: Ways) {
    this.#current = first;
    this.#ways = ways;
    this.#end = ways.end;
  }

  get managerUrl(): string | undefined {
    return this.#current.managerUrl;
  }

  get proxy(): string | undefined {
    return this.#current.proxy;
  }

  get carrier(): Carrier {
    return this.#current.carrier;
  }

  get warning(): TransportError | undefined {
    return this.#current.warning;
  }

  async post(path: string, body: string, signal: AbortSignal): Promise<unknown> {
    const { clock, patience } = this.#ways;
    const end = this.#end ?? clock.monotonic() + ATTEMPT_LIMIT_MS;
    this.#end = undefined;
    if (patience.takePatience() || !this.#current.hasAnotherWay) return this.#current.post(path, body, signal);
    const milliseconds = Math.max(0, end - clock.monotonic()) * FIRST_SHARE;
    const limit = { clock, milliseconds, signal, reason: () => new DeadlinePassed(milliseconds) };
    try {
      return await withDeadline(limit, (bounded) => this.#current.post(path, body, bounded));
    } catch (error) {
      if (error instanceof ManagerRefusal || signal.aborted) throw error;
      return this.#again(path, body, { signal, end, failure: toTransportError(error) });
    }
  }

  async #again(
    path: string,
    body: string,
    { signal, end, failure }: { signal: AbortSignal; end: number; failure: TransportError },
  ): Promise<unknown> {
    const { clock, open, patience } = this.#ways;
    try {
      await this.#reopen(() => open(Math.max(0, end - clock.monotonic()), signal), failure);
      return await this.#current.post(path, body, signal);
    } catch (error) {
      if (!(error instanceof ManagerRefusal)) patience.noWayAnswered();
      throw error;
    }
  }

  async #reopen(open: () => Promise<ManagerConnection>, { code, message }: TransportError): Promise<void> {
    const { proxy } = this.#current;
    this.#current.close();
    const next = await open();
    const why = new TransportError(code, `proxy ${proxy}: ${message}`.slice(0, 1024));
    this.#current = { ...next, warning: next.warning ?? why };
    if (this.#isClosed) this.#current.close();
  }

  close(): void {
    this.#isClosed = true;
    this.#current.close();
    this.#ways.onClose?.();
  }
}
