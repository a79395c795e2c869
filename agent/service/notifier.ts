import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { runChild } from '../collectors/run-child.js';
import { withDeadline } from '../deadline.js';

/** What systemd told of itself when it started this process (sd_notify(3), sd_watchdog_enabled(3)). */
export interface ServiceManager {
  readonly notifySocket: string;
  /** Within this time a sign of life is due; undefined: none is. */
  readonly watchdogMs: number | undefined;
  /** Where `systemd-notify` is looked for. */
  readonly searchPath: string;
}

export interface ServiceNotifierDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly manager: ServiceManager;
}

const CALL_MS = 10_000;
const MAX_OUTPUT = 4096;
const LONGEST_STATUS = 200;
/** Signs of life are given so many times within the watchdog's time. */
const SIGNS_PER_WATCHDOG = 4;

/**
 * Tells systemd how the agent does. Node.js has no Unix datagram sockets, so that `systemd-notify` is called, one call
 * after the other (docs/adr/0007-systemd-notify.md). A call that fails is logged once, and ends nothing.
 */
export class ServiceNotifier {
  readonly #deps: ServiceNotifierDeps;
  #calls: Promise<void> = Promise.resolve();
  #isReady = false;
  #hasFailed = false;
  #signAt = Number.NEGATIVE_INFINITY;
  #isSigning = false;
  /** Waits for its turn. */
  #status: string | undefined;

  constructor(deps: ServiceNotifierDeps) {
    this.#deps = deps;
  }

  /** How long the heartbeat loop may be quiet, for the watchdog to be told in time. */
  get longestSilenceMs(): number | undefined {
    const { watchdogMs } = this.#deps.manager;
    return watchdogMs === undefined ? undefined : watchdogMs / SIGNS_PER_WATCHDOG;
  }

  ready(status: string): Promise<void> {
    this.#isReady = true;
    return this.#tell(() => ['READY=1', statusLine(status)]);
  }

  /** The last one counts: however slow the calls are, one of them at most waits before a sign of life. */
  status(status: string): void {
    if (!this.#isReady) return;
    const isWaiting = this.#status !== undefined;
    this.#status = status;
    if (!isWaiting) void this.#tell(() => [statusLine(this.#takeStatus())]);
  }

  #takeStatus(): string {
    const status = this.#status ?? '';
    this.#status = undefined;
    return status;
  }

  stopping(): Promise<void> {
    return this.#isReady ? this.#tell(() => ['STOPPING=1', statusLine('stopping')]) : Promise.resolve();
  }

  /** The heartbeat loop got on: nothing else keeps the watchdog quiet. */
  readonly gotOn = (): void => {
    const silence = this.longestSilenceMs;
    const now = this.#deps.clock.monotonic();
    if (silence === undefined || !this.#isReady || this.#isSigning || now - this.#signAt < silence / 2) return;
    this.#signAt = now;
    this.#isSigning = true;
    void this.#tell(() => ['WATCHDOG=1']).finally(() => (this.#isSigning = false));
  };

  /** In order; never rejects. What is told is asked for when its turn comes. */
  #tell(words: () => readonly string[]): Promise<void> {
    this.#calls = this.#calls.then(() => this.#call(words())).catch((error: unknown) => this.#failed(String(error)));
    return this.#calls;
  }

  async #call(args: readonly string[]): Promise<void> {
    const { clock, manager } = this.#deps;
    const env = { NOTIFY_SOCKET: manager.notifySocket, PATH: manager.searchPath };
    const call = {
      command: 'systemd-notify',
      args,
      maxOutput: MAX_OUTPUT,
      absent: 'systemd-notify is not installed',
      env,
    };
    const ran = await withDeadline({ clock, milliseconds: CALL_MS }, (signal) => runChild(call, signal));
    if ('failed' in ran) this.#failed(ran.failed);
    else if (ran.stderr !== '') this.#failed(ran.stderr.slice(0, MAX_OUTPUT));
    else this.#hasFailed = false;
  }

  #failed(detail: string): void {
    if (!this.#hasFailed) this.#deps.log.warn({ detail }, 'systemd cannot be told how the agent does');
    this.#hasFailed = true;
  }
}

/** One line: a newline would begin another word for systemd. */
function statusLine(status: string): string {
  return `STATUS=${status.replaceAll(/\p{Cc}/gu, ' ').slice(0, LONGEST_STATUS)}`;
}
