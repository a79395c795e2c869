import { toRfc3339 } from '../../lib/clock.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import {
  ChannelReply,
  ChannelsQuery,
  ChannelTestReply,
  CreateChannelBody,
  CreatedChannelReply,
  PatchChannelBody,
  RotatedSecretReply,
} from './channel-dto.js';
import { targetOf } from './channel-rules.js';
import type { ChannelService } from './channel-service.js';
import type { Channel } from './channel.js';
import type { DeliveryService } from './delivery-service.js';
import { CHANNEL_ORDER } from './channel-repository.js';

export interface ChannelRoutesDeps {
  readonly channels: ChannelService;
  readonly deliveries: Pick<DeliveryService, 'test'>;
  readonly fleetClock: Pick<FleetClock, 'toWall'>;
}

const tag = 'notifications';
const path = '/notification-channels';

export function channelRoutes(deps: ChannelRoutesDeps): readonly RouteDefinition[] {
  return [...readingRoutes(deps), ...writingRoutes(deps), ...actingRoutes(deps)];
}

function readingRoutes({ channels, fleetClock }: ChannelRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path,
      permission: 'auditor',
      summary: 'List notification channels, never their secrets; sorted by name or createdAt',
      tag,
      query: ChannelsQuery,
      list: CHANNEL_ORDER,
      reply: { status: 200, body: pageSchemaOf(ChannelReply) },
      handle: async ({ query }) => ({ body: mapPage(await channels.list(query), (one) => toReply(one, fleetClock)) }),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/:id`,
      permission: 'auditor',
      summary: 'One notification channel, without its secrets',
      tag,
      reply: { status: 200, body: ChannelReply },
      async handle({ params }) {
        const channel = await channels.get(params['id'] ?? '');
        return { body: toReply(channel, fleetClock), revision: channel.revision };
      },
    }),
  ];
}

function writingRoutes({ channels, fleetClock }: ChannelRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'post',
      path,
      permission: 'administrator',
      summary: "Make a notification channel; a webhook's signing secret is shown this once",
      tag,
      body: CreateChannelBody,
      reply: { status: 201, body: CreatedChannelReply },
      async handle({ body, actor }) {
        const { name, type, ...members } = body;
        const { channel, signingSecret } = await channels.create({ name, type, members }, actor);
        const shown = toReply(channel, fleetClock);
        const once = signingSecret === undefined ? {} : { signingSecret };
        return { body: { ...shown, ...once }, revision: channel.revision };
      },
    }),
    defineRoute({
      method: 'patch',
      path: `${path}/:id`,
      permission: 'administrator',
      summary: 'Change a notification channel; absent keeps what is',
      tag,
      body: PatchChannelBody,
      needsIfMatch: true,
      reply: { status: 200, body: ChannelReply },
      check: ({ params: { id }, body: { name: _name, ...members } }) =>
        id === undefined ? [] : channels.changeFaults(id, members),
      async handle({ params, body, actor, ifMatch }) {
        const { name, ...members } = body;
        const change = { id: params['id'] ?? '', revision: ifMatch, name, members };
        const channel = await channels.change(change, actor);
        return { body: toReply(channel, fleetClock), revision: channel.revision };
      },
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/:id`,
      permission: 'administrator',
      summary: 'Remove a notification channel that no route leads to; what waits for it becomes dead letters',
      tag,
      reply: { status: 204 },
      async handle({ params, actor }) {
        await channels.remove(params['id'] ?? '', actor);
        return {};
      },
    }),
  ];
}

function actingRoutes({ channels, deliveries, fleetClock }: ChannelRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'post',
      path: `${path}/:id/test`,
      permission: 'administrator',
      summary: 'Send a test now and tell how it went, within 30 s',
      tag,
      reply: { status: 200, body: ChannelTestReply },
      async handle({ params, actor }) {
        const { failure, refused, durationMs } = await deliveries.test(params['id'] ?? '', actor);
        const trouble = failure ?? refused;
        const told = { code: trouble?.code ?? null, error: trouble?.detail ?? null };
        return { body: { delivered: failure === undefined, ...told, durationMs } };
      },
    }),
    defineRoute({
      method: 'post',
      path: `${path}/:id/rotate-secret`,
      permission: 'administrator',
      summary: "Replace a webhook's signing secret; it is shown this once",
      tag,
      reply: { status: 200, body: RotatedSecretReply },
      async handle({ params, actor }) {
        const { signingSecret, previousUntil } = await channels.rotate(params['id'] ?? '', actor);
        return { body: { signingSecret, previousValidUntil: toRfc3339(fleetClock.toWall(previousUntil)) } };
      },
    }),
  ];
}

function toReply(channel: Channel, clock: Pick<FleetClock, 'toWall'>): ChannelReply {
  const { id, name, type, settings, revision, createdAt, createdBy, updatedAt, lastError } = channel;
  const shown = (instant: FleetInstant | null): string | null =>
    instant === null ? null : toRfc3339(clock.toWall(instant));
  return {
    id,
    name,
    type,
    target: targetOf(channel),
    ...settings,
    revision,
    createdAt: createdAt.toISOString(),
    createdBy,
    updatedAt: updatedAt.toISOString(),
    lastDeliveredAt: shown(channel.deliveredAt),
    lastFailedAt: shown(channel.failedAt),
    lastError,
  };
}
