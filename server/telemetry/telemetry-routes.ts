import type { Scope } from '../access/scope.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { type ListOrder, PageQuery } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { ConnectionDto, InventoryDto, ListeningPortDto, MetricsDto, PackageDto } from './telemetry-dto.js';
import {
  createTelemetryReading,
  INVENTORY_ORDERS,
  type TelemetryReading,
  type TelemetryReadingDeps,
} from './telemetry-query.js';

export interface TelemetryRoutesDeps extends TelemetryReadingDeps {
  /** Throws `computer-not-found` for a computer outside the scope. */
  readonly assertVisible: (scope: Scope, computerId: string) => Promise<unknown>;
}

const tag = 'telemetry';
const permission = 'auditor';
const reach = 'scope';

/** What agents told of the computers that they run on. */
export function telemetryRoutes(deps: TelemetryRoutesDeps): RouteDefinition[] {
  const reading = createTelemetryReading(deps);
  return [...standingRoutes(deps, reading), ...listRoutes(deps, reading)];
}

function standingRoutes({ assertVisible }: TelemetryRoutesDeps, reading: TelemetryReading): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/computers/:id/metrics',
      permission,
      reach,
      tag,
      summary: 'Load, memory, disks and network of a computer, as last reported',
      reply: { status: 200, body: MetricsDto },
      async handle({ scope, params }) {
        await assertVisible(scope, params['id'] ?? '');
        return { body: await reading.metrics(params['id'] ?? '') };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/computers/:id/inventory',
      permission,
      reach,
      tag,
      summary: 'What is known of its packages, listening ports and connections',
      reply: { status: 200, body: InventoryDto },
      async handle({ scope, params }) {
        await assertVisible(scope, params['id'] ?? '');
        return { body: await reading.inventory(params['id'] ?? '') };
      },
    }),
  ];
}

function listRoutes({ assertVisible }: TelemetryRoutesDeps, reading: TelemetryReading): RouteDefinition[] {
  const list = (
    name: string,
    about: { readonly summary: string; readonly item: Parameters<typeof pageSchemaOf>[0]; readonly order: ListOrder },
    read: (computerId: string, query: PageQuery) => Promise<unknown>,
  ): RouteDefinition =>
    defineRoute({
      method: 'get',
      path: `/computers/:id/inventory/${name}`,
      permission,
      reach,
      tag,
      summary: about.summary,
      query: PageQuery,
      list: about.order,
      reply: { status: 200, body: pageSchemaOf(about.item) },
      async handle({ scope, params, query }) {
        await assertVisible(scope, params['id'] ?? '');
        return { body: await read(params['id'] ?? '', query) };
      },
    });
  const { packages, listeningPorts, connections } = INVENTORY_ORDERS;
  const ports = { summary: 'Its listening ports', item: ListeningPortDto, order: listeningPorts };
  return [
    list('packages', { summary: 'Its installed packages', item: PackageDto, order: packages }, reading.packages),
    list('listening-ports', ports, reading.listeningPorts),
    list('connections', { summary: 'Its connections', item: ConnectionDto, order: connections }, reading.connections),
  ];
}
