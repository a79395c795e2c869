import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { CreateRoutingBody, NotificationRouteReply, PatchRoutingBody, RoutingsQuery } from './routing-dto.js';
import type { RoutingService } from './routing-service.js';
import type { Routing } from './routing.js';
import { ROUTING_ORDER } from './routing-repository.js';

const tag = 'notifications';
const path = '/notification-routes';

export function routingRoutes({ routings }: { readonly routings: RoutingService }): readonly RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path,
      permission: 'auditor',
      reach: 'scope',
      summary: 'List which alerts go to which notification channel; sorted by name or createdAt',
      tag,
      query: RoutingsQuery,
      list: ROUTING_ORDER,
      reply: { status: 200, body: pageSchemaOf(NotificationRouteReply) },
      handle: async ({ scope, query }) => ({ body: mapPage(await routings.list(scope, query), toReply) }),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/:id`,
      permission: 'auditor',
      reach: 'scope',
      summary: 'One notification route',
      tag,
      reply: { status: 200, body: NotificationRouteReply },
      handle: async ({ scope, params }) => replyOf(await routings.get(scope, params['id'] ?? '')),
    }),
    ...writingRoutes(routings),
  ];
}

function writingRoutes(routings: RoutingService): RouteDefinition[] {
  return [
    defineRoute({
      method: 'post',
      path,
      permission: 'administrator',
      summary: 'Send alerts to a notification channel; an alert goes by every route that matches it',
      tag,
      body: CreateRoutingBody,
      reply: { status: 201, body: NotificationRouteReply },
      check: ({ body: { policyId, channelId } }) => routings.targetFaults({ policyId, channelId }),
      handle: async ({ body, actor }) => replyOf(await routings.create(body, actor)),
    }),
    defineRoute({
      method: 'patch',
      path: `${path}/:id`,
      permission: 'administrator',
      summary: 'Change a notification route; absent keeps what is, null takes a condition away',
      tag,
      body: PatchRoutingBody,
      needsIfMatch: true,
      reply: { status: 200, body: NotificationRouteReply },
      check: ({ body: { policyId, channelId } }) => routings.targetFaults({ policyId, channelId }),
      handle: async ({ params, body, actor, ifMatch }) =>
        replyOf(await routings.change({ id: params['id'] ?? '', revision: ifMatch, body }, actor)),
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/:id`,
      permission: 'administrator',
      summary: 'Remove a notification route; messages that are made already are still sent',
      tag,
      reply: { status: 204 },
      async handle({ params, actor }) {
        await routings.remove(params['id'] ?? '', actor);
        return {};
      },
    }),
  ];
}

function replyOf(routing: Routing) {
  return { body: toReply(routing), revision: routing.revision };
}

function toReply(routing: Routing): NotificationRouteReply {
  const { createdAt, updatedAt, ...same } = routing;
  return { ...same, createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString() };
}
