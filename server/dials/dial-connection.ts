import { Agent, request, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import { isJsonContentType } from '../../lib/json-content-type.js';
import { isPlainObject } from '../../lib/schema.js';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { MAX_REPORT_BYTES } from '../../protocol/heartbeat-messages.js';
import { LISTENER_PATHS } from '../../protocol/protocol-version.js';
import type { BodyLease } from '../../lib/body-reader.js';
import { DialFailure, ExchangeInProgress, toDialFailure } from './dial-failure.js';

export interface ConnectOptions {
  /** An IP address that the guard has passed: the connection goes to it and to no other. */
  readonly address: string;
  readonly port: number;
  readonly context: SecureContext;
  readonly signal: AbortSignal;
}

/** Opens TCP and TLS; who the peer is remains to be verified. Throws `DialFailure`. */
export function openSocket({ address, port, context, signal }: ConnectOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      secureContext: context,
      host: address,
      port,
      ALPNProtocols: ['http/1.1'],
      // The path is verified by certs/, which knows roles and key usages; Node's own verdict is not used.
      rejectUnauthorized: false,
    });
    const abort = (): void => void socket.destroy(signal.reason as Error);
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      reject(toDialFailure(signal.aborted ? signal.reason : error));
    };
    const closed = (): void => fail(new DialFailure('reset', 'the connection was closed during the handshake'));
    socket.once('error', fail);
    socket.once('close', closed);
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', abort);
      socket.removeListener('close', closed);
      socket.removeListener('error', fail);
      // A reset between two requests must not end the process; the next request fails by itself.
      socket.on('error', () => undefined);
      resolve(socket);
    });
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });
}

/** One verified connection to a listener; calls follow one another on it. */
export interface ListenerConnection {
  /** Posts a call; answers the exact bytes of a report, or null when the agent has nothing left to say. */
  post(call: string, signal: AbortSignal): Promise<Buffer | null>;
  close(): void;
}

export function createListenerConnection(socket: TLSSocket, host: string, lease: BodyLease): ListenerConnection {
  const agent = new SingleSocketAgent(socket);
  return {
    post(call, signal) {
      // The answer before this one is stored.
      lease.release();
      return post({ agent, host, call, lease, signal });
    },
    close() {
      agent.destroy();
      socket.destroy();
    },
  };
}

/** Hands out the one verified socket and never opens another. */
class SingleSocketAgent extends Agent {
  #socket: TLSSocket | undefined;

  constructor(socket: TLSSocket) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#socket = socket;
  }

  override createConnection(): Socket {
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket || socket.destroyed) throw new DialFailure('reset', 'the agent closed the connection');
    return socket;
  }
}

interface Posting {
  readonly agent: Agent;
  readonly host: string;
  readonly call: string;
  readonly lease: BodyLease;
  readonly signal: AbortSignal;
}

const MAX_HEADER_BYTES = 8192;
/** A problem document says no more than this. */
const MAX_REFUSAL_BYTES = 16 * 1024;

function post({ agent, host, call, lease, signal }: Posting): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => reject(toDialFailure(signal.aborted ? signal.reason : error));
    const outgoing = request({
      agent,
      host,
      path: LISTENER_PATHS.heartbeat,
      method: 'POST',
      signal,
      maxHeaderSize: MAX_HEADER_BYTES,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(call) },
    });
    outgoing.on('error', fail);
    outgoing.on('response', (response) => {
      const give = (error: DialFailure): void => {
        fail(error);
        outgoing.destroy();
      };
      collect(response, {
        lease,
        refuse: give,
        fail,
        done: (bytes) => settle(response, bytes, { resolve, reject: fail }),
      });
    });
    outgoing.end(call);
  });
}

interface Collecting {
  readonly lease: BodyLease;
  readonly refuse: (error: DialFailure) => void;
  readonly fail: (error: unknown) => void;
  readonly done: (bytes: Buffer) => void;
}

function collect(response: IncomingMessage, { lease, refuse, fail, done }: Collecting): void {
  const limit = response.statusCode === 200 ? MAX_REPORT_BYTES : MAX_REFUSAL_BYTES;
  const chunks: Buffer[] = [];
  let length = 0;
  response.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > limit) refuse(new DialFailure('protocol', `the answer has more than ${limit} bytes`));
    else if (!lease.take(chunk.length)) refuse(new NoRoom());
    else chunks.push(chunk);
  });
  response.on('error', fail);
  response.on('aborted', () => fail(new DialFailure('reset', 'the answer was cut off')));
  response.on('end', () => done(Buffer.concat(chunks)));
}

/** Too many answers are being received: ours, not the agent's failure. */
export class NoRoom extends DialFailure {
  constructor() {
    super('unknown', 'too many answers are being received');
  }
}

interface Settling {
  readonly resolve: (bytes: Buffer | null) => void;
  readonly reject: (error: unknown) => void;
}

/** What a status means; a redirection is followed nowhere. */
function settle({ statusCode = 0, headers }: IncomingMessage, bytes: Buffer, { resolve, reject }: Settling): void {
  if (statusCode === 204) return resolve(null);
  if (statusCode === 200) {
    if (isJsonContentType(headers['content-type'] ?? '')) return resolve(bytes);
    return reject(new DialFailure('protocol', 'the answer is not application/json'));
  }
  const type = problemType(bytes);
  if (statusCode === 409 && type === '/problems/exchange-in-progress') return reject(new ExchangeInProgress());
  const code = /^\/problems\/[a-z-]{1,64}$/.test(type) ? ` (${type.slice('/problems/'.length)})` : '';
  reject(new DialFailure('protocol', `the agent answered ${statusCode}${code}`));
}

function problemType(bytes: Buffer): string {
  try {
    const problem = parseBoundedJson(bytes);
    return isPlainObject(problem) && typeof problem['type'] === 'string' ? problem['type'] : '';
  } catch {
    return '';
  }
}
