import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';

import { parseBoundedJson } from '../../lib/bounded-json.js';
import type { Clock } from '../../lib/clock.js';
import { connectionReset } from '../../lib/network-error.js';
import type { Random } from '../../lib/random.js';
import { isPlainObject } from '../../lib/schema.js';
import {
  CHANNEL_CLOSE,
  CHANNEL_SUBPROTOCOL,
  MAX_MANAGER_MESSAGE_BYTES,
  readManagerMessage,
  writeDone,
  writeReport,
  type ManagerMessage,
} from '../../protocol/channel-messages.js';
import { AGENT_PATHS } from '../../protocol/protocol-version.js';
import { sleepUnlessAborted } from '../deadline.js';
import { toRefusal, type VerifiedSocket } from './tls-connection.js';
import { toTransportError, TransportError } from './transport-error.js';

export interface ChannelEnds {
  readonly code: number;
  readonly reason: string;
}

export interface AgentChannelDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** How often this end makes sure of the other one; asked before each time. */
  readonly rhythm: () => { readonly pingIntervalSeconds: number; readonly pongTimeoutSeconds: number };
  /** The manager asks for an exchange: resolves once one has begun. */
  readonly onWake: () => Promise<void>;
  /** Told once, whoever ended it. */
  readonly onEnd: (end: ChannelEnds) => void;
}

const MAX_REFUSAL_BYTES = 64 * 1024;
const MOST_FRAGMENTS = 1024;
const MOST_CHUNKS = 65_536;
/** An answer that is not there by then needs a sign of life beside it. */
const UNANSWERED_MS = 1500;
/** And whoever gives none within this time more is gone: the same report takes another way in the same attempt. */
const SIGN_OF_LIFE_MS = 2000;
const ABNORMAL = 1006;

/**
 * Upgrades a verified connection. Throws `ManagerRefusal` where the manager answered with a problem, `TransportError`
 * for all else that is no upgrade; the connection is closed then.
 */
export function upgradeToChannel(
  verified: VerifiedSocket,
  deps: AgentChannelDeps,
  signal: AbortSignal,
): Promise<AgentChannel> {
  const { address, socket } = verified;
  return new Promise((resolve, reject) => {
    const host = address.host.includes(':') ? `[${address.host}]` : address.host;
    const webSocket = new WebSocket(`wss://${host}:${address.port}${AGENT_PATHS.channel}`, [CHANNEL_SUBPROTOCOL], {
      ...CLIENT_OPTIONS,
      createConnection: () => socket,
    });
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      reject((signal.aborted ? signal.reason : error) as Error);
    };
    const abort = (): void => {
      webSocket.terminate();
      fail(signal.reason);
    };
    webSocket.on('error', (error) => fail(toUpgradeError(error)));
    webSocket.once('unexpected-response', (_request, response) => readRefusal(response, fail));
    webSocket.once('open', () => {
      signal.removeEventListener('abort', abort);
      resolve(new AgentChannel(webSocket, verified, deps));
    });
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
  });
}

const CLIENT_OPTIONS = {
  perMessageDeflate: false,
  followRedirects: false,
  maxPayload: MAX_MANAGER_MESSAGE_BYTES,
  maxFragments: MOST_FRAGMENTS,
  maxBufferedChunks: MOST_CHUNKS,
  closeTimeout: 3000,
};

function toUpgradeError(error: Error): TransportError {
  const known = toTransportError(error);
  return known.code === 'unknown' ? new TransportError('protocol', `No upgrade: ${error.message}`, error) : known;
}

function readRefusal(response: IncomingMessage, fail: (error: unknown) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const { statusCode: status = 0, headers } = response;
  const give = (): void => {
    const problem = problemOf(Buffer.concat(chunks));
    if (problem) return fail(toRefusal(problem, { status, retryAfter: headers['retry-after'] }));
    fail(new TransportError('protocol', `The upgrade was answered ${status} by something that is no manager of ours`));
  };
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_REFUSAL_BYTES) chunks.push(chunk);
    else give();
  });
  response.on('end', give).on('error', give);
}

/** Undefined for anything but a problem document of a manager. */
function problemOf(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const problem = parseBoundedJson(bytes);
    return isPlainObject(problem) && String(problem['type']).startsWith('/problems/') ? problem : undefined;
  } catch {
    return undefined;
  }
}

interface Waiting {
  readonly requestId: string;
  readonly resolve: (orders: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The agent's end of one held channel; reports follow one another on it. */
export class AgentChannel {
  readonly #webSocket: WebSocket;
  readonly #verified: VerifiedSocket;
  readonly #deps: AgentChannelDeps;
  readonly #ending = new AbortController();
  #waiting: Waiting | undefined;
  /** Frames of any kind that came so far. */
  #frames = 0;
  #heardBoot: number;
  #pong = new AbortController();

  constructor(webSocket: WebSocket, verified: VerifiedSocket, deps: AgentChannelDeps) {
    this.#webSocket = webSocket;
    this.#verified = verified;
    this.#deps = deps;
    this.#heardBoot = deps.clock.boot();
    webSocket.removeAllListeners('error');
    // The close that follows says enough.
    webSocket.on('error', () => undefined);
    webSocket.on('message', (data, isBinary) => this.#received(data as Buffer, isBinary));
    webSocket.on('ping', () => this.#heard());
    webSocket.on('pong', () => {
      this.#heard();
      this.#pong.abort();
    });
    webSocket.on('close', (code, reason) => this.#ended({ code, reason: reason.toString() }));
    void this.#keepAlive(this.#ending.signal);
  }

  get managerUrl(): string {
    return this.#verified.address.url;
  }

  get warning(): TransportError | undefined {
    return this.#verified.warning;
  }

  get proxy(): string | undefined {
    return this.#verified.proxy;
  }

  /** Of `routeKey`. */
  get route(): string | undefined {
    return this.#verified.route;
  }

  /** Whether a report may be sent on it. */
  get isOpen(): boolean {
    return this.#webSocket.readyState === WebSocket.OPEN;
  }

  /** Aborted at its end. */
  get ended(): AbortSignal {
    return this.#ending.signal;
  }

  /** By the boot clock, which counts suspend: nothing was heard for longer than two living ends are silent. */
  get isStale(): boolean {
    const { clock, rhythm } = this.#deps;
    const { pingIntervalSeconds, pongTimeoutSeconds } = rhythm();
    return clock.boot() - this.#heardBoot > (pingIntervalSeconds + pongTimeoutSeconds) * 1000;
  }

  /**
   * Sends a report and answers its orders. Throws `ManagerRefusal`; `TransportError` where the channel is of no more
   * use, which it has closed then; or the signal's reason.
   */
  exchange(body: string, signal: AbortSignal): Promise<unknown> {
    const requestId = this.#deps.random.uuid();
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        signal.removeEventListener('abort', abort);
        if (this.#waiting?.requestId === requestId) this.#waiting = undefined;
        finish();
      };
      const abort = (): void => {
        settle(() => reject(signal.reason as Error));
        this.close(CHANNEL_CLOSE.timeout, 'timeout');
      };
      if (signal.aborted || !this.isOpen)
        return reject(
          signal.aborted ? (signal.reason as Error) : toTransportError(connectionReset('the channel is closed')),
        );
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting = {
        requestId,
        resolve: (orders) => settle(() => resolve(orders)),
        reject: (error) => settle(() => reject(error)),
      };
      this.#webSocket.send(writeReport(requestId, body));
      void this.#watchAnswer(requestId);
    });
  }

  close(code: number = CHANNEL_CLOSE.done, reason = ''): void {
    this.#webSocket.close(code, reason);
  }

  /** Cuts it without a word: nobody is there to hear one. */
  destroy(): void {
    this.#webSocket.terminate();
  }

  /** A peer that gives no sign of life while it owes an answer is gone long before its next PONG is due. */
  async #watchAnswer(requestId: string): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#ending;
    await sleepUnlessAborted(clock, UNANSWERED_MS, signal);
    if (this.#waiting?.requestId !== requestId || !this.isOpen) return;
    const before = this.#frames;
    this.#webSocket.ping();
    await sleepUnlessAborted(clock, SIGN_OF_LIFE_MS, signal);
    if (this.#waiting?.requestId === requestId && this.#frames === before) this.destroy();
  }

  async #keepAlive(signal: AbortSignal): Promise<void> {
    const { clock, rhythm } = this.#deps;
    while (!signal.aborted) {
      await sleepUnlessAborted(clock, rhythm().pingIntervalSeconds * 1000, signal);
      if (signal.aborted) return;
      this.#pong = new AbortController();
      this.#webSocket.ping();
      await sleepUnlessAborted(clock, rhythm().pongTimeoutSeconds * 1000, AbortSignal.any([signal, this.#pong.signal]));
      if (!signal.aborted && !this.#pong.signal.aborted) this.destroy();
    }
  }

  #heard(): void {
    this.#frames += 1;
    this.#heardBoot = this.#deps.clock.boot();
  }

  #received(data: Buffer, isBinary: boolean): void {
    this.#heard();
    const message = isBinary ? undefined : readOrNothing(data);
    if (!message) return this.close(CHANNEL_CLOSE.malformed, 'no message');
    if (message.type === 'wake') void this.#wake(message.requestId);
    if (message.type !== 'orders' && message.type !== 'problem') return;
    const waiting = this.#waiting;
    if (waiting?.requestId !== message.requestId) return;
    if (message.type === 'orders') waiting.resolve(message.orders);
    else waiting.reject(refusalOf(message));
  }

  async #wake(requestId: string): Promise<void> {
    await this.#deps.onWake();
    if (this.isOpen) this.#webSocket.send(writeDone(requestId));
  }

  #ended(end: ChannelEnds): void {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    const why = end.code === ABNORMAL ? 'the channel was cut' : `the channel was closed (${end.code})`;
    this.#waiting?.reject(toTransportError(connectionReset(why)));
    this.#deps.onEnd(end);
  }
}

function readOrNothing(data: Buffer): ManagerMessage | undefined {
  try {
    return readManagerMessage(data);
  } catch {
    return undefined;
  }
}

function refusalOf({ problem, retryAfterSeconds }: Extract<ManagerMessage, { type: 'problem' }>) {
  const status = Number(problem['status']);
  return toRefusal(problem, { status: Number.isInteger(status) ? status : 0, retryAfter: retryAfterSeconds });
}
