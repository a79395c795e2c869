import { parseRfc3339 } from '../../lib/clock.js';
import { PageQuery, PlainPageQuery } from '../admin-api/page.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { policyFaults } from '../policies/index.js';
import { CommentQuery } from '../policies/policy-dto.js';
import { SETTINGS_PATCH_SCHEMA, SETTINGS_VIEW_SCHEMA } from '../policies/settings-schema.js';
import {
  ChangeComputerBody,
  ComputerDetailDto,
  ComputerDto,
  ComputersQuery,
  CreateComputerBody,
  DeleteComputerQuery,
  GapDto,
  HeartbeatDto,
  PowerStateBody,
  StatusChangeDto,
} from './computer-dto.js';
import { type ComputerHistory, GAP_ORDER, RING_ORDER, STATUS_ORDER } from './computer-history-query.js';
import type { ComputerLifecycleService } from './computer-lifecycle-service.js';
import type { ComputerOverview } from './computer-overview-query.js';
import { expiryFaults } from './computer-rules.js';
import type { ComputerService } from './computer-service.js';
import type { ComputerSettingsService } from './computer-settings-service.js';
import { COMPUTER_ORDER, parseFilters } from './computer-list-query.js';

const tag = 'computers';

export interface ComputerRoutesDeps {
  /** Reads outside a transaction. */
  readonly sql: Sql;
  readonly clock: Pick<FleetClock, 'fleet' | 'toWall'>;
  readonly computers: ComputerService;
  readonly settings: ComputerSettingsService;
  readonly lifecycle: ComputerLifecycleService;
  readonly overview: ComputerOverview;
  readonly history: ComputerHistory;
}

export function computerRoutes(deps: ComputerRoutesDeps): RouteDefinition[] {
  return [
    ...readingRoutes(deps),
    ...editingRoutes(deps),
    ...settingsRoutes(deps),
    ...lifecycleRoutes(deps),
    ...historyRoutes(deps),
  ];
}

const DETAIL = { status: 200, body: ComputerDetailDto } as const;

function readingRoutes({ overview }: ComputerRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/computers',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'List computers',
      query: ComputersQuery,
      list: COMPUTER_ORDER,
      reply: { status: 200, body: pageSchemaOf(ComputerDto) },
      async handle({ scope, query }) {
        return { body: await overview.list(scope, query, parseFilters(query)) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/computers/:id',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Read a computer',
      reply: DETAIL,
      async handle({ scope, params }) {
        const body = await overview.get(scope, params['id'] ?? '');
        return { body, revision: body.revision };
      },
    }),
  ];
}

function editingRoutes({ computers, overview, sql }: ComputerRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'post',
      path: '/computers',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Make a record beforehand',
      body: CreateComputerBody,
      reply: { status: 201, body: ComputerDetailDto },
      check: ({ scope, body: { policyId } }) => policyFaults(sql, scope, { policyId }),
      async handle({ actor, scope, body: asked }) {
        const { name, policyId, kind = 'agent', address = null, labels = {}, comment = '' } = asked;
        const { powerState = 'unknown' } = asked;
        const wanted = { name, policyId, kind, address, labels, powerState, comment };
        const { id } = await computers.create({ actor, scope }, wanted);
        const body = await overview.get(scope, id);
        return { status: 201, body, revision: body.revision };
      },
    }),
    defineRoute({
      method: 'patch',
      path: '/computers/:id',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Rename, move, label or address a computer',
      body: ChangeComputerBody,
      needsIfMatch: true,
      reply: DETAIL,
      check: async ({ scope, params: { id }, body }) => [
        ...(await policyFaults(sql, scope, { policyId: body.policyId })),
        ...(id === undefined ? [] : await computers.changeFaults(scope, id, body)),
      ],
      async handle({ actor, scope, params, body: changes, ifMatch }) {
        const { id } = await computers.edit({ actor, scope }, params['id'] ?? '', { changes, ifMatch });
        const body = await overview.get(scope, id);
        return { body, revision: body.revision };
      },
    }),
  ];
}

function settingsRoutes({ settings }: ComputerRoutesDeps): RouteDefinition[] {
  const path = '/computers/:id/settings';
  return [
    defineRoute({
      method: 'get',
      path,
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Effective settings of a computer',
      reply: { status: 200, body: SETTINGS_VIEW_SCHEMA },
      async handle({ scope, params }) {
        const body = await settings.get(scope, params['id'] ?? '');
        return { body, revision: body.revision };
      },
    }),
    defineRoute({
      method: 'patch',
      path,
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: "Change a computer's own overrides",
      body: SETTINGS_PATCH_SCHEMA,
      query: CommentQuery,
      needsIfMatch: true,
      reply: { status: 200, body: SETTINGS_VIEW_SCHEMA },
      check: ({ scope, params: { id }, body }) => (id === undefined ? [] : settings.editFaults(scope, id, body)),
      async handle({ actor, scope, params, body: patch, query: { comment = '' }, ifMatch }) {
        const body = await settings.edit({ actor, scope }, params['id'] ?? '', { patch, comment, ifMatch });
        return { body, revision: body.revision };
      },
    }),
  ];
}

function lifecycleRoutes({ lifecycle, overview, clock }: ComputerRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'delete',
      path: '/computers/:id',
      permission: 'administrator',
      reach: 'scope',
      tag,
      summary: 'Revoke a computer and forget its record',
      query: DeleteComputerQuery,
      reply: { status: 204 },
      async handle({ actor, scope, params, query: { force }, ifMatch }) {
        await lifecycle.remove({ actor, scope }, params['id'] ?? '', { ifMatch, isForced: force === 'true' });
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/computers/:id/revoke',
      permission: 'administrator',
      reach: 'scope',
      tag,
      summary: 'Revoke its certificates and accept nothing of it any more',
      reply: DETAIL,
      async handle({ actor, scope, params }) {
        await lifecycle.revoke({ actor, scope }, params['id'] ?? '');
        const body = await overview.get(scope, params['id'] ?? '');
        return { body, revision: body.revision };
      },
    }),
    defineRoute({
      method: 'put',
      path: '/computers/:id/power-state',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Tell whether the machine runs',
      body: PowerStateBody,
      reply: DETAIL,
      check: ({ body }) => expiryFaults(toExpiry(body), clock.toWall(clock.fleet())),
      async handle({ actor, scope, params, body: report }) {
        const { state, source } = report;
        await lifecycle.setPower({ actor, scope }, params['id'] ?? '', {
          state,
          source,
          expiresAtMs: toExpiry(report),
        });
        const body = await overview.get(scope, params['id'] ?? '');
        return { body, revision: body.revision };
      },
    }),
  ];
}

function historyRoutes({ computers, history }: ComputerRoutesDeps): RouteDefinition[] {
  return [
    defineRoute({
      method: 'get',
      path: '/computers/:id/status-history',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Every change of its status',
      query: PageQuery,
      list: STATUS_ORDER,
      reply: { status: 200, body: pageSchemaOf(StatusChangeDto) },
      async handle({ scope, params, query }) {
        const { id } = await computers.get(scope, params['id'] ?? '');
        return { body: await history.listStatuses(id, query) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/computers/:id/heartbeats',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Its last receipts, at most 100',
      query: PlainPageQuery,
      list: RING_ORDER,
      reply: { status: 200, body: pageSchemaOf(HeartbeatDto) },
      async handle({ scope, params, query }) {
        const { id } = await computers.get(scope, params['id'] ?? '');
        return { body: await history.listHeartbeats(id, query) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/computers/:id/gaps',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Every silence longer than interval and grace',
      query: PlainPageQuery,
      list: GAP_ORDER,
      reply: { status: 200, body: pageSchemaOf(GapDto) },
      async handle({ scope, params, query }) {
        const { id } = await computers.get(scope, params['id'] ?? '');
        return { body: await history.listGaps(id, query) };
      },
    }),
  ];
}

/** Wall time in Unix milliseconds. */
function toExpiry({ expiresAt }: Pick<PowerStateBody, 'expiresAt'>): number | null {
  return parseRfc3339(expiresAt ?? '') ?? null;
}
