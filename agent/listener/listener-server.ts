import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server, type ServerOptions } from 'node:https';
import { constants } from 'node:crypto';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureContextOptions, TLSSocket } from 'node:tls';

import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import { refuseNonRequests } from '../../lib/non-requests.js';
import { createSlowClientWatch } from '../../lib/slow-clients.js';
import type { Identity } from '../data-directory.js';

/** Milliseconds after which a connection that keeps the agent waiting is closed. */
export interface ListenerTimeouts {
  readonly handshake?: number;
  readonly headers?: number;
  readonly request?: number;
  readonly keepAlive?: number;
  readonly silence?: number;
  /** From an answer to the next call's complete header, whatever else comes. */
  readonly idle?: number;
}

export const LISTENER_TIMEOUTS: Required<ListenerTimeouts> = {
  handshake: 8000,
  headers: 8000,
  request: 10_000,
  keepAlive: 10_000,
  silence: 12_000,
  idle: 12_000,
};
const CHECKS_PER_TIMEOUT = 16;
/** Never reached by strangers: those wait within the limits below. */
const MAX_CONNECTIONS = 512;
/** Whose certificate is not verified; whoever waited longest goes, so that no crowd keeps the manager out. */
const MAX_UNVERIFIED = 96;
const MAX_UNVERIFIED_PER_ADDRESS = 16;
const MAX_HEADERS = 64;

export interface ListenerServerOptions {
  readonly identity: Pick<Identity, 'keyPem' | 'certificatePem' | 'rootPem'>;
  readonly port: number;
  /** Whether this address may reach the port: asked before the handshake. */
  readonly admits: (address: string | undefined) => boolean;
  /** At the end of a handshake; answers whether the peer is a manager. */
  readonly verify: (socket: TLSSocket) => boolean;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly timeouts?: ListenerTimeouts | undefined;
}

export interface ListenerServer {
  /** The bound port. */
  readonly port: number;
  /** Shows the credentials of now from the next connection on. */
  renew(): void;
  /** Takes no more connections; resolves when those in use have ended. */
  close(): Promise<void>;
  /** Cuts every connection too. */
  destroy(): Promise<void>;
}

/** Opens the port; rejects with the error of the operating system where it cannot be bound. */
export async function openListenerServer(options: ListenerServerOptions): Promise<ListenerServer> {
  const server = createServer(serverOptions(options));
  server.maxConnections = MAX_CONNECTIONS;
  server.maxHeadersCount = MAX_HEADERS;
  const { silence, idle } = { ...LISTENER_TIMEOUTS, ...options.timeouts };
  server.setTimeout(silence);
  const watch = createSlowClientWatch({ clock: options.clock, readMs: silence, idleMs: idle });
  const sockets = guardDoor(server, options);
  for (const event of ['request', 'checkContinue'] as const) server.on(event, watch.see).on(event, options.handle);
  refuseNonRequests(server, { random: options.random, log: options.log, port: 'listener' });
  await listen(server, options.port);
  await watch.start();
  const close = async (): Promise<void> => {
    await new Promise<void>((resolve) => server.close(() => resolve()));
    await watch.stop();
  };
  return {
    port: (server.address() as AddressInfo).port,
    renew: () => server.setSecureContext(secureOptions(options)),
    close,
    async destroy() {
      const closed = close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function secureOptions({ identity }: ListenerServerOptions): SecureContextOptions {
  return {
    ...TLS_OPTIONS,
    // Every connection is judged by its own certificate: none is resumed.
    secureOptions: (TLS_OPTIONS.secureOptions ?? 0) | constants.SSL_OP_NO_TICKET,
    key: identity.keyPem,
    cert: identity.certificatePem,
    ca: identity.rootPem,
  };
}

function serverOptions(options: ListenerServerOptions): ServerOptions {
  const { timeouts } = options;
  const { handshake, headers, request, keepAlive } = { ...LISTENER_TIMEOUTS, ...timeouts };
  return {
    ...secureOptions(options),
    requestCert: true,
    rejectUnauthorized: false,
    maxHeaderSize: 8192,
    insecureHTTPParser: false,
    requireHostHeader: false,
    handshakeTimeout: handshake,
    headersTimeout: headers,
    requestTimeout: request,
    keepAliveTimeout: keepAlive,
    connectionsCheckingInterval: Math.ceil(headers / CHECKS_PER_TIMEOUT),
  };
}

/** Judges a peer by its address before a byte of TLS, and by its certificate before a byte of HTTP. */
function guardDoor(server: Server, { admits, verify, log }: ListenerServerOptions): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  const unverified = new Map<Socket, string>();
  const handshakes = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    if (!admits(address)) {
      log.debug({ address }, 'A connection to the listener was refused by its address');
      return void socket.destroy();
    }
    makeRoom(unverified, address);
    sockets.add(socket);
    unverified.set(socket, address);
    socket.once('close', () => {
      sockets.delete(socket);
      unverified.delete(socket);
    });
    for (const handshake of handshakes) handshake.call(server, socket);
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.isSessionReused()) return void socket.destroy();
    if (!verify(socket)) return;
    for (const [raw] of unverified)
      if (raw.remotePort === socket.remotePort && raw.remoteAddress === socket.remoteAddress) unverified.delete(raw);
  });
  return sockets;
}

/** Lets the oldest stranger go where there are too many, of the address or in all. A manager is proven in one handshake. */
function makeRoom(unverified: Map<Socket, string>, address: string): void {
  const strangers = [...unverified.keys()];
  const crowd = strangers.filter((socket) => unverified.get(socket) === address);
  const [oldest] = crowd.length >= MAX_UNVERIFIED_PER_ADDRESS ? crowd : strangers;
  if (!oldest || (crowd.length < MAX_UNVERIFIED_PER_ADDRESS && strangers.length < MAX_UNVERIFIED)) return;
  unverified.delete(oldest);
  oldest.destroy();
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port }, () => {
      server.off('error', reject);
      // A failed accept must not end the process.
      server.on('error', () => undefined);
      resolve();
    });
  });
}
