import { request, type IncomingMessage } from 'node:http';
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls, rootCertificates } from 'node:tls';

import { connectionReset, networkFaultOf } from '../../lib/network-error.js';
import { authorityOf, type ManagerAddress, type ProxyAddress } from './manager-address.js';
import { TransportError } from './transport-error.js';

/** A user and a password for the basic scheme (RFC 7617). */
export interface ProxySecret {
  readonly username: string;
  readonly password: string;
}

export interface TunnelOptions {
  readonly proxy: ProxyAddress;
  readonly target: ManagerAddress;
  readonly secret: ProxySecret | undefined;
  /** PEM of roots that an https proxy may be under, beside Node's own. */
  readonly proxyRoots: string | undefined;
  /** Of the proxy's name, instead of the system's. */
  readonly lookup?: LookupFunction | undefined;
  /** The proxy is connected and is asked now. */
  readonly onAsked: () => void;
  readonly signal: AbortSignal;
}

/** Of the header of a proxy's answer. */
const MAX_HEADER_BYTES = 8192;

/**
 * A connection through an HTTP proxy (CONNECT, RFC 9110 §9.3.6). Only a bare 200 opens it: a byte that came with it, before
 * we sent any, ends it. Throws `TransportError`, or the signal's reason.
 */
export async function openTunnel(options: TunnelOptions): Promise<Socket> {
  const socket = await connectProxy(options);
  options.onAsked();
  try {
    return await ask(socket, options);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function connectProxy({ proxy, proxyRoots, lookup, signal }: TunnelOptions): Promise<Socket> {
  const { host, port, isTls } = proxy;
  const roots = proxyRoots === undefined ? {} : { ca: [...rootCertificates, proxyRoots] };
  const name = isIP(host) === 0 ? { servername: host } : {};
  const where = { host, port, ...(lookup ? { lookup } : {}) };
  return new Promise((resolve, reject) => {
    const socket = isTls
      ? connectTls({ ...where, ...name, ...roots, ALPNProtocols: ['http/1.1'], minVersion: 'TLSv1.2' })
      : connectTcp(where);
    const abort = (): void => void socket.destroy(signal.reason as Error);
    const end = (): void => {
      signal.removeEventListener('abort', abort);
      socket.removeListener('close', closed);
    };
    const fail = (error: unknown): void => {
      end();
      reject(signal.aborted ? (signal.reason as Error) : connectFault(error, proxy));
    };
    const closed = (): void => fail(connectionReset('it closed the connection'));
    socket.once('close', closed);
    // For as long as the socket lives: a reset at the wrong moment must not end the process.
    socket.on('error', fail);
    socket.once(isTls ? 'secureConnect' : 'connect', () => {
      end();
      socket.setNoDelay(true);
      resolve(socket);
    });
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });
}

const NETWORK_CODES: ReadonlySet<string> = new Set(['dns', 'refused', 'timeout', 'reset', 'unreachable']);

function connectFault(error: unknown, proxy: ProxyAddress): TransportError {
  const { fault, text } = networkFaultOf(error);
  const code = proxy.isTls && !NETWORK_CODES.has(fault) ? 'proxy-tls' : 'proxy-unreachable';
  return new TransportError(code, text.slice(0, 500), error);
}

function ask(socket: Socket, { target, secret, signal }: TunnelOptions): Promise<Socket> {
  const authority = authorityOf(target);
  return new Promise((resolve, reject) => {
    const outgoing = request({
      method: 'CONNECT',
      path: authority,
      createConnection: () => socket,
      maxHeaderSize: MAX_HEADER_BYTES,
      setHost: false,
      signal,
      headers: {
        host: authority,
        connection: 'keep-alive',
        'proxy-connection': 'keep-alive',
        ...(secret ? { 'proxy-authorization': basic(secret) } : {}),
      },
    });
    const fail = (error: unknown): void => reject(signal.aborted ? (signal.reason as Error) : answerFault(error));
    outgoing.on('error', fail);
    outgoing.on('close', () => fail(connectionReset('it closed the connection')));
    // Whatever is answered to a CONNECT comes here, but what the parser refuses.
    outgoing.on('connect', (answer, _same, head) => {
      const fault = faultOf(answer, { head, isKnown: secret !== undefined });
      if (fault) fail(fault);
      else resolve(socket);
    });
    outgoing.end();
  });
}

function basic({ username, password }: ProxySecret): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function answerFault(error: unknown): TransportError {
  if (error instanceof TransportError) return error;
  const { fault, text } = networkFaultOf(error);
  if (fault === 'reset')
    return new TransportError('proxy-refused', 'it closed the connection without an answer', error);
  const { code } = Object(error) as { code?: unknown };
  if (code === 'HPE_HEADER_OVERFLOW') return new TransportError('protocol', 'its answer has an endless header', error);
  if (fault === 'no-http') return new TransportError('protocol', 'its answer is no HTTP', error);
  return new TransportError('proxy-refused', text.slice(0, 500), error);
}

interface AnswerFacts {
  readonly head: Buffer;
  /** Credentials were sent. */
  readonly isKnown: boolean;
}

const NOT_REACHED: ReadonlySet<number> = new Set([502, 503, 504]);

/** Of what a proxy says only the number is told on: the rest is its own text. */
function faultOf({ statusCode: status = 0 }: IncomingMessage, facts: AnswerFacts): TransportError | undefined {
  if (status !== 200) return refusalOf(status, facts);
  return facts.head.length === 0
    ? undefined
    : new TransportError('protocol', 'it sent bytes of its own behind its 200');
}

function refusalOf(status: number, { isKnown }: AnswerFacts): TransportError {
  if (status === 407 || status === 401) {
    const why = isKnown ? 'it refused the credentials' : 'it wants credentials, and the setting names none';
    return new TransportError('proxy-auth', `${why} (${status})`);
  }
  if (NOT_REACHED.has(status)) return new TransportError('proxy-no-route', `it does not reach the manager (${status})`);
  return status >= 400
    ? new TransportError('proxy-refused', `it refused to go on (${status})`)
    : new TransportError('protocol', `it answered ${status} to a CONNECT`);
}
