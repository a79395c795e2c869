import type { IncomingHttpHeaders } from 'node:http';
import type { SecureContext, TLSSocket } from 'node:tls';
import { isJsonContentType } from '../../lib/json-content-type.js';
import { isPlainObject } from '../../lib/schema.js';
import { postOverSocket, SingleSocketAgent, type AnswerPart, type SocketAnswer } from '../../lib/socket-post.js';
import { openTlsSocket } from '../../lib/tls-client.js';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { MAX_REPORT_BYTES } from '../../protocol/heartbeat-messages.js';
import { LISTENER_PATHS } from '../../protocol/protocol-version.js';
import type { BodyLease } from '../../lib/body-reader.js';
import { DialFailure, ExchangeInProgress, OwnFailure, toDialFailure } from './dial-failure.js';

export interface ConnectOptions {
  /** An IP address that the guard has passed: the connection goes to it and to no other. */
  readonly address: string;
  readonly port: number;
  readonly context: SecureContext;
  /** The machine took the connection. */
  readonly onConnect: () => void;
  readonly signal: AbortSignal;
}

/** Opens TCP and TLS; who the peer is remains to be verified. Throws `DialFailure`. */
export async function openSocket({ address, ...options }: ConnectOptions): Promise<TLSSocket> {
  try {
    return await openTlsSocket({ host: address, ...options });
  } catch (error) {
    throw toDialFailure(error);
  }
}

/** One verified connection to a listener; calls follow one another on it. */
export interface ListenerConnection {
  /** Posts a call; answers the exact bytes of a report, or null when the agent has nothing left to say. */
  post(call: string, signal: AbortSignal, path?: string): Promise<Buffer | null>;
  close(): void;
}

export function createListenerConnection(socket: TLSSocket, host: string, lease: BodyLease): ListenerConnection {
  const agent = new SingleSocketAgent(socket);
  return {
    post(call, signal, path = LISTENER_PATHS.heartbeat) {
      // The answer before this one is stored.
      lease.release();
      return post({ agent, host, call, lease, signal, path });
    },
    close() {
      agent.destroy();
      socket.destroy();
    },
  };
}

interface Posting {
  readonly agent: SingleSocketAgent;
  readonly host: string;
  readonly call: string;
  readonly lease: BodyLease;
  readonly signal: AbortSignal;
  readonly path: string;
}

const MAX_HEADER_BYTES = 8192;
/** A problem document says no more than this. */
const MAX_REFUSAL_BYTES = 16 * 1024;

async function post({ agent, host, call, lease, signal, path }: Posting): Promise<Buffer | null> {
  const admit = (part: AnswerPart): void => admitPart(part, lease);
  const options = { path, body: call, maxHeaderBytes: MAX_HEADER_BYTES };
  try {
    return settle(await postOverSocket({ agent, host, ...options, admit, signal }));
  } catch (error) {
    throw toDialFailure(error);
  }
}

function admitPart({ status, totalBytes, chunkBytes }: AnswerPart, lease: BodyLease): void {
  const limit = status === 200 ? MAX_REPORT_BYTES : MAX_REFUSAL_BYTES;
  if (totalBytes > limit) throw new DialFailure('protocol', `the answer has more than ${limit} bytes`);
  if (!lease.take(chunkBytes)) throw new OwnFailure('too many answers are being received');
}

/** What a status means; a redirection is followed nowhere. */
function settle({ status, headers, bytes }: SocketAnswer): Buffer | null {
  if (status === 204) return null;
  if (status === 200) return assertJson(headers, bytes);
  const type = problemType(bytes);
  if (status === 409 && type === '/problems/exchange-in-progress') throw new ExchangeInProgress();
  const code = /^\/problems\/[a-z-]{1,64}$/.test(type) ? ` (${type.slice('/problems/'.length)})` : '';
  throw new DialFailure('protocol', `the agent answered ${status}${code}`);
}

function assertJson(headers: IncomingHttpHeaders, bytes: Buffer): Buffer {
  if (isJsonContentType(headers['content-type'] ?? '')) return bytes;
  throw new DialFailure('protocol', 'the answer is not application/json');
}

function problemType(bytes: Buffer): string {
  try {
    const problem = parseBoundedJson(bytes);
    return isPlainObject(problem) && typeof problem['type'] === 'string' ? problem['type'] : '';
  } catch {
    return '';
  }
}
