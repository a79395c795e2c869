import type { RawData, WebSocket } from 'ws';
import { toInstance, shownRetryAfter } from '../../lib/http-answer.js';
import type { Log } from '../../lib/log.js';
import { Problem, toProblemDocument } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import type { Orders } from '../../protocol/heartbeat-messages.js';
import {
  CHANNEL_CLOSE,
  readAgentMessage,
  writeManagerMessage,
  writeReturn,
  type AgentMessage,
  type ReportMessage,
  type WakeReason,
} from '../../protocol/channel-messages.js';
import type { ChannelPeer } from './channels.js';
import { endOfClose, type ChannelEnd } from './channel-rules.js';

/** How often both ends make sure of each other, in ticks of a second. */
export interface PingRhythm {
  readonly pingIntervalSeconds: number;
  readonly pongTimeoutSeconds: number;
}

export interface ManagerChannelDeps {
  readonly random: Random;
  readonly log: Log;
  readonly rhythm: PingRhythm;
  /** The first report was stored. */
  readonly onProven: (channel: ManagerChannel) => void;
  /** A report was answered, by orders or by a problem. */
  readonly onAnswered: (channel: ManagerChannel) => void;
  readonly onEnded: (channel: ManagerChannel, end: ChannelEnd) => void;
  readonly onUnansweredWake: () => void;
}

/** A connection whose first report is not stored by then holds nothing. */
const PROOF_TICKS = 12;
/** A message that has begun is there within this time, and an answer is taken. */
const SILENCE_TICKS = 12;
/** Whoever was woken begins an exchange within this time, or the request has ended in `timeout`. */
const WAKE_TICKS = 10;
/** A certificate's end is noticed within this time, however seldom PINGs are wanted. */
const VALIDITY_TICKS = 30;
/** Of a control frame with its TLS record, generously. */
const CONTROL_FRAME_BYTES = 256;

/** Problems after which nothing more of this connection is wanted. */
const FINAL: ReadonlySet<string> = new Set([
  'computer-revoked',
  'computer-removed',
  'certificate-refused',
  'certificate-required',
  'clock-skew',
]);

/**
 * The manager's end of one held channel. Time comes in ticks of a second, so that a manager that stood still finds
 * nobody late: what waits in its sockets is read before the next tick counts.
 */
export class ManagerChannel {
  readonly #socket: WebSocket;
  readonly #peer: ChannelPeer;
  readonly #deps: ManagerChannelDeps;
  #rhythm: PingRhythm;
  #ticks = 0;
  #nextPing: number;
  /** The tick of the PING that no PONG has answered. */
  #pinged: number | undefined;
  #isProven = false;
  #isBusy = false;
  #ending: ChannelEnd | undefined;
  #isEnded = false;
  #whenFree: (() => void) | undefined;
  #wake: { readonly requestId: string; readonly tick: number } | undefined;
  /** Of the connection, after the last whole message. */
  #bytesAtMessage: number;
  #controlFrames = 0;
  #partSince: number | undefined;
  #unread: { readonly bytes: number; readonly since: number } | undefined;

  constructor(socket: WebSocket, peer: ChannelPeer, deps: ManagerChannelDeps) {
    this.#socket = socket;
    this.#peer = peer;
    this.#deps = deps;
    this.#rhythm = deps.rhythm;
    this.#nextPing = 1 + Math.floor(deps.random.fraction() * deps.rhythm.pingIntervalSeconds);
    this.#bytesAtMessage = peer.bytesRead();
    socket.on('message', (data, isBinary) => this.#received(data, isBinary));
    socket.on('ping', () => this.#controlled());
    socket.on('pong', () => {
      this.#pinged = undefined;
      this.#controlled();
    });
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', (code) => this.#closed(code));
  }

  get computerId(): string {
    return this.#peer.computerId;
  }

  get serial(): string {
    return this.#peer.serial;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** By the settings of its computer. */
  follow(rhythm: PingRhythm): void {
    this.#rhythm = rhythm;
    this.#nextPing = Math.min(this.#nextPing, this.#ticks + rhythm.pingIntervalSeconds);
  }

  /** Asks for an exchange; one request at a time, for the exchange that answers it covers all that came before it. */
  wake(reason: WakeReason): void {
    if (this.#wake || this.#ending) return;
    const requestId = this.#deps.random.uuid();
    this.#wake = { requestId, tick: this.#ticks };
    this.#socket.send(writeManagerMessage({ type: 'wake', requestId, reason }));
  }

  /** Ends it after the report that is being worked on; the first end counts. */
  end(end: ChannelEnd): void {
    if (this.#ending) return;
    this.#ending = end;
    if (this.#isBusy) this.#whenFree = () => this.#close(end);
    else this.#close(end);
  }

  /** To be called every second. */
  tick(): void {
    this.#ticks += 1;
    if (this.#wake && this.#ticks - this.#wake.tick > WAKE_TICKS) {
      this.#wake = undefined;
      this.#deps.onUnansweredWake();
    }
    if (this.#ending) return;
    const fault = this.#faultNow();
    if (fault) return this.#abandon(fault);
    if (!this.#isProven && this.#ticks > PROOF_TICKS)
      return this.end({ reason: 'no-report', code: CHANNEL_CLOSE.limit });
    if (this.#ticks % VALIDITY_TICKS === 0 && this.#hasExpired()) return;
    if (this.#ticks >= this.#nextPing) this.#ping();
  }

  /** Ends the channel of a certificate that has come to its end. */
  #hasExpired(): boolean {
    try {
      this.#peer.assertValid();
      return false;
    } catch {
      this.end({ reason: 'certificate-expired', code: CHANNEL_CLOSE.refused });
      return true;
    }
  }

  #ping(): void {
    if (this.#hasExpired()) return;
    this.#nextPing = this.#ticks + this.#rhythm.pingIntervalSeconds;
    this.#pinged ??= this.#ticks;
    this.#socket.ping();
  }

  /** What is cut without a word: nobody would read it. */
  #faultNow(): 'pong-timeout' | 'slow' | undefined {
    if (this.#pinged !== undefined && this.#ticks - this.#pinged > this.#rhythm.pongTimeoutSeconds)
      return 'pong-timeout';
    return this.#isPartLate() || this.#isUnreadLate() ? 'slow' : undefined;
  }

  #isPartLate(): boolean {
    const rest = this.#peer.bytesRead() - this.#bytesAtMessage - this.#controlFrames * CONTROL_FRAME_BYTES;
    if (rest <= 0) this.#partSince = undefined;
    else this.#partSince ??= this.#ticks;
    return this.#partSince !== undefined && this.#ticks - this.#partSince > SILENCE_TICKS;
  }

  #isUnreadLate(): boolean {
    const bytes = this.#peer.bytesUnread();
    if (bytes === 0) this.#unread = undefined;
    else if (!this.#unread || bytes < this.#unread.bytes) this.#unread = { bytes, since: this.#ticks };
    return this.#unread !== undefined && this.#ticks - this.#unread.since > SILENCE_TICKS;
  }

  /** Every frame has its price; who sends too many is no agent of ours. */
  #controlled(): void {
    this.#controlFrames += 1;
    this.#admit();
  }

  #admit(): boolean {
    try {
      this.#peer.admitMessage();
      return true;
    } catch {
      this.end({ reason: 'too-many-frames', code: CHANNEL_CLOSE.limit });
      return false;
    }
  }

  #received(data: RawData, isBinary: boolean): void {
    this.#bytesAtMessage = this.#peer.bytesRead();
    this.#controlFrames = 0;
    this.#partSince = undefined;
    if (this.#ending || !this.#admit()) return;
    if (isBinary) return this.end({ reason: 'frame-abuse', code: CHANNEL_CLOSE.notText });
    const message = this.#read(data as Buffer);
    if (message?.type === 'done') this.#noteDone(message.requestId);
    if (message?.type === 'report') void this.#answer(message);
  }

  #read(data: Buffer): AgentMessage | undefined {
    try {
      return readAgentMessage(data);
    } catch {
      this.end({ reason: 'frame-abuse', code: CHANNEL_CLOSE.malformed });
      return undefined;
    }
  }

  #noteDone(requestId: string): void {
    if (this.#wake?.requestId === requestId) this.#wake = undefined;
  }

  async #answer(report: ReportMessage): Promise<void> {
    const { requestId } = report;
    if (this.#isBusy) return this.#sendProblem(requestId, ONE_AT_A_TIME);
    this.#isBusy = true;
    try {
      const orders = await this.#peer.submit(report);
      this.#sendOrders(requestId, orders);
    } catch (error) {
      this.#refuse(requestId, error);
    } finally {
      this.#isBusy = false;
      this.#whenFree?.();
      this.#deps.onAnswered(this);
    }
  }

  #sendOrders(requestId: string, orders: Orders): void {
    if (!this.#isProven && !this.#isEnded) {
      this.#isProven = true;
      this.#deps.onProven(this);
    }
    this.#socket.send(writeManagerMessage({ type: 'orders', requestId, orders }));
  }

  #refuse(requestId: string, error: unknown): void {
    const problem = error instanceof Problem ? error : new Problem('internal', {}, error);
    if (problem.code === 'internal')
      this.#deps.log.error({ err: error, requestId, computerId: this.computerId }, 'A report over a channel failed');
    this.#sendProblem(requestId, problem);
    if (FINAL.has(problem.code)) this.end({ reason: problem.code, code: CHANNEL_CLOSE.refused });
  }

  #sendProblem(requestId: string, problem: Problem): void {
    const { retryAfterSeconds } = problem.facts;
    this.#socket.send(
      writeManagerMessage({
        type: 'problem',
        requestId,
        problem: toProblemDocument(problem, toInstance(requestId)),
        ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds: shownRetryAfter(retryAfterSeconds) }),
      }),
    );
  }

  #close({ reason, code, returnInMs }: ChannelEnd): void {
    this.#socket.close(code, returnInMs === undefined ? reason : writeReturn(returnInMs));
  }

  #abandon(reason: string): void {
    this.#ending = { reason, code: CHANNEL_CLOSE.limit };
    this.#socket.terminate();
  }

  /** What breaks RFC 6455 the library has answered with a close frame already. */
  #failed(error: NodeJS.ErrnoException): void {
    this.#deps.log.debug({ err: error, computerId: this.computerId }, 'A channel failed');
    if (error.code?.startsWith('WS_ERR_')) this.#ending ??= { reason: 'frame-abuse', code: CHANNEL_CLOSE.malformed };
  }

  #closed(code: number): void {
    this.#isEnded = true;
    this.#deps.onEnded(this, this.#ending ?? { reason: endOfClose(code), code });
    this.#ending ??= { reason: endOfClose(code), code };
  }
}

const ONE_AT_A_TIME = new Problem('exchange-in-progress', {
  detail: 'Wait for the answer to the last report.',
  retryAfterSeconds: 2,
});
