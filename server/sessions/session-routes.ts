import { Problem } from '../../lib/problem.js';
import { defineRoute, type AdminRequest, type RouteDefinition } from '../admin-api/route.js';
import type { SessionCookie } from '../admin-api/session-cookie.js';
import { SessionReply, SignInBody } from './session-dto.js';
import { csrfTokenOf } from './session-secret.js';
import type { SessionService } from './session-service.js';

export interface SessionRouteDeps {
  readonly sessions: SessionService;
  readonly cookie: SessionCookie;
}

export function sessionRoutes({ sessions, cookie }: SessionRouteDeps): readonly RouteDefinition[] {
  return [
    defineRoute({
      method: 'post',
      path: '/sessions',
      permission: 'public',
      summary: 'Sign in',
      tag: 'sessions',
      body: SignInBody,
      reply: { status: 201, body: SessionReply },
      async handle({ body, actor }) {
        const attempt = { name: body.name, password: body.password, sourceAddress: actor.sourceAddress };
        const { user, secret, csrfToken, expiresAt } = await sessions.signIn(attempt);
        return {
          body: { user, csrfToken, expiresAt: expiresAt.toISOString() },
          headers: { 'Set-Cookie': cookie.set(secret) },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/sessions/current',
      permission: 'auditor',
      reach: 'everyone',
      summary: 'Who is signed in, and the CSRF token again',
      tag: 'sessions',
      reply: { status: 200, body: SessionReply },
      handle: (request) => showCurrent({ sessions, cookie }, request),
    }),
    defineRoute({
      method: 'delete',
      path: '/sessions/current',
      permission: 'auditor',
      reach: 'everyone',
      summary: 'Sign out',
      tag: 'sessions',
      reply: { status: 204 },
      async handle({ sessionId, actor }) {
        if (sessionId === undefined) throw new Problem('session-not-found');
        await sessions.end(sessionId, actor);
        return { headers: { 'Set-Cookie': cookie.clear() } };
      },
    }),
  ];
}

async function showCurrent({ sessions, cookie }: SessionRouteDeps, request: AdminRequest<unknown, unknown>) {
  const secret = request.sessionId === undefined ? undefined : cookie.read(String(request.headers['cookie'] ?? ''));
  const session = secret === undefined ? undefined : await sessions.find(secret);
  if (secret === undefined || !session) throw new Problem('session-not-found');
  const { userId: id, userName: name, role, policyId, expiresAt } = session;
  return {
    body: { user: { id, name, role, policyId }, csrfToken: csrfTokenOf(secret), expiresAt: expiresAt.toISOString() },
  };
}
