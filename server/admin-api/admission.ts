import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { RequestHandler } from 'express';
import helmet from 'helmet';
import { plainAddress } from '../../lib/plain-address.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { anonymousActor, roleIncludes, type Actor } from '../access/actor.js';
import { Scope } from '../access/scope.js';
import type { Authenticator, Identity } from '../access/authenticator.js';
import { isServedHost, isServedOrigin, type OriginRules } from './origin-rules.js';
import type { RouteDefinition } from './route.js';
import type { SessionCookie } from './session-cookie.js';

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
const ONE_YEAR_SECONDS = 31_536_000;
const BEARER = /^Bearer ([A-Za-z0-9_-]{1,256})$/i;

/** Gives every call an id: it stands in the answer, in the problem document and in the log. */
export function requestId(random: Random): RequestHandler {
  return (_request, response, next) => {
    const id = random.uuid();
    response.locals['requestId'] = id;
    response.setHeader('X-Request-Id', id);
    next();
  };
}

/** Nothing may be loaded, framed or kept by default; pages that show something say so themselves. */
export function securityHeaders(secure: boolean): RequestHandler {
  const protect = helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"], formAction: ["'none'"] },
    },
    strictTransportSecurity: secure ? { maxAge: ONE_YEAR_SECONDS, includeSubDomains: false } : false,
    xFrameOptions: { action: 'deny' },
  });
  return (request, response, next) => {
    response.setHeader('Cache-Control', 'no-store');
    protect(request, response, next);
  };
}

/**
 * Refuses a foreign Host (DNS rebinding), a foreign Origin on calls that change something and on upgrades, and strange
 * targets.
 */
export function hostAndOriginCheck(rules: OriginRules): RequestHandler {
  return (request, _response, next) => {
    if (!request.url.startsWith('/'))
      throw new Problem('request-invalid', { detail: 'The request target must be a path.' });
    if (!isServedHost(hostsOf(request), rules))
      throw new Problem('origin-refused', { detail: 'This Host is not served; WARDBEAT_ADMIN_ORIGIN may name it.' });
    // An upgrade is a GET, but opens a channel that can do anything: browsers let every page ask for one.
    const isUnsafe = !SAFE_METHODS.has(request.method) || request.headers.upgrade !== undefined;
    if (isUnsafe && !isServedOrigin(originHeaders(request), rules))
      throw new Problem('origin-refused', { detail: 'A page of another origin must not change anything here.' });
    next();
  };
}

function hostsOf({ rawHeaders }: IncomingMessage): string[] {
  return rawHeaders.filter((_value, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'host');
}

function originHeaders({ headers }: IncomingMessage) {
  const site = headers['sec-fetch-site'];
  return { host: headers.host ?? '', origin: headers.origin, secFetchSite: site === undefined ? site : String(site) };
}

export interface Admission {
  readonly authenticator: Authenticator;
  readonly cookie: SessionCookie;
}

export interface Admitted {
  readonly actor: Actor;
  readonly scope: Scope;
  readonly sessionId: string | undefined;
}

/** Of whoever has not said who he is. */
const NOTHING = Scope.subtrees([]);

/**
 * Who calls, if the route admits him. Throws `not-authenticated`, `csrf-token-invalid`, `forbidden`, `beyond-scope`,
 * `password-change-required`, `second-factor-missing` or `proof-required`. A client certificate means nothing here.
 */
export async function admit(
  request: IncomingMessage,
  route: Pick<RouteDefinition, 'permission' | 'reach' | 'proof' | 'whileOwing'>,
  admission: Admission,
): Promise<Admitted> {
  const { permission, reach } = route;
  const sourceAddress = sourceAddressOf(request);
  if (permission === 'public') return { actor: anonymousActor(sourceAddress), scope: NOTHING, sessionId: undefined };
  const identity = await identify(request, sourceAddress, admission);
  if (!identity)
    throw new Problem('not-authenticated', { detail: 'Sign in at POST /api/v1/sessions or send an API key.' });
  if (identity.session && !SAFE_METHODS.has(request.method ?? '')) assertCsrf(request, identity.session.csrfHash);
  assertOwesNothing(identity, route.whileOwing);
  if (!roleIncludes(identity.role, permission))
    throw new Problem('forbidden', { detail: `This needs the role ${permission}; yours is ${identity.role}.` });
  assertProof(identity, route.proof);
  const { kind, id, name, role } = identity;
  const scope = Scope.of(identity.policyId);
  if (reach === undefined) scope.assertAll('It concerns the whole manager, and your role is bound to a policy.');
  return { actor: { kind, id, name, role, sourceAddress }, scope, sessionId: identity.session?.id };
}

/** Throws `password-change-required` or `second-factor-missing`. */
function assertOwesNothing({ session }: Identity, admitted: RouteDefinition['whileOwing'] = []): void {
  if (!session?.owes || admitted.includes(session.owes)) return;
  if (session.owes === 'password') throw new Problem('password-change-required');
  throw new Problem('second-factor-missing');
}

/** Throws `proof-required`, `second-factor-missing` or `forbidden`. */
function assertProof({ session }: Identity, proof: RouteDefinition['proof']): void {
  if (proof === undefined || (proof === 'recent' && !session)) return;
  if (!session) throw new Problem('forbidden', { detail: 'No API key may do this: somebody has to sign in.' });
  if (proof === 'person' && !session.hasSecondFactor) throw new Problem('second-factor-missing');
  if (!session.isProven) throw new Problem('proof-required');
}

/** An Authorization header decides alone; a cookie counts only without one. */
async function identify(
  request: IncomingMessage,
  sourceAddress: string | null,
  { authenticator, cookie }: Admission,
): Promise<Identity | undefined> {
  const { authorization } = request.headers;
  if (authorization !== undefined) {
    const [, key] = BEARER.exec(authorization) ?? [];
    return key === undefined ? undefined : await authenticator.byApiKey(key, sourceAddress);
  }
  const secret = cookie.read(request.headers.cookie);
  return secret === undefined ? undefined : await authenticator.bySessionSecret(secret);
}

function assertCsrf(request: IncomingMessage, expected: Buffer): void {
  const token = String(request.headers['x-csrf-token'] ?? '');
  const hash = createHash('sha256').update(token, 'utf8').digest();
  if (hash.length === expected.length && timingSafeEqual(hash, expected)) return;
  throw new Problem('csrf-token-invalid', { detail: 'Send X-CSRF-Token as POST /api/v1/sessions answered it.' });
}

/** The peer's address, IPv4 in its own form. */
export function sourceAddressOf(request: IncomingMessage): string | null {
  const { remoteAddress } = request.socket;
  return remoteAddress === undefined ? null : plainAddress(remoteAddress);
}
