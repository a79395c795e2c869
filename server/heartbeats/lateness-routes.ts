import type { Scope } from '../access/scope.js';
import { refTo } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { LatenessDayDto, LatenessQuery, LatenessReply } from './lateness-dto.js';
import { readLateness, type LatenessQueryDeps } from './lateness-query.js';

export interface LatenessRoutesDeps extends LatenessQueryDeps {
  /** Throws `policy-not-found` for a policy outside the scope. */
  readonly assertPolicyVisible: (scope: Scope, policyId: string) => Promise<unknown>;
}

export function latenessRoutes(deps: LatenessRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/policies/:id/lateness',
      permission: 'auditor',
      reach: 'scope',
      tag: 'policies',
      summary: 'How late heartbeats came, by day',
      query: LatenessQuery,
      reply: { status: 200, body: { free: { ...refTo(LatenessReply), $comment: LatenessDayDto.name } } },
      async handle({ scope, params, query }) {
        const policyId = params['id'] ?? '';
        await deps.assertPolicyVisible(scope, policyId);
        return { body: await readLateness(deps, policyId, query.days) };
      },
    }),
  ];
}
