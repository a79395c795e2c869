import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage, PageQuery } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { ApiKeyReply, CreateApiKeyBody, CreatedApiKeyReply } from './api-key-dto.js';
import { API_KEY_ORDER, type ApiKey } from './api-key-repository.js';
import type { ApiKeyService } from './api-key-service.js';

export function apiKeyRoutes({ apiKeys }: { readonly apiKeys: ApiKeyService }): readonly RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api-keys',
      permission: 'auditor',
      summary: 'List API keys, never the keys themselves; sorted by name or createdAt',
      tag: 'api-keys',
      query: PageQuery,
      list: API_KEY_ORDER,
      reply: { status: 200, body: pageSchemaOf(ApiKeyReply) },
      handle: async ({ query }) => ({ body: mapPage(await apiKeys.list(query), toReply) }),
    }),
    defineRoute({
      method: 'post',
      path: '/api-keys',
      permission: 'administrator',
      summary: 'Make an API key; it is shown this once',
      tag: 'api-keys',
      body: CreateApiKeyBody,
      reply: { status: 201, body: CreatedApiKeyReply },
      async handle({ body, actor }) {
        const { apiKey, key } = await apiKeys.create(body, actor);
        return { body: { ...toReply(apiKey), key } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/api-keys/:id',
      permission: 'administrator',
      summary: 'Remove an API key; it stops working at once',
      tag: 'api-keys',
      reply: { status: 204 },
      async handle({ params, actor }) {
        await apiKeys.remove(params['id'] ?? '', actor);
        return {};
      },
    }),
  ];
}

function toReply({ id, name, role, createdAt, createdBy, expiresAt }: ApiKey): ApiKeyReply {
  return {
    id,
    name,
    role,
    createdAt: createdAt.toISOString(),
    createdBy,
    expiresAt: expiresAt?.toISOString() ?? null,
  };
}
