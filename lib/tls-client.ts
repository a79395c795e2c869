import type { LookupFunction, Socket } from 'node:net';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import { connectionReset } from './network-error.js';

export interface TlsTarget {
  readonly host: string;
  readonly port: number;
  /** A connection that leads there already, through a proxy; a new one unless given. It ends with the TLS one. */
  readonly socket?: Socket | undefined;
  /** Instead of the system's. */
  readonly lookup?: LookupFunction | undefined;
  /** A name to ask for (RFC 6066); none for an IP address. */
  readonly servername?: string;
  readonly context: SecureContext;
  /** A TLS session to resume. */
  readonly session?: Buffer | undefined;
  readonly onSession?: ((session: Buffer) => void) | undefined;
  /** TCP is connected; the handshake begins. */
  readonly onConnect?: (() => void) | undefined;
  readonly signal: AbortSignal;
}

/**
 * Opens TCP and TLS and verifies nothing: who the peer is remains to be judged by whoever calls, before a byte is sent.
 * Throws what Node reported (lib/network-error.ts names it), or the signal's reason.
 */
export function openTlsSocket({
  context,
  session,
  onSession,
  onConnect,
  signal,
  socket: tunnel,
  lookup,
  ...where
}: TlsTarget): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...where,
      ...(tunnel ? { socket: tunnel } : {}),
      ...(lookup ? { lookup } : {}),
      ...(session ? { session } : {}),
      secureContext: context,
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false,
    });
    const abort = (): void => void socket.destroy(signal.reason as Error);
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      tunnel?.destroy();
      reject((signal.aborted ? signal.reason : error) as Error);
    };
    const closed = (): void => fail(connectionReset('the connection was closed during the handshake'));
    if (onSession) socket.on('session', onSession);
    if (onConnect) socket.once('connect', onConnect);
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
