import { toRfc3339 } from '../../lib/clock.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { DeliveriesQuery, DeliveryDetailReply, DeliveryReply } from './delivery-dto.js';
import { DELIVERY_ORDER, type LoggedDelivery } from './delivery-list-query.js';
import type { DeliveryService } from './delivery-service.js';

export interface DeliveryRoutesDeps {
  readonly deliveries: DeliveryService;
  readonly fleetClock: Pick<FleetClock, 'toWall'>;
}

const tag = 'notifications';
const path = '/notification-deliveries';

export function deliveryRoutes({ deliveries, fleetClock }: DeliveryRoutesDeps): readonly RouteDefinition[] {
  const shown = (instant: number): string => toRfc3339(fleetClock.toWall(instant));
  return [
    defineRoute({
      method: 'get',
      path,
      permission: 'auditor',
      reach: 'scope',
      summary: 'The log of notifications, newest first unless sorted otherwise; sorted by createdAt',
      tag,
      query: DeliveriesQuery,
      list: DELIVERY_ORDER,
      reply: { status: 200, body: pageSchemaOf(DeliveryReply) },
      handle: async ({ scope, query }) => ({
        body: mapPage(await deliveries.list(scope, query), (one) => toReply(one, shown)),
      }),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/:id`,
      permission: 'auditor',
      reach: 'scope',
      summary: 'One notification with its attempts',
      tag,
      reply: { status: 200, body: DeliveryDetailReply },
      async handle({ scope, params }) {
        const { delivery, history } = await deliveries.get(scope, params['id'] ?? '');
        const attempts = history.map((attempt) => ({ ...attempt, endedAt: shown(attempt.endedAt) }));
        return { body: { ...toReply(delivery, shown), history: attempts } };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${path}/:id/resend`,
      permission: 'administrator',
      reach: 'scope',
      summary: 'Send a notification again, under the same id; dead letters too',
      tag,
      reply: { status: 200, body: DeliveryReply },
      handle: async ({ params, actor, scope }) => ({
        body: toReply(await deliveries.resend({ actor, scope }, params['id'] ?? ''), shown),
      }),
    }),
  ];
}

function toReply(delivery: LoggedDelivery, shown: (instant: number) => string): DeliveryReply {
  const { createdAt, dueAt, endedAt, ...same } = delivery;
  const isWaiting = delivery.state === 'queued' || delivery.state === 'failed';
  return {
    ...same,
    createdAt: shown(createdAt),
    dueAt: isWaiting ? shown(dueAt) : null,
    endedAt: endedAt === null ? null : shown(endedAt),
  };
}
