import type { Scope } from '../access/scope.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { EventDto, EventsQuery } from './event-dto.js';
import { COMPUTER_EVENT_ORDER, EVENT_ORDER, type EventList } from './event-list-query.js';

export interface EventRoutesDeps {
  readonly events: EventList;
  /** Throws `computer-not-found` for a computer outside the scope. */
  readonly assertVisible: (scope: Scope, computerId: string) => Promise<unknown>;
}

export function eventRoutes({ events, assertVisible }: EventRoutesDeps): RouteDefinition[] {
  const tag = 'events';
  const reply = { status: 200, body: pageSchemaOf(EventDto) } as const;
  return [
    defineRoute({
      method: 'get',
      path: '/events',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Events of all agents and of the manager',
      query: EventsQuery,
      list: EVENT_ORDER,
      reply,
      handle: async ({ scope, query }) => ({ body: await events.list(scope, query) }),
    }),
    defineRoute({
      method: 'get',
      path: '/computers/:id/events',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Events of a computer',
      query: EventsQuery,
      list: COMPUTER_EVENT_ORDER,
      reply,
      async handle({ scope, params, query }) {
        const computerId = params['id'] ?? '';
        await assertVisible(scope, computerId);
        return { body: await events.list(scope, query, computerId) };
      },
    }),
  ];
}
