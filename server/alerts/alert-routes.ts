import { toRfc3339 } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage } from '../admin-api/page.js';
import { defineRoute, type AdminRequest, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { Alert } from './alert.js';
import { AlertActionBody, AlertQuery, AlertReply } from './alert-dto.js';
import { listAlerts } from './alert-overview-query.js';
import { findAlert } from './alert-repository.js';
import type { AlertService } from './alert-service.js';

export interface AlertRoutesDeps {
  readonly alerts: AlertService;
  readonly sql: Sql;
  readonly fleetClock: Pick<FleetClock, 'toWall'>;
}

export function alertRoutes({ alerts, sql, fleetClock }: AlertRoutesDeps): readonly RouteDefinition[] {
  const shown = (alert: Alert): AlertReply => toReply(alert, fleetClock);
  return [
    defineRoute({
      method: 'get',
      path: '/alerts',
      permission: 'auditor',
      summary: 'List alerts, newest first unless sorted otherwise; sorted by raisedAt',
      tag: 'alerts',
      query: AlertQuery,
      reply: { status: 200, body: pageSchemaOf(AlertReply) },
      handle: async ({ query, scope }) => ({ body: mapPage(await listAlerts(sql, scope, query), shown) }),
    }),
    defineRoute({
      method: 'get',
      path: '/alerts/:id',
      permission: 'auditor',
      summary: 'One alert',
      tag: 'alerts',
      reply: { status: 200, body: AlertReply },
      async handle({ params, scope }) {
        const alert = await findAlert(sql, scope, params['id'] ?? '');
        if (!alert) throw new Problem('alert-not-found');
        return { body: shown(alert) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/alerts/:id/acknowledge',
      permission: 'operator',
      summary: 'Say that somebody has seen it; it stays open until its condition ends',
      tag: 'alerts',
      body: AlertActionBody,
      reply: { status: 200, body: AlertReply },
      handle: async (request) => ({ body: shown(await alerts.acknowledge(commandOf(request))) }),
    }),
    defineRoute({
      method: 'post',
      path: '/alerts/:id/dismiss',
      permission: 'operator',
      summary: 'Close an alert that does not resolve itself',
      tag: 'alerts',
      body: AlertActionBody,
      reply: { status: 200, body: AlertReply },
      handle: async (request) => ({ body: shown(await alerts.dismiss(commandOf(request))) }),
    }),
  ];
}

function commandOf({ params, actor, scope, body }: AdminRequest<AlertActionBody>) {
  return { id: params['id'] ?? '', actor, scope, comment: body.comment };
}

function toReply(alert: Alert, clock: Pick<FleetClock, 'toWall'>): AlertReply {
  const { id, type, severity, state, computerId, computerName, incidentId } = alert;
  const { raisedAt, occurrences, closedAt, reason, detail } = alert;
  const shown = (instant: number): string => toRfc3339(clock.toWall(instant));
  return {
    id,
    type,
    severity,
    state,
    computerId,
    computerName,
    incidentId,
    raisedAt: shown(raisedAt),
    occurrences,
    closedAt: closedAt === null ? null : shown(closedAt),
    reason,
    detail,
  };
}
