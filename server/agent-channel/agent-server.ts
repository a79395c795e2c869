import { createServer, type Server, type ServerOptions } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { ManagerIdentity } from '../../certs/manager-identity.js';
import { TLS_OPTIONS } from '../../certs/tls-profile.js';
import type { Clock } from '../../lib/clock.js';
import { shareRun, type Lifecycle } from '../../lib/lifecycle.js';
import type { Log } from '../../lib/log.js';
import { refuseNonRequests } from '../../lib/non-requests.js';
import { createSlowClientWatch } from '../../lib/slow-clients.js';
import type { Random } from '../../lib/random.js';
import { connectionFactsOf, type ConnectionFacts } from './agent-exchange.js';
import { takeHandshakesInTurns } from './handshake-turns.js';
import { addressGroup } from '../../lib/address-group.js';
import type { PeerState, PeerVerifier } from './peer-identity.js';
import type { ConnectionKey, PeerLimits } from './peer-limits.js';

/** What was read of a connection at its handshake. */
export interface PeerConnection extends ConnectionFacts {
  readonly peer: PeerState;
  /** Over the limit of its computer or address: its request is refused, and it is closed. */
  readonly isOverLimit: boolean;
}

export type AgentRequestHandler = (
  connection: PeerConnection,
  request: IncomingMessage,
  response: ServerResponse,
) => void;

export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What came after the header. */
  readonly head: Buffer;
}

/** Makes a held channel of a connection, or refuses to. */
export type ChannelUpgrade = (connection: PeerConnection, upgrade: UpgradeRequest) => void;

export interface AgentServerDeps {
  readonly identity: ManagerIdentity;
  /** PEM; its name is offered to clients. */
  readonly rootPem: string;
  readonly verifier: PeerVerifier;
  readonly limits: Pick<PeerLimits, 'enter' | 'leave'>;
  readonly timeouts?: AgentTimeouts | undefined;
  readonly handle: AgentRequestHandler;
  /** Makes a held channel of a connection; without it none is served. */
  readonly upgrade?: ChannelUpgrade | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Undefined: all addresses. */
  readonly host?: string | undefined;
  /** 0 picks a free port. */
  readonly port: number;
  readonly maxConnections?: number;
  /** A connection over `maxConnections` was closed unheard. */
  readonly noteShed?: () => void;
  /** How long `stop` waits for exchanges in flight. */
  readonly stopGraceMs?: number;
}

export interface AgentServer extends Lifecycle {
  /** The bound port; throws before `start`. */
  port(): number;
  /** How many handshakes were completed so far. */
  handshakes(): number;
  /** Serves new handshakes with another key and leaf of the same authority. */
  renew(identity: ManagerIdentity): void;
}

/** Milliseconds after which a connection that keeps us waiting is closed. */
export interface AgentTimeouts {
  readonly handshake?: number;
  /** From the connection, or the last answer's next byte, to the end of the header. */
  readonly headers?: number;
  /** The same to the end of the body. */
  readonly request?: number;
  /** Between two requests. */
  readonly keepAlive?: number;
  /** Within a request nothing moves, in either direction: the client does not read its answer, for one. */
  readonly silence?: number;
  /** From an answer to the next request's complete header, whatever else comes. */
  readonly idle?: number;
}

/** A request may take longer than an agent's whole attempt (10 s), never the 15 s in which attackers must be gone. */
export const AGENT_TIMEOUTS: Required<AgentTimeouts> = {
  handshake: 8_000,
  headers: 10_000,
  request: 12_000,
  keepAlive: 75_000,
  silence: 12_000,
  idle: 85_000,
};
const CHECKS_PER_TIMEOUT = 10;
/** A queue that overflows leaves clients who believe in a connection that is none; the kernel has its own bound. */
const BACKLOG = 4096;

const LIMITS = {
  maxHeaderSize: 8192,
  insecureHTTPParser: false,
  // Our own check says why, as a problem document.
  requireHostHeader: false,
} as const satisfies ServerOptions;
const MAX_HEADERS = 64;
const SWEEP_MS = 50;

/**
 * The agent port: mutual TLS whose client certificate is optional for the library and judged by us, once per
 * connection. Slow, silent and malformed clients are cut by the limits above.
 */
export function createAgentServer(deps: AgentServerDeps): AgentServer {
  const timeouts = { ...AGENT_TIMEOUTS, ...deps.timeouts };
  const connections = new WeakMap<object, PeerConnection>();
  const server = createServer({
    ...LIMITS,
    ...timeoutOptions(timeouts),
    ...secureOptions(deps, deps.identity),
  });
  takeHandshakesInTurns(server);
  server.maxHeadersCount = MAX_HEADERS;
  server.setTimeout(timeouts.silence);
  server.maxConnections = deps.maxConnections ?? 50_000;
  server.on('drop', () => deps.noteShed?.());
  let handshakes = 0;
  server.on('secureConnection', (socket: TLSSocket) => {
    handshakes += 1;
    const connection = admit(deps, socket);
    if (connection) connections.set(socket, connection);
    else socket.destroy();
  });
  const watch = createSlowClientWatch({ clock: deps.clock, readMs: timeouts.silence, idleMs: timeouts.idle });
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    watch.see(request, response);
    const connection = connections.get(request.socket);
    if (connection) deps.handle(connection, request, response);
    else request.socket.destroy();
  };
  server.on('request', serve);
  server.on('checkContinue', serve);
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): boolean => {
    const connection = connections.get(socket);
    if (!connection || !deps.upgrade || !/^websocket$/i.test(request.headers.upgrade ?? '')) return false;
    watch.forget(socket as TLSSocket);
    deps.upgrade(connection, { request, socket, head });
    return true;
  };
  refuseNonRequests(server, { random: deps.random, log: deps.log, port: 'agent port', upgrade });
  return {
    ...lifecycleOf(server, deps, watch),
    port: () => boundPort(server),
    handshakes: () => handshakes,
    renew: (identity) => renew(server, deps, identity),
  };
}

function timeoutOptions({ handshake, headers, request, keepAlive }: Required<AgentTimeouts>): ServerOptions {
  return {
    handshakeTimeout: handshake,
    headersTimeout: headers,
    requestTimeout: request,
    keepAliveTimeout: keepAlive,
    connectionsCheckingInterval: headers / CHECKS_PER_TIMEOUT,
  };
}

/** Counts the connection for as long as it is open; undefined where it is to be closed at once. */
function admit({ verifier, limits }: AgentServerDeps, socket: TLSSocket): PeerConnection | undefined {
  const peer = verifier.verify(socket);
  const facts = connectionFactsOf(socket);
  const key: ConnectionKey =
    peer.kind === 'identified' ? { computerId: peer.identity.computerId } : { address: addressGroup(facts.address) };
  const admission = limits.enter(key);
  socket.once('close', () => limits.leave(key));
  return admission === 'cut' ? undefined : { peer, ...facts, isOverLimit: admission === 'refuse' };
}

function secureOptions({ rootPem }: AgentServerDeps, { keyPem, certPem, chainPem }: ManagerIdentity): ServerOptions {
  return {
    ...TLS_OPTIONS,
    key: keyPem,
    // The root is sent too: an agent that enrolls checks its token's fingerprint by it.
    cert: certPem + chainPem,
    ca: rootPem,
    requestCert: true,
    rejectUnauthorized: false,
  };
}

function renew(server: Server, deps: AgentServerDeps, identity: ManagerIdentity): void {
  server.setSecureContext({ ...secureOptions(deps, identity), ticketKeys: server.getTicketKeys() });
}

function lifecycleOf(server: Server, deps: AgentServerDeps, watch: Lifecycle): Lifecycle {
  const start = shareRun(async () => {
    if (server.listening) return;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(
        { port: deps.port, backlog: BACKLOG, ...(deps.host === undefined ? {} : { host: deps.host }) },
        () => {
          server.off('error', reject);
          resolve();
        },
      );
    });
    await watch.start();
  });
  const stop = shareRun(async () => {
    if (!server.listening) return;
    let closed = false;
    server.close(() => {
      closed = true;
    });
    const cutAt = deps.clock.monotonic() + (deps.stopGraceMs ?? 10_000);
    while (!closed && deps.clock.monotonic() < cutAt) {
      server.closeIdleConnections();
      await deps.clock.sleep(SWEEP_MS);
    }
    server.closeAllConnections();
    await watch.stop();
  });
  return { start, stop };
}

function boundPort(server: Server): number {
  const address = server.address() as AddressInfo | null;
  if (!address) throw new Error('The agent port is not open');
  return address.port;
}
