import { mapPage, PageQuery } from '../admin-api/page.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import {
  CreatedEnrollmentTokenDto,
  CreateEnrollmentTokenBody,
  EnrollmentTokenDto,
  toEnrollmentTokenDto,
} from './token-dto.js';
import { createEnrollmentTokenService, type EnrollmentTokenDeps } from './token-service.js';
import { TOKEN_ORDER } from './token-repository.js';

const tag = 'enrollment';
const path = '/enrollment-tokens';

/** The operators' side of enrollment. */
export function composeEnrollmentTokens(deps: EnrollmentTokenDeps): { readonly routes: readonly RouteDefinition[] } {
  const tokens = createEnrollmentTokenService(deps);
  const routes = [
    defineRoute({
      method: 'post',
      path,
      permission: 'administrator',
      reach: 'scope',
      tag,
      summary: 'Make an enrollment token; it is shown once',
      body: CreateEnrollmentTokenBody,
      reply: { status: 201, body: CreatedEnrollmentTokenDto },
      check: ({ scope, body: { policyId, computerId, kind } }) =>
        tokens.createFaults(scope, { policyId, computerId, kind }),
      async handle({ actor, scope, body: asked }) {
        const { policyId, kind, uses, expiresInSeconds, labels = {}, ratePerSecond = null, computerId = null } = asked;
        const request = { policyId, kind, uses, expiresInSeconds, labels, ratePerSecond, computerId };
        return { status: 201, body: await tokens.create({ actor, scope }, request) };
      },
    }),
    defineRoute({
      method: 'get',
      path,
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'List enrollment tokens, never with their secret',
      query: PageQuery,
      list: TOKEN_ORDER,
      reply: { status: 200, body: pageSchemaOf(EnrollmentTokenDto) },
      handle: async ({ scope, query }) => ({ body: mapPage(await tokens.list(scope, query), toEnrollmentTokenDto) }),
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/:id`,
      permission: 'administrator',
      reach: 'scope',
      tag,
      summary: 'Make a token unusable',
      reply: { status: 204 },
      async handle({ actor, scope, params }) {
        await tokens.remove({ actor, scope }, params['id'] ?? '');
        return { status: 204 };
      },
    }),
  ];
  return { routes };
}
