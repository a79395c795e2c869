import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { ClockDto, ClockQuery } from './clock-dto.js';
import type { ClockService } from './clock-service.js';

export function clockRoutes(clocks: ClockService): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/computers/:id/clock',
      permission: 'auditor',
      reach: 'scope',
      tag: 'computers',
      summary: 'How its clock stands and runs, what happened to it, and what to do',
      query: ClockQuery,
      reply: { status: 200, body: ClockDto },
      handle: async ({ scope, params, query }) => ({ body: await clocks.get(scope, params['id'] ?? '', query) }),
    }),
  ];
}
