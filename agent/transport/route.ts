import { isIP, type LookupFunction, type Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';

import type { Clock } from '../../lib/clock.js';
import { lookupOf } from '../../lib/known-lookup.js';
import { openTlsSocket } from '../../lib/tls-client.js';
import { DeadlinePassed, withDeadline } from '../deadline.js';
import { openTunnel, type ProxySecret } from './proxy-tunnel.js';
import {
  afterFailure,
  afterSuccess,
  choiceAt,
  currentPath,
  firstChoice,
  pathsOf,
  routeKey,
  type Choice,
  type KnownPath,
  type Path,
  type Route,
} from './route-rules.js';
import { toTransportError, TransportError, type TransportCode } from './transport-error.js';

/** How connections are opened, whatever the route. */
export interface RouteMeans {
  readonly clock: Clock;
  /** Throws `TransportError` where there is none of that name. */
  readonly secretOf: (name: string) => ProxySecret;
  /** PEM of roots that https proxies may be under, beside Node's own. */
  readonly proxyRoots?: string | undefined;
  /** Called before a connection is opened: lets it pass the firewall, and answers where to; undefined for wherever the name leads. */
  readonly admit?: ((host: string, port: number) => Promise<readonly string[] | undefined>) | undefined;
}

/** Where there are no secrets. */
export function noSecret(name: string): never {
  throw new TransportError('proxy-credential', `there is no secret "${name}"`);
}

/** The sticky choice among the paths of one route. */
export class RouteChooser {
  readonly key: string;
  #choice: Choice;

  constructor(
    route: Route,
    { enrolledUrls, known }: { enrolledUrls: readonly string[]; known?: KnownPath | undefined },
  ) {
    this.key = routeKey(route);
    this.#choice = firstChoice(pathsOf(route, enrolledUrls), known);
  }

  get size(): number {
    return this.#choice.order.length;
  }

  current(now: number): Path | undefined {
    this.#choice = choiceAt(this.#choice, now);
    return currentPath(this.#choice);
  }

  succeeded(path: Path, now: number): void {
    this.#choice = afterSuccess(this.#choice, path, now);
  }

  failed(path: Path, { code }: TransportError): void {
    this.#choice = afterFailure(this.#choice, path, { isOfProxy: OF_PROXY.has(code) });
  }
}

/** The proxy itself is to blame, whatever the manager behind it. */
const OF_PROXY: ReadonlySet<TransportCode> = new Set<TransportCode>([
  'proxy-unreachable',
  'proxy-auth',
  'proxy-tls',
  'proxy-credential',
]);

export interface OpenRouteOptions {
  readonly chooser: RouteChooser;
  readonly means: RouteMeans;
  /** For all paths together. */
  readonly milliseconds: number;
  readonly signal: AbortSignal;
  /** Made once by `createContext`: parsing key and certificates costs more than a resumed handshake. */
  readonly context: SecureContext;
  /** A TLS session to resume. */
  readonly sessionOf?: (path: Path) => Buffer | undefined;
  readonly onSession?: (path: Path, session: Buffer) => void;
  readonly onFailure?: (path: Path, failure: TransportError) => void;
  /** Called at the end of the handshake, before any byte of a request: throws where the peer is no manager of ours; answers what it tolerated. */
  readonly verify: (socket: TLSSocket, path: Path) => TransportError | undefined;
}

export interface OpenedRoute {
  readonly socket: TLSSocket;
  readonly path: Path;
  /** What `verify` tolerated, or how the paths before this one failed. */
  readonly warning: TransportError | undefined;
}

/** Of the time of an attempt its first path may take so much, so that one that is only slow comes through in its turn. */
const FIRST_SHARE = 0.5;
const SHORTEST_SHARE_MS = 2000;
/** What a timer left over by firing early is no time to reach anybody in. */
const SHORTEST_ATTEMPT_MS = 20;

/**
 * The one way out of the agent: TCP, or CONNECT through the proxies in their order, and TLS to a manager inside of it. It
 * begins at the path that worked last, or behind the one that failed last, and tries every path once at most within the
 * time; directly it goes only after every proxy failed, and where that is allowed. Throws the first failure as a
 * `TransportError` that tells of all.
 */
export async function openRoute(options: OpenRouteOptions): Promise<OpenedRoute> {
  const { chooser, signal } = options;
  const { clock } = options.means;
  const end = clock.monotonic() + options.milliseconds;
  const tried = new Map<string, Failure>();
  for (;;) {
    const now = clock.monotonic();
    const isInTime = end - now > (tried.size === 0 ? 0 : SHORTEST_ATTEMPT_MS);
    const path = isInTime ? nextPath(options, tried) : undefined;
    if (!path) break;
    const milliseconds = shareOf(end - now, { tried: tried.size, size: chooser.size });
    const opened = await openPath(path, { ...options, milliseconds }).catch(toTransportError);
    if (!(opened instanceof TransportError)) {
      chooser.succeeded(path, clock.monotonic());
      return { socket: opened.socket, path, warning: opened.tolerated ?? failureOf(tried) };
    }
    tried.set(path.key, { path, failure: opened });
    options.onFailure?.(path, opened);
    if (!signal.aborted) chooser.failed(path, opened);
  }
  throw failureOf(tried) ?? nothingTried(options);
}

function nextPath({ chooser, signal, means }: OpenRouteOptions, tried: ReadonlyMap<string, Failure>): Path | undefined {
  const path = signal.aborted ? undefined : chooser.current(means.clock.monotonic());
  return path && !tried.has(path.key) ? path : undefined;
}

function nothingTried({ signal, chooser }: OpenRouteOptions): TransportError {
  if (signal.aborted) return toTransportError(signal.reason);
  if (chooser.size === 0) return new TransportError('unknown', 'No manager URL is known');
  return new TransportError('timeout', 'The time of the attempt was over before a connection was begun');
}

function shareOf(left: number, { tried, size }: { readonly tried: number; readonly size: number }): number {
  const least = tried === 0 ? left * FIRST_SHARE : SHORTEST_SHARE_MS;
  return Math.min(left, Math.max(least, left / Math.max(1, size - tried)));
}

interface Failure {
  readonly path: Path;
  readonly failure: TransportError;
}

/** The first failure, which is that of the path to be preferred, with the text of all. */
function failureOf(tried: ReadonlyMap<string, Failure>): TransportError | undefined {
  const [first, ...others] = tried.values();
  if (!first || others.length === 0) return first?.failure;
  const told = [first, ...others].map(({ path, failure }) =>
    path.proxy ? failure.message : `${path.manager.url}: ${failure.message}`,
  );
  return new TransportError(first.failure.code, told.join('; ').slice(0, 1024), first.failure);
}

type Stage = 'proxy' | 'answer' | 'manager';

interface OpenedPath {
  readonly socket: TLSSocket;
  readonly tolerated: TransportError | undefined;
}

/** Opens one path and verifies the manager at its end; nothing but the handshake is sent before. */
export async function openPath(path: Path, options: Omit<OpenRouteOptions, 'chooser'>): Promise<OpenedPath> {
  let stage: Stage = path.proxy ? 'proxy' : 'manager';
  const { clock } = options.means;
  try {
    return await withDeadline({ clock, milliseconds: options.milliseconds, signal: options.signal }, async (signal) => {
      const tunnel = await openTunnelOf(path, { ...options, signal, onStage: (now) => (stage = now) });
      stage = 'manager';
      return openVerified(path, { ...options, signal, tunnel });
    });
  } catch (error) {
    throw toPathError(error, path, stage);
  }
}

type PathOptions = Omit<OpenRouteOptions, 'chooser'>;

async function openTunnelOf(
  { proxy, manager: target }: Path,
  { means, signal, onStage }: PathOptions & { readonly onStage: (stage: Stage) => void },
): Promise<Socket | undefined> {
  if (!proxy) return undefined;
  const secret = proxy.credential === undefined ? undefined : means.secretOf(proxy.credential);
  const { proxyRoots } = means;
  const lookup = await admitted(means, proxy);
  return openTunnel({ proxy, target, secret, proxyRoots, lookup, signal, onAsked: () => onStage('answer') });
}

/** Names are asked for once, so that the connection goes where the firewall lets it. */
async function admitted(
  { admit }: RouteMeans,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<LookupFunction | undefined> {
  const addresses = await admit?.(host, port);
  return addresses && isIP(host) === 0 ? lookupOf(addresses) : undefined;
}

async function openVerified(
  path: Path,
  {
    means,
    context,
    sessionOf,
    onSession,
    verify,
    signal,
    tunnel,
  }: PathOptions & { readonly tunnel: Socket | undefined },
): Promise<OpenedPath> {
  const { host, port } = path.manager;
  const name = isIP(host) === 0 ? { servername: host } : {};
  const session = sessionOf?.(path);
  const keep = onSession && ((fresh: Buffer) => onSession(path, fresh));
  const lookup = tunnel ? undefined : await admitted(means, path.manager);
  const socket = await openTlsSocket({
    host,
    port,
    ...name,
    socket: tunnel,
    lookup,
    context,
    session,
    onSession: keep,
    signal,
  });
  try {
    return { socket, tolerated: verify(socket, path) };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

const LATE: Readonly<Record<Stage, readonly [TransportCode, string]>> = {
  proxy: ['proxy-unreachable', 'no connection in time'],
  answer: ['proxy-timeout', 'no answer in time'],
  manager: ['timeout', 'no manager behind it answered in time'],
};

/** Names the proxy in what is told of a path that leads through one. */
function toPathError(error: unknown, { proxy }: Path, stage: Stage): TransportError {
  const known = toTransportError(error);
  if (!proxy) return known;
  const [code, text] = error instanceof DeadlinePassed ? LATE[stage] : [known.code, textOf(known)];
  return new TransportError(code, `proxy ${proxy.url}: ${text}`.slice(0, 1024), known);
}

/** Inside a tunnel something else than TLS comes from the proxy. */
function textOf({ code, message }: TransportError): string {
  return code === 'protocol' && message.startsWith('no TLS') ? 'it let through something else than TLS' : message;
}
