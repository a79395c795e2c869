import { createSecureContext, type SecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';

import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { isPlainObject } from '../../lib/schema.js';
import { postOverSocket, SingleSocketAgent, type AnswerPart, type SocketAnswer } from '../../lib/socket-post.js';
import type { Carrier } from '../direction-rules.js';
import type { ManagerAddress } from './manager-address.js';
import { ManagerRefusal, toTransportError, TransportError } from './transport-error.js';

export { parseManagerUrl, type ManagerAddress } from './manager-address.js';

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** One verified TLS connection; requests follow one another on it. */
export interface ManagerConnection {
  /** Where it leads; undefined where the manager opened it. */
  readonly managerUrl: string | undefined;
  /** The proxy that it leads through. */
  readonly proxy?: string | undefined;
  readonly carrier: Carrier;
  /** What the handshake tolerated, or how the ways failed that were tried before this one. */
  readonly warning: TransportError | undefined;
  /** Where a proxy on this way fails, another one may lead there. */
  readonly hasAnotherWay?: boolean | undefined;
  /** Sends JSON text; answers the JSON of a 2xx, throws `ManagerRefusal` or `TransportError`. */
  post(path: string, body: string, signal: AbortSignal): Promise<unknown>;
  close(): void;
}

/** The way that requests went in the end, and what their connection warned of. */
export type WayTaken = Pick<ManagerConnection, 'proxy' | 'warning'>;

/** Our key and certificate, if any, and the roots; an empty list keeps the roots of the system out. */
export function createContext(options: Pick<SecureContextOptions, 'key' | 'cert' | 'ca'>): SecureContext {
  return createSecureContext({ ...TLS_OPTIONS, ca: [], ...options });
}

/** A TLS connection to a manager of ours, before anything was sent on it. */
export interface VerifiedSocket {
  readonly socket: TLSSocket;
  readonly address: ManagerAddress;
  readonly proxy: string | undefined;
  /** Of `routeKey`. */
  readonly route: string | undefined;
  /** What the handshake tolerated. */
  readonly warning: TransportError | undefined;
  readonly hasAnotherWay?: boolean;
  /** The connection failed: the next one is to be another. */
  readonly onFailure?: (error: TransportError) => void;
}

/** Requests over a socket whose peer was verified. */
export function createConnection(verified: VerifiedSocket): ManagerConnection {
  const { socket, address, proxy, route, warning, hasAnotherWay, onFailure } = verified;
  const agent = new SingleSocketAgent(socket);
  return {
    managerUrl: address.url,
    proxy,
    carrier: { kind: 'dial', route },
    warning,
    hasAnotherWay,
    async post(path, body, signal) {
      const { status, headers, bytes } = await send({ agent, address, path, body, signal }, onFailure);
      if (status >= 200 && status < 300) return parseAnswer(bytes);
      throw toRefusal(problemOf(bytes), { status, retryAfter: headers['retry-after'] });
    },
    close() {
      socket.end();
      agent.destroy();
      socket.destroySoon();
    },
  };
}

interface Sending {
  readonly agent: SingleSocketAgent;
  readonly address: ManagerAddress;
  readonly path: string;
  readonly body: string;
  readonly signal: AbortSignal;
}

async function send(
  { address: { host, port }, ...sending }: Sending,
  onFailure: VerifiedSocket['onFailure'],
): Promise<SocketAnswer> {
  try {
    return await postOverSocket({ host, port, ...sending, admit: admitPart });
  } catch (error) {
    const failure = toTransportError(error);
    onFailure?.(failure);
    throw failure;
  }
}

function admitPart({ totalBytes }: AnswerPart): void {
  if (totalBytes > MAX_ANSWER_BYTES) throw new TransportError('protocol', 'The answer is too large');
}

function parseAnswer(bytes: Buffer): unknown {
  try {
    return parseBoundedJson(bytes);
  } catch (error) {
    throw new TransportError('protocol', 'The manager answered something else than JSON', error);
  }
}

/** A problem document (RFC 9457) as the refusal that it is. */
export function toRefusal(
  problem: Readonly<Record<string, unknown>>,
  { status, retryAfter }: { readonly status: number; readonly retryAfter: unknown },
): ManagerRefusal {
  const seconds = Number(retryAfter);
  const type = typeof problem['type'] === 'string' ? problem['type'] : '';
  const detail = typeof problem['detail'] === 'string' ? problem['detail'] : `The manager answered ${status}`;
  return new ManagerRefusal(type.startsWith('/problems/') ? type.slice('/problems/'.length) : 'unknown', status, {
    detail: detail.slice(0, 1024),
    pointers: pointersOf(problem['errors']),
    ...expiredAt(problem),
    ...(retryAfter !== undefined && seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {}),
  });
}

function expiredAt({ reason, managerTime }: Readonly<Record<string, unknown>>): { readonly expiredAt?: number } {
  return reason === 'tls-expired' && typeof managerTime === 'number' ? { expiredAt: managerTime } : {};
}

function pointersOf(errors: unknown): string[] {
  const faults = Array.isArray(errors) ? errors.filter(isPlainObject) : [];
  return faults.map(({ pointer }) => String(pointer)).slice(0, 100);
}

function problemOf(bytes: Buffer): Record<string, unknown> {
  try {
    const problem = parseBoundedJson(bytes);
    return isPlainObject(problem) ? problem : {};
  } catch {
    return {};
  }
}
