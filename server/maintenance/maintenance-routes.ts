import { toRfc3339 } from '../../lib/clock.js';
import { Problem, type FieldError } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import { pageSchemaOf, refTo } from '../admin-api/dto-schemas.js';
import { mapPage, parsePage } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import type { PolicySettingsCache } from '../policies/cached-settings.js';
import { policyFaults } from '../policies/index.js';
import {
  CreateMaintenanceWindowBody,
  MaintenanceWindowDto,
  MaintenanceWindowsQuery,
  SettingMaintenanceDto,
} from './maintenance-dto.js';
import { findComputer, listWindows, WINDOW_ORDER } from './maintenance-repository.js';
import { scopeFaults, timeFaults } from './maintenance-request.js';
import { createMaintenanceService, type MaintenanceServiceDeps } from './maintenance-service.js';
import type { MaintenanceView, SettingMaintenance } from './maintenance-view.js';
import { windowStateOf, type MaintenanceOrder } from './maintenance-window.js';

const tag = 'maintenance';
const path = '/maintenance-windows';
/** How many occurrences of the setting are told. */
const UPCOMING = 10;

export interface MaintenanceRoutesDeps extends MaintenanceServiceDeps {
  readonly sql: Sql;
  readonly cache: Pick<PolicySettingsCache, 'refresh' | 'resolvedOf'>;
  readonly maintenance: MaintenanceView;
}

/** Windows made by API, and what comes of the setting. */
export function maintenanceRoutes(deps: MaintenanceRoutesDeps): RouteDefinition[] {
  const windows = createMaintenanceService(deps);
  const shown = (order: MaintenanceOrder) => toDto(order, deps.clock.toWall(deps.clock.fleet()));
  return [
    defineRoute({
      method: 'get',
      path,
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary:
        'List maintenance windows made by API; with computerId, also the running and the next ones of its setting',
      query: MaintenanceWindowsQuery,
      list: WINDOW_ORDER,
      reply: { status: 200, body: LIST_SCHEMA },
      async handle({ scope, query }) {
        const { state, q, computerId } = query;
        const asked = computerId === undefined ? undefined : await readComputer(deps, scope, computerId);
        const filters = { state, q, computer: asked?.computer, now: deps.clock.toWall(deps.clock.fleet()) };
        const page = await listWindows(deps.sql, scope, { page: parsePage(query, WINDOW_ORDER), filters });
        return { body: { ...mapPage(page, shown), ...(asked ? { setting: asked.setting } : {}) } };
      },
    }),
    defineRoute({
      method: 'post',
      path,
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Notify nothing about a computer, a label or a subtree until an instant',
      body: CreateMaintenanceWindowBody,
      reply: { status: 201, body: MaintenanceWindowDto },
      check: async ({ scope, body, isSound }) => [
        ...timeFaults(body, { now: deps.clock.toWall(deps.clock.fleet()), isSound }),
        ...(isSound('#/computerId', '#/policyId') ? scopeFaults(body, scope) : []),
        ...(await policyFaults(deps.sql, scope, { policyId: body.policyId })),
        ...(await computerFaults(deps.sql, scope, body.computerId)),
      ],
      async handle({ actor, scope, body }) {
        return { status: 201, body: shown(await windows.create({ actor, scope }, body)) };
      },
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/:id`,
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'End a maintenance window at once, or forget one that has not begun',
      reply: { status: 204 },
      async handle({ actor, scope, params }) {
        await windows.end({ actor, scope }, params['id'] ?? '');
        return { status: 204 };
      },
    }),
  ];
}

const PAGE_SCHEMA = pageSchemaOf(MaintenanceWindowDto).free;
const LIST_SCHEMA = {
  free: {
    ...PAGE_SCHEMA,
    properties: {
      ...(PAGE_SCHEMA['properties'] as object),
      setting: { ...refTo(SettingMaintenanceDto), description: 'with computerId: what comes of its setting' },
    },
  },
};

async function computerFaults(sql: Sql, scope: Scope, computerId: string | undefined): Promise<readonly FieldError[]> {
  const isKnown = computerId === undefined || (await findComputer(sql, scope, computerId)) !== undefined;
  return isKnown ? [] : [{ pointer: '#/computerId', detail: 'is not a computer' }];
}

async function readComputer(deps: MaintenanceRoutesDeps, scope: Scope, computerId: string) {
  const row = await findComputer(deps.sql, scope, computerId);
  if (!row) throw new Problem('computer-not-found');
  await deps.cache.refresh();
  if (!deps.cache.resolvedOf(row.policy_id)) throw new Problem('computer-not-found');
  const setting = (await deps.maintenance.at(deps.sql, scope)).ofSetting(row, UPCOMING);
  return { computer: deps.maintenance.targetOf(row), setting: toSettingDto(setting) };
}

function toSettingDto({ source, running, until, next }: SettingMaintenance): SettingMaintenanceDto {
  return {
    source,
    running,
    until: until === null ? null : toRfc3339(until),
    next: next.map((span) => ({ startsAt: toRfc3339(span.from), endsAt: toRfc3339(span.until) })),
  };
}

function toDto(order: MaintenanceOrder, now: number): MaintenanceWindowDto {
  const { startsAt, endsAt, createdAt, ...same } = order;
  return {
    ...same,
    startsAt: startsAt.toISOString(),
    endsAt: endsAt.toISOString(),
    createdAt: createdAt.toISOString(),
    state: windowStateOf(order, now),
  };
}
