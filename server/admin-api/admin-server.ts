import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import { addressGroup } from '../../lib/address-group.js';
import type { Clock } from '../../lib/clock.js';
import { shareRun, type Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import { createSlowClientWatch } from '../../lib/slow-clients.js';
import { isLoopbackHost } from './origin-rules.js';

export interface AdminTls {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

export interface AdminServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Null: plain HTTP, on loopback only. */
  readonly tls: AdminTls | null;
  readonly app: RequestListener;
  readonly timeouts?: AdminTimeouts;
  /** Connections of one address (an IPv6 /64) at once; loopback has no such limit unless it is given here. */
  readonly maxPerAddress?: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Milliseconds after which a connection that keeps us waiting is closed. */
export interface AdminTimeouts {
  readonly handshake?: number;
  readonly headers?: number;
  readonly request?: number;
  readonly keepAlive?: number;
  /** Nothing moves, in either direction, while the client has the word or is to read its answer. */
  readonly silence?: number;
  /** From an answer to the next request's complete header, whatever else comes. */
  readonly idle?: number;
  /** Nothing moves while a call is worked on. */
  readonly work?: number;
}

export interface AdminServer extends Lifecycle {
  /** Where it listens, without a slash at the end; a wildcard host reads `localhost`. Throws before `start`. */
  url(): string;
  /** Serves new connections with another certificate. */
  useTls(tls: AdminTls): void;
}

/** They count from when a connection is taken up; a flood waits for that, and is to be gone within 15 s of its own time. */
export const ADMIN_TIMEOUTS: Required<AdminTimeouts> = {
  handshake: 8_000,
  headers: 8_000,
  request: 10_000,
  keepAlive: 10_000,
  silence: 10_000,
  idle: 12_000,
  work: 35_000,
};
const CHECKS_PER_TIMEOUT = 10;
const BACKLOG = 4096;
/** Many people may share an address; all addresses share the process's descriptors with the agents. */
const MAX_PER_ADDRESS = 512;
const MAX_HEADER_BYTES = 16_384;
const STOP_GRACE_MS = 5_000;
const STOP_POLL_MS = 50;

/** The listener of the admin port. Throws when it would speak plain HTTP off loopback. */
export function createAdminServer(options: AdminServerOptions): AdminServer {
  const { host, port, tls, log } = options;
  if (!tls && !isLoopbackHost(host)) throw new Error(`Off loopback the admin port needs TLS: ${host}`);
  const { handshake, headers, request, keepAlive, silence, idle, work } = { ...ADMIN_TIMEOUTS, ...options.timeouts };
  const limits = {
    headersTimeout: headers,
    requestTimeout: request,
    keepAliveTimeout: keepAlive,
    connectionsCheckingInterval: headers / CHECKS_PER_TIMEOUT,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  const server = tls
    ? createTlsServer({ ...limits, ...TLS_OPTIONS, handshakeTimeout: handshake, ...tls }, options.app)
    : createServer(limits, options.app);
  cutSilent(server, { silence, work });
  const watch = createSlowClientWatch({ clock: options.clock, readMs: silence, idleMs: idle });
  server.on('request', watch.see);
  const maxPerAddress = options.maxPerAddress ?? (isLoopbackHost(host) ? undefined : MAX_PER_ADDRESS);
  if (maxPerAddress !== undefined) cutCrowds(server, maxPerAddress);
  server.on('error', (error) => {
    // Who starts it is told otherwise.
    if (server.listening) log.error({ err: error }, 'the admin port failed');
  });
  return {
    start: shareRun(async () => {
      if (server.listening) return;
      server.listen({ host, port, backlog: BACKLOG });
      await once(server, 'listening');
      await watch.start();
    }),
    stop: shareRun(async () => {
      await stop(server, options.clock);
      await watch.stop();
    }),
    url() {
      const address = server.address() as AddressInfo | null;
      if (!address) throw new Error('The admin port is not open');
      return `${tls ? 'https' : 'http'}://${shownHost(host)}:${address.port}`;
    },
    useTls(next) {
      if (tls) (server as TlsServer).setSecureContext({ ...TLS_OPTIONS, ...next });
    },
  };
}

/** A call may be worked on for longer than a client may keep us waiting for it to speak or to read. */
function cutSilent(server: Server, { silence, work }: Pick<Required<AdminTimeouts>, 'silence' | 'work'>): void {
  const atWork = new WeakMap<Socket, ServerResponse>();
  const waitsFor = new WeakSet<ServerResponse>();
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => void atWork.set(socket, response));
  server.setTimeout(silence, (socket: Socket) => {
    const response = atWork.get(socket);
    const isWorking = response && response.req.complete && !response.headersSent && !waitsFor.has(response);
    if (!isWorking) return void socket.destroy();
    waitsFor.add(response);
    socket.setTimeout(Math.max(1, work - silence));
  });
}

/** What one address has open beyond the limit is closed at once. */
function cutCrowds(server: Server, maxPerAddress: number): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const group = addressGroup(socket.remoteAddress ?? null);
    const count = (open.get(group) ?? 0) + 1;
    open.set(group, count);
    socket.once('close', () => {
      const left = (open.get(group) ?? 1) - 1;
      if (left === 0) open.delete(group);
      else open.set(group, left);
    });
    if (count > maxPerAddress) socket.destroy();
  });
}

function shownHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

/** Accepts nothing new, lets calls end for a while, then cuts what is left. */
async function stop(server: Server, clock: Clock): Promise<void> {
  if (!server.listening) return;
  let closed = false;
  const closing = new Promise<void>((resolve) => {
    server.close(() => {
      closed = true;
      resolve();
    });
  });
  for (let waited = 0; waited < STOP_GRACE_MS && !closed; waited += STOP_POLL_MS) {
    server.closeIdleConnections();
    await Promise.race([closing, clock.sleep(STOP_POLL_MS)]);
  }
  server.closeAllConnections();
  await closing;
}
