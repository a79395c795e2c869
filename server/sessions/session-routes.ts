import { Problem } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage, PlainPageQuery, type Page } from '../admin-api/page.js';
import { ownSession } from '../admin-api/own-session.js';
import { defineRoute, type AdminRequest, type RouteDefinition } from '../admin-api/route.js';
import type { SessionCookie } from '../admin-api/session-cookie.js';
import { ProofBody, SessionDto, SessionReply, SignInBody } from './session-dto.js';
import { SESSION_ORDER, type ListedSession } from './session-repository.js';
import type { OpenedSession, SessionService, ShownSession } from './session-service.js';

export interface SessionRouteDeps {
  readonly sessions: SessionService;
  readonly cookie: SessionCookie;
  /** Throws `user-not-found`. */
  readonly assertVisible: (scope: Scope, userId: string) => Promise<unknown>;
}

const tag = 'sessions';
const OWN = { tag, permission: 'auditor', reach: 'everyone', whileOwing: ['password', 'second-factor'] } as const;

export function sessionRoutes(deps: SessionRouteDeps): readonly RouteDefinition[] {
  return [...currentRoutes(deps), ...ownRoutes(deps), ...routesOfOthers(deps)];
}

function currentRoutes({ sessions, cookie }: SessionRouteDeps): readonly RouteDefinition[] {
  const answer = ({ secret, shown }: OpenedSession) => ({
    body: toReply(shown),
    headers: { 'Set-Cookie': cookie.set(secret) },
  });
  return [
    defineRoute({
      method: 'post',
      path: '/sessions',
      permission: 'public',
      summary: 'Sign in',
      tag,
      body: SignInBody,
      reply: { status: 201, body: SessionReply },
      async handle({ body: { name, password, code }, actor: { sourceAddress }, headers }) {
        const userAgent = headers['user-agent'] === undefined ? null : String(headers['user-agent']);
        return answer(await sessions.signIn({ name, password, code, sourceAddress, userAgent }));
      },
    }),
    defineRoute({
      ...OWN,
      method: 'post',
      path: '/sessions/current/proof',
      summary: 'Prove again who one is, for what asks for it; the cookie and the CSRF token change',
      body: ProofBody,
      reply: { status: 200, body: SessionReply },
      async handle(request) {
        const { actor, sessionId } = ownSession(request);
        const { name, sourceAddress } = actor;
        const { password, code } = request.body;
        return answer(await sessions.prove(sessionId, { name, password, code, sourceAddress }));
      },
    }),
    defineRoute({
      ...OWN,
      method: 'get',
      path: '/sessions/current',
      summary: 'Who is signed in, and the CSRF token again',
      reply: { status: 200, body: SessionReply },
      handle: (request) => showCurrent({ sessions, cookie }, request),
    }),
    defineRoute({
      ...OWN,
      method: 'delete',
      path: '/sessions/current',
      summary: 'Sign out',
      reply: { status: 204 },
      async handle(request) {
        const { actor, sessionId } = ownSession(request);
        await sessions.end(sessionId, actor);
        return { headers: { 'Set-Cookie': cookie.clear() } };
      },
    }),
  ];
}

function ownRoutes({ sessions }: SessionRouteDeps): readonly RouteDefinition[] {
  return [
    defineRoute({
      ...OWN,
      method: 'get',
      path: '/sessions',
      summary: "List one's own sessions; an API key has none",
      query: PlainPageQuery,
      list: SESSION_ORDER,
      reply: { status: 200, body: pageSchemaOf(SessionDto) },
      handle: async ({ actor, sessionId, query }) => ({
        body: toPage(await sessions.listOfUser(actor.id, query), sessionId),
      }),
    }),
    defineRoute({
      ...OWN,
      method: 'delete',
      path: '/sessions/:id',
      summary: "End one of one's own sessions",
      reply: { status: 204 },
      async handle(request) {
        const { actor } = ownSession(request);
        await sessions.end(request.params['id'] ?? '', actor);
        return {};
      },
    }),
  ];
}

function routesOfOthers({ sessions, assertVisible }: SessionRouteDeps): readonly RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/users/:id/sessions',
      permission: 'auditor',
      reach: 'scope',
      tag: 'users',
      summary: "List a user's sessions",
      query: PlainPageQuery,
      list: SESSION_ORDER,
      reply: { status: 200, body: pageSchemaOf(SessionDto) },
      async handle({ params, scope, sessionId, query }) {
        const id = params['id'] ?? '';
        await assertVisible(scope, id);
        return { body: toPage(await sessions.listOfUser(id, query), sessionId) };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/users/:id/sessions',
      permission: 'administrator',
      reach: 'scope',
      tag: 'users',
      summary: "End all of a user's sessions",
      reply: { status: 204 },
      async handle({ params, actor, scope }) {
        const id = params['id'] ?? '';
        await assertVisible(scope, id);
        await sessions.endAllOf(id, actor);
        return {};
      },
    }),
  ];
}

async function showCurrent(
  { sessions, cookie }: Pick<SessionRouteDeps, 'sessions' | 'cookie'>,
  request: AdminRequest<unknown, unknown>,
) {
  ownSession(request);
  const secret = cookie.read(String(request.headers['cookie'] ?? ''));
  const shown = secret === undefined ? undefined : await sessions.show(secret);
  if (!shown) throw new Problem('session-not-found');
  return { body: toReply(shown) };
}

function toReply({ user, csrfToken, expiresAt, provenUntil }: ShownSession): SessionReply {
  return { user, csrfToken, expiresAt: expiresAt.toISOString(), provenUntil: provenUntil.toISOString() };
}

function toPage(page: Page<ListedSession>, currentId: string | undefined): Page<SessionDto> {
  return mapPage(page, ({ id, createdAt, usedAt, expiresAt, sourceAddress, userAgent }) => ({
    id,
    current: id === currentId,
    createdAt: createdAt.toISOString(),
    usedAt: usedAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
    sourceAddress,
    userAgent,
  }));
}
