import { isIP } from 'node:net';
import { createSecureContext, type SecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';

import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import { parseBoundedJson } from '../../lib/bounded-json.js';
import { isPlainObject } from '../../lib/schema.js';
import { postOverSocket, SingleSocketAgent, type AnswerPart, type SocketAnswer } from '../../lib/socket-post.js';
import { openTlsSocket } from '../../lib/tls-client.js';
import type { Carrier } from '../direction-rules.js';
import { ManagerRefusal, toTransportError, TransportError } from './transport-error.js';

/** `https://host:port` of a manager's agent port. */
export interface ManagerAddress {
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

const DEFAULT_AGENT_PORT = 4120;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** Undefined for anything but an https URL without path, query and user info. */
export function parseManagerUrl(text: string): ManagerAddress | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isBare = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '';
  if (url.protocol !== 'https:' || !isBare || url.password !== '') return undefined;
  const port = url.port === '' ? (/:443\/?$/.test(text) ? 443 : DEFAULT_AGENT_PORT) : Number(url.port);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { url: `https://${url.hostname}:${port}`, host, port };
}

export interface OpenOptions {
  readonly address: ManagerAddress;
  /** Made once by `createContext`: parsing key and certificates costs more than a resumed handshake. */
  readonly context: SecureContext;
  /** A TLS session to resume. */
  readonly session?: Buffer | undefined;
  /** Called at the end of the handshake, before any byte of a request: throws where the peer is no manager of ours; answers what it tolerated. */
  readonly verify: (socket: TLSSocket) => TransportError | undefined;
  readonly onSession?: (session: Buffer) => void;
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** One verified TLS connection; requests follow one another on it. */
export interface ManagerConnection {
  /** Where it leads; undefined where the manager opened it. */
  readonly managerUrl: string | undefined;
  readonly carrier: Carrier;
  /** What the handshake tolerated. */
  readonly warning: TransportError | undefined;
  /** Sends JSON text; answers the JSON of a 2xx, throws `ManagerRefusal` or `TransportError`. */
  post(path: string, body: string, signal: AbortSignal): Promise<unknown>;
  close(): void;
}

/** Our key and certificate, if any, and the roots; an empty list keeps the roots of the system out. */
export function createContext(options: Pick<SecureContextOptions, 'key' | 'cert' | 'ca'>): SecureContext {
  return createSecureContext({ ...TLS_OPTIONS, ca: [], ...options });
}

/** A TLS connection to a manager of ours, before anything was sent on it. */
export interface VerifiedSocket {
  readonly address: ManagerAddress;
  readonly socket: TLSSocket;
  /** What the handshake tolerated. */
  readonly warning: TransportError | undefined;
}

/** Opens TLS and verifies the peer; nothing but the handshake is sent before. */
export async function openVerified(options: OpenOptions): Promise<VerifiedSocket> {
  const socket = await handshake(options);
  try {
    return { address: options.address, socket, warning: options.verify(socket) };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** The same for requests that follow one another. */
export async function openConnection(options: OpenOptions): Promise<ManagerConnection> {
  return createConnection(await openVerified(options));
}

async function handshake({ address, ...options }: OpenOptions): Promise<TLSSocket> {
  const { host, port } = address;
  const { context, session, onSession, signal } = options;
  const name = isIP(host) === 0 ? { servername: host } : {};
  try {
    return await openTlsSocket({ host, port, ...name, context, session, onSession, signal });
  } catch (error) {
    throw toTransportError(error);
  }
}

export function createConnection({ address, socket, warning }: VerifiedSocket): ManagerConnection {
  const agent = new SingleSocketAgent(socket);
  return {
    managerUrl: address.url,
    carrier: { kind: 'dial' },
    warning,
    async post(path, body, signal) {
      const { status, headers, bytes } = await send({ agent, address, path, body, signal });
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

async function send({ address: { host, port }, ...sending }: Sending): Promise<SocketAnswer> {
  try {
    return await postOverSocket({ host, port, ...sending, admit: admitPart });
  } catch (error) {
    throw toTransportError(error);
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
    ...(retryAfter !== undefined && seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {}),
  });
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
