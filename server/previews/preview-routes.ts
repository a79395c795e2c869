import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { PreviewComputerBody, PreviewDto, PreviewPolicyBody } from './preview-dto.js';
import type { PreviewService } from './preview-service.js';

export function previewRoutes(previews: PreviewService): RouteDefinition[] {
  return [
    defineRoute({
      method: 'post',
      path: '/policies/:id/preview',
      permission: 'operator',
      reach: 'scope',
      tag: 'policies',
      summary: 'What an edit of its settings or a move would do; stores nothing',
      body: PreviewPolicyBody,
      reply: { status: 200, body: PreviewDto },
      handle: async ({ scope, params, body }) => ({ body: await previews.ofPolicy(scope, params['id'] ?? '', body) }),
    }),
    defineRoute({
      method: 'post',
      path: '/computers/:id/preview',
      permission: 'operator',
      reach: 'scope',
      tag: 'computers',
      summary: 'What an edit of its overrides or a move would do; stores nothing',
      body: PreviewComputerBody,
      reply: { status: 200, body: PreviewDto },
      handle: async ({ scope, params, body }) => ({ body: await previews.ofComputer(scope, params['id'] ?? '', body) }),
    }),
  ];
}
