import { invalidFields, Problem } from '../../lib/problem.js';
import { assertMayTry, type LoginBackoff } from '../access/login-backoff.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { PageQuery, mapPage } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import { policyFaults } from '../policies/policy-references.js';
import { ChangePasswordBody, CreateUserBody, PatchUserBody, UserReply } from './user-dto.js';
import type { UserService } from './user-service.js';
import type { User } from './user.js';
import { USER_ORDER } from './user-repository.js';

export interface UserRouteDeps {
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly users: UserService;
  readonly backoff: LoginBackoff;
  /** The value of a `Set-Cookie` that ends the browser's session. */
  readonly clearCookie: () => string;
}

const BASE = { tag: 'users', path: '/users', reach: 'scope', reply: { status: 200, body: UserReply } } as const;

export function userRoutes(deps: UserRouteDeps): readonly RouteDefinition[] {
  const { users, sql } = deps;
  return [
    ...readingRoutes(users),
    defineRoute({
      ...BASE,
      method: 'post',
      permission: 'administrator',
      proof: 'recent',
      summary: 'Make a user',
      body: CreateUserBody,
      reply: { status: 201, body: UserReply },
      check: ({ scope, body: { policyId } }) => policyFaults(sql, scope, { policyId }),
      handle: async ({ body, actor, scope }) => reply(await users.create({ actor, scope }, body)),
    }),
    defineRoute({
      ...BASE,
      method: 'patch',
      path: '/users/:id',
      permission: 'administrator',
      proof: 'recent',
      summary: "Change a user's role, what it is bound to, or password, or disable him; ends that user's sessions",
      body: PatchUserBody,
      needsIfMatch: true,
      check: ({ scope, body: { policyId } }) => policyFaults(sql, scope, { policyId }),
      handle: async ({ params, body, actor, scope, ifMatch }) => {
        const target = { id: params['id'] ?? '', ...(ifMatch === undefined ? {} : { revision: ifMatch }) };
        return reply(await users.change({ actor, scope }, target, body));
      },
    }),
    defineRoute({
      method: 'delete',
      reach: 'scope',
      path: '/users/:id',
      permission: 'administrator',
      proof: 'recent',
      summary: 'Remove a user; the last administrator stays',
      tag: 'users',
      reply: { status: 204 },
      handle: async ({ params, actor, scope }) => {
        await users.remove({ actor, scope }, params['id'] ?? '');
        return {};
      },
    }),
    ownPasswordRoute(deps),
  ];
}

function readingRoutes(users: UserService): readonly RouteDefinition[] {
  return [
    defineRoute({
      ...BASE,
      method: 'get',
      permission: 'auditor',
      summary: 'List users; sorted by name or createdAt',
      query: PageQuery,
      list: USER_ORDER,
      reply: { status: 200, body: pageSchemaOf(UserReply) },
      handle: async ({ scope, query }) => ({ body: mapPage(await users.list(scope, query), toReply) }),
    }),
    defineRoute({
      ...BASE,
      method: 'get',
      path: '/users/:id',
      permission: 'auditor',
      summary: 'One user',
      handle: async ({ scope, params }) => reply(await users.get(scope, params['id'] ?? '')),
    }),
  ];
}

function ownPasswordRoute({ users, backoff, clearCookie }: UserRouteDeps): RouteDefinition {
  return defineRoute({
    method: 'post',
    path: '/users/current/password',
    permission: 'auditor',
    reach: 'everyone',
    whileOwing: ['password', 'second-factor'],
    summary: "Change one's own password; ends all of one's sessions, this one too",
    tag: 'users',
    body: ChangePasswordBody,
    reply: { status: 204 },
    handle: async ({ body, actor }) => {
      if (actor.kind !== 'user') throw new Problem('forbidden', { detail: 'An API key has no password.' });
      const attempt = { name: actor.name, address: actor.sourceAddress ?? 'unknown' };
      assertMayTry(backoff, attempt);
      if (!(await users.verify(actor.name, body.currentPassword)).isRight)
        throw invalidFields([{ pointer: '#/currentPassword', detail: 'is wrong' }]);
      backoff.succeeded(attempt);
      if (body.newPassword.normalize('NFKC') === body.currentPassword.normalize('NFKC'))
        throw invalidFields([{ pointer: '#/newPassword', detail: 'is the present one' }]);
      await users.changePassword(actor, actor.id, { password: body.newPassword, mustChangePassword: false });
      return { headers: { 'Set-Cookie': clearCookie() } };
    },
  });
}

function reply(user: User) {
  return { body: toReply(user), revision: user.revision };
}

export function toReply(user: User): UserReply {
  return {
    id: user.id,
    name: user.name,
    role: user.role,
    policyId: user.policyId,
    createdAt: user.createdAt.toISOString(),
    passwordChangedAt: user.passwordChangedAt.toISOString(),
    mustChangePassword: user.mustChangePassword,
    disabled: user.disabled,
    secondFactor: user.hasSecondFactor,
    lastSignedInAt: user.lastSignedInAt?.toISOString() ?? null,
  };
}
