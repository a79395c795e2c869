import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { Clock } from '../../lib/clock.js';
import { shareRun, type Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
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
  readonly clock: Clock;
  readonly log: Log;
}

/** Milliseconds after which a connection that keeps us waiting is closed. */
export interface AdminTimeouts {
  readonly handshake?: number;
  readonly headers?: number;
  readonly request?: number;
  readonly keepAlive?: number;
  /** Within a request nothing moves, in either direction. */
  readonly silence?: number;
}

export interface AdminServer extends Lifecycle {
  /** Where it listens, without a slash at the end; a wildcard host reads `localhost`. Throws before `start`. */
  url(): string;
  /** Serves new connections with another certificate. */
  useTls(tls: AdminTls): void;
}

export const ADMIN_TIMEOUTS: Required<AdminTimeouts> = {
  handshake: 10_000,
  headers: 10_000,
  request: 13_000,
  keepAlive: 15_000,
  silence: 35_000,
};
const CHECKS_PER_TIMEOUT = 10;
const MAX_HEADER_BYTES = 16_384;
const STOP_GRACE_MS = 5_000;
const STOP_POLL_MS = 50;

/** The listener of the admin port. Throws when it would speak plain HTTP off loopback. */
export function createAdminServer(options: AdminServerOptions): AdminServer {
  const { host, port, tls, log } = options;
  if (!tls && !isLoopbackHost(host)) throw new Error(`Off loopback the admin port needs TLS: ${host}`);
  const { handshake, headers, request, keepAlive, silence } = { ...ADMIN_TIMEOUTS, ...options.timeouts };
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
  server.setTimeout(silence);
  server.on('error', (error) => {
    // Who starts it is told otherwise.
    if (server.listening) log.error({ err: error }, 'the admin port failed');
  });
  return {
    start: shareRun(async () => {
      if (server.listening) return;
      server.listen({ host, port });
      await once(server, 'listening');
    }),
    stop: shareRun(() => stop(server, options.clock)),
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
