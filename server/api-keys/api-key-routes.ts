import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage, PageQuery } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import { policyFaults } from '../policies/policy-references.js';
import { ApiKeyReply, CreateApiKeyBody, CreatedApiKeyReply } from './api-key-dto.js';
import { API_KEY_ORDER, type ApiKey } from './api-key-repository.js';
import type { ApiKeyService } from './api-key-service.js';

export interface ApiKeyRouteDeps {
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly apiKeys: ApiKeyService;
}

export function apiKeyRoutes({ sql, apiKeys }: ApiKeyRouteDeps): readonly RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api-keys',
      permission: 'auditor',
      reach: 'scope',
      summary: 'List API keys, never the keys themselves; sorted by name or createdAt',
      tag: 'api-keys',
      query: PageQuery,
      list: API_KEY_ORDER,
      reply: { status: 200, body: pageSchemaOf(ApiKeyReply) },
      handle: async ({ scope, query }) => ({ body: mapPage(await apiKeys.list(scope, query), toReply) }),
    }),
    defineRoute({
      method: 'post',
      path: '/api-keys',
      permission: 'administrator',
      proof: 'recent',
      reach: 'scope',
      summary: 'Make an API key; it is shown this once',
      tag: 'api-keys',
      body: CreateApiKeyBody,
      reply: { status: 201, body: CreatedApiKeyReply },
      check: ({ scope, body: { policyId } }) => policyFaults(sql, scope, { policyId }),
      async handle({ body, actor, scope }) {
        const { apiKey, key } = await apiKeys.create({ actor, scope }, body);
        return { body: { ...toReply(apiKey), key } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/api-keys/:id',
      permission: 'administrator',
      reach: 'scope',
      summary: 'Remove an API key; it stops working at once',
      tag: 'api-keys',
      reply: { status: 204 },
      async handle({ params, actor, scope }) {
        await apiKeys.remove({ actor, scope }, params['id'] ?? '');
        return {};
      },
    }),
  ];
}

function toReply(apiKey: ApiKey): ApiKeyReply {
  const { id, name, role, policyId, createdAt, createdBy, expiresAt, prefix, lastUsedAt, lastUsedFrom } = apiKey;
  return {
    id,
    name,
    role,
    policyId,
    createdAt: createdAt.toISOString(),
    createdBy,
    expiresAt: expiresAt?.toISOString() ?? null,
    prefix,
    lastUsedAt: lastUsedAt?.toISOString() ?? null,
    lastUsedFrom,
  };
}
