import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Clock } from '../../lib/clock.js';
import { withDeadline } from '../../lib/deadline.js';
import { DeliveryFailure, toDeliveryFailure } from './delivery-failure.js';
import type { CheckTarget, Target } from './notify-guard.js';

export interface SocketDeps {
  readonly checkTarget: CheckTarget;
  readonly clock: Pick<Clock, 'sleep'>;
}

/** One address of several must not use up the time of all. */
const CONNECT_MS = 8000;

/** Opens TCP to the first checked address of the target that answers, and to no other. Throws `DeliveryFailure`. */
export async function openTcp(
  { checkTarget, clock }: SocketDeps,
  target: Target,
  signal: AbortSignal,
): Promise<Socket> {
  const addresses = await checkTarget(target, signal).catch((error: unknown) => {
    throw toDeliveryFailure(error);
  });
  let failure = new DeliveryFailure('dns', 'the name has no address');
  for (const address of addresses) {
    try {
      const reason = () => new DeliveryFailure('timeout', 'the connection was not accepted in time');
      const limits = { clock, milliseconds: CONNECT_MS, signal, reason };
      return await withDeadline(limits, (limited) => connectTo({ address, port: target.port }, limited));
    } catch (error) {
      failure = toDeliveryFailure(error);
      if (signal.aborted) break;
    }
  }
  throw failure;
}

function connectTo({ address, port }: { address: string; port: number }, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host: address, port });
    const settle = (): void => signal.removeEventListener('abort', abort);
    const abort = (): void => void socket.destroy(signal.reason as Error);
    socket.once('error', (error) => {
      settle();
      reject(toDeliveryFailure(error));
    });
    socket.once('connect', () => {
      settle();
      // An error between two users of the socket shows to the next one as a socket that is closed.
      socket.on('error', () => undefined);
      resolve(socket);
    });
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });
}

export interface TlsOptions {
  /** The certificate must be of this name or address. */
  readonly host: string;
  /** Trusted instead of the public authorities. */
  readonly caPem: string | null;
}

/** What `tls.connect` is told of the peer. */
export function tlsOptions({ host, caPem }: TlsOptions) {
  const ca = caPem === null ? {} : { ca: caPem };
  const name = isIP(host) === 0 ? { servername: host } : {};
  return { host, minVersion: 'TLSv1.2', ...name, ...ca } as const;
}

/** Puts TLS on an open socket; the peer's certificate is verified. Throws `DeliveryFailure`, the socket being closed. */
export function openTls(socket: Socket, options: TlsOptions, signal: AbortSignal): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connectTls({ socket, ...tlsOptions(options) });
    const abort = (): void => void secured.destroy(signal.reason as Error);
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      reject(toDeliveryFailure(signal.aborted ? signal.reason : error));
    };
    secured.once('error', fail);
    const closed = (): void => fail(new DeliveryFailure('reset', 'the connection was closed during the handshake'));
    secured.once('close', closed);
    secured.once('secureConnect', () => {
      signal.removeEventListener('abort', abort);
      secured.off('close', closed);
      secured.off('error', fail);
      secured.on('error', () => undefined);
      resolve(secured);
    });
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });
}
