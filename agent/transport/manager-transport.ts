import { X509Certificate } from 'node:crypto';
import type { SecureContext, TLSSocket } from 'node:tls';

import { certificatesOf } from '../../certs/pem.js';
import { peerCertificates, verifyPeerPath } from '../../certs/verify-path.js';
import type { Clock } from '../../lib/clock.js';
import type { Identity } from '../data-directory.js';
import type { TimeAnchor } from '../state-store.js';
import { noSecret, openRoute, RouteChooser, type OpenedRoute, type RouteMeans } from './route.js';
import { routeKey, type KnownPath, type Path, type Route } from './route-rules.js';
import { createConnection, createContext, type ManagerConnection, type VerifiedSocket } from './tls-connection.js';
import { PROXY_CODES, toTransportError, TransportError } from './transport-error.js';

/** The routes of the agent's own connections at this moment. */
export interface Routes {
  readonly inForce: Route;
  /** To be proven: tried first, and the one in force behind it. */
  readonly candidate?: Route | undefined;
}

export interface TransportOptions {
  readonly identity: Identity;
  readonly clock: Clock;
  readonly bootId: string;
  /** The last instant that the manager told, if any. */
  readonly anchor: () => TimeAnchor | undefined;
  /** Directly to the managers enrolled with, unless given. */
  readonly routes?: () => Routes;
  /** What the last exchange over a connection of the agent's own came over. */
  readonly known?: () => KnownPath | undefined;
  readonly secretOf?: RouteMeans['secretOf'];
  readonly proxyRoots?: string | undefined;
  readonly admit?: RouteMeans['admit'];
}

export const DIRECT_ROUTE: Route = { managerUrls: [], proxies: [], fallbackDirect: true };

/**
 * Opens connections to the managers, over the route in force or its candidate. TLS sessions are resumed between exchanges;
 * `rebuild` forgets all that is kept but for the path that worked last.
 */
export class ManagerTransport {
  readonly #options: TransportOptions;
  #context: SecureContext;
  readonly #choosers = new Map<string, RouteChooser>();
  #sessions = new Map<string, Buffer>();
  /** By URL, what the last full handshake showed: a resumed session proves its key again, and its dates are judged anew. */
  readonly #judges = new Map<string, () => TransportError | undefined>();
  #candidateFailure: { readonly key: string; readonly error: TransportError } | undefined;
  /** An exchange over the candidate's route died: the next one is to come through. */
  #leavesOutCandidate = false;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#context = contextOf(options.identity);
  }

  /** How the candidate's route failed the last time. */
  failureOver(route: Route): TransportError | undefined {
    return this.#candidateFailure?.key === routeKey(route) ? this.#candidateFailure.error : undefined;
  }

  /** Drops TLS sessions and context; names are resolved anew at every connection anyway. */
  rebuild(): void {
    this.#sessions = new Map();
    this.#judges.clear();
    this.#context = contextOf(this.#options.identity);
  }

  /** A connection for exchanges; throws `TransportError`. `only` is a route that is neither in force nor a candidate. */
  async connect(milliseconds: number, signal: AbortSignal, only?: Route): Promise<ManagerConnection> {
    return createConnection(await this.open(milliseconds, signal, only));
  }

  /** The verified socket beneath a connection. Tries all that may be tried within `milliseconds`. */
  async open(milliseconds: number, signal: AbortSignal, only?: Route): Promise<VerifiedSocket> {
    const { opened, route } = await this.#openBest(milliseconds, signal, only);
    const { socket, path, warning } = opened;
    return {
      socket,
      address: path.manager,
      proxy: path.proxy?.url,
      route: route.key,
      warning,
      hasAnotherWay: path.proxy !== undefined && route.size > 1,
      onFailure: (error) => this.#failed(route, path, error),
    };
  }

  async #openBest(
    milliseconds: number,
    signal: AbortSignal,
    only: Route | undefined,
  ): Promise<{ readonly opened: OpenedRoute; readonly route: RouteChooser }> {
    const { inForce, candidate } = only ? { inForce: only } : this.#routes();
    const isTried = candidate !== undefined && !this.#leavesOutCandidate;
    this.#leavesOutCandidate = false;
    if (!isTried) return this.#openOver(this.#chooserOf(inForce), milliseconds, signal);
    const { clock } = this.#options;
    const end = clock.monotonic() + milliseconds;
    const route = this.#chooserOf(candidate);
    try {
      return await this.#openOver(route, milliseconds / 2, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      const failure = toTransportError(error);
      this.#candidateFailure = { key: route.key, error: failure };
      const old = await this.#openOver(this.#chooserOf(inForce), end - clock.monotonic(), signal);
      return { ...old, opened: { ...old.opened, warning: old.opened.warning ?? failure } };
    }
  }

  #routes(): Routes {
    const { inForce, candidate } = this.#options.routes?.() ?? { inForce: DIRECT_ROUTE };
    return candidate && routeKey(candidate) !== routeKey(inForce) ? { inForce, candidate } : { inForce };
  }

  /** The choices of routes that are no more are forgotten. */
  #chooserOf(route: Route): RouteChooser {
    const key = routeKey(route);
    const { inForce, candidate } = this.#routes();
    const current = new Set([key, routeKey(inForce), ...(candidate ? [routeKey(candidate)] : [])]);
    for (const other of this.#choosers.keys()) if (!current.has(other)) this.#choosers.delete(other);
    const { identity, known } = this.#options;
    const chooser =
      this.#choosers.get(key) ?? new RouteChooser(route, { enrolledUrls: identity.managerUrls, known: known?.() });
    this.#choosers.set(key, chooser);
    return chooser;
  }

  async #openOver(
    chooser: RouteChooser,
    milliseconds: number,
    signal: AbortSignal,
  ): Promise<{ opened: OpenedRoute; route: RouteChooser }> {
    const { clock, secretOf = noSecret, proxyRoots, admit } = this.#options;
    const opened = await openRoute({
      chooser,
      means: { clock, secretOf, proxyRoots, admit },
      milliseconds,
      signal,
      context: this.#context,
      sessionOf: ({ manager }) => this.#sessions.get(manager.url),
      onSession: ({ manager }, session) => this.#sessions.set(manager.url, session),
      onFailure: (path, failure) => this.#forgetSession(path, failure),
      verify: (socket, path) => this.#verify(socket, path),
    });
    return { opened, route: chooser };
  }

  /** A handshake that failed is not tried with the same session again. */
  #forgetSession({ manager: { url } }: Path, { code }: TransportError): void {
    if (!PROXY_CODES.some((one) => one === code)) this.#sessions.delete(url);
  }

  #failed(route: RouteChooser, path: Path, error: TransportError): void {
    route.failed(path, error);
    const { candidate } = this.#routes();
    if (!candidate || routeKey(candidate) !== route.key) return;
    this.#candidateFailure = { key: route.key, error };
    this.#leavesOutCandidate = true;
  }

  #verify(socket: TLSSocket, { manager: { url } }: Path): TransportError | undefined {
    const judge = (socket.isSessionReused() ? this.#judges.get(url) : undefined) ?? judgeManager(socket, this.#options);
    this.#judges.set(url, judge);
    return judge();
  }
}

/** Reads the peer's certificates now; each call of the answer is `verifyManager` by the clocks of that moment. */
export function judgeManager(socket: TLSSocket, options: TransportOptions): () => TransportError | undefined {
  const peer = peerCertificates(socket);
  return () => {
    const { identity, clock, bootId, anchor } = options;
    const known = anchor();
    const trusted = known && known.bootId === bootId ? known.managerWall + clock.boot() - known.boot : undefined;
    return verifyManager(peer, { identity, wall: clock.wall(), trusted });
  };
}

function contextOf({ keyPem, certificatePem, rootPem }: Identity): SecureContext {
  return createContext({ key: keyPem, cert: certificatePem, ca: rootPem });
}

interface VerifyFacts {
  readonly identity: Pick<Identity, 'rootPem' | 'trustDomain'>;
  readonly wall: number;
  /** An instant the manager vouched for since this boot. */
  readonly trusted: number | undefined;
}

/**
 * Throws unless the peer is a manager under our root. Dates count as wrong when they are so by the time the manager told
 * and by the wall clock, so that one clock set wrong, here or there, cuts nobody off; while the manager told none since
 * this boot, the wall clock alone is no proof. What was tolerated is answered.
 */
function verifyManager(
  peer: ReturnType<typeof peerCertificates>,
  { identity, wall, trusted }: VerifyFacts,
): TransportError | undefined {
  if (!peer) throw new TransportError('tls-unknown-ca', 'The manager presented no certificate');
  const path = {
    ...peer,
    roots: certificatesOf(identity.rootPem).map((der) => new X509Certificate(der)),
    trustDomain: identity.trustDomain,
    role: 'manager' as const,
  };
  const verdict = verifyPeerPath({ ...path, at: trusted ?? wall });
  if (verdict.ok) return undefined;
  const code = verdict.reason === 'profile' ? 'tls-unknown-ca' : verdict.reason;
  const error = new TransportError(code, verdict.detail);
  const isDate = verdict.reason === 'tls-expired' || verdict.reason === 'tls-not-yet-valid';
  if (isDate && (trusted === undefined || verifyPeerPath({ ...path, at: wall }).ok)) return error;
  throw error;
}
