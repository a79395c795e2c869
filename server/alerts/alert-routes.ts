import { parseRfc3339, toRfc3339 } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage, PlainPageQuery } from '../admin-api/page.js';
import { defineRoute, type AdminRequest, type RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { Alert } from './alert.js';
import {
  AlertActionBody,
  AlertActReply,
  AlertQuery,
  AlertReply,
  AssignAlertBody,
  CommentAlertBody,
  SnoozeAlertBody,
} from './alert-dto.js';
import { ALERT_ACT_ORDER, listAlertActs } from './alert-history-query.js';
import { ALERT_ORDER, listAlerts } from './alert-overview-query.js';
import { findAlert } from './alert-repository.js';
import { snoozeFaults } from './alert-rules.js';
import { assertWhole, assigneeFaults, type AlertService } from './alert-service.js';

export interface AlertRoutesDeps {
  readonly alerts: AlertService;
  readonly sql: Sql;
  readonly fleetClock: Pick<FleetClock, 'fleet' | 'toWall'>;
}

export function alertRoutes(deps: AlertRoutesDeps): readonly RouteDefinition[] {
  const { sql, fleetClock } = deps;
  const shown = (alert: Alert): AlertReply => toReply(alert, fleetClock);
  return [
    defineRoute({
      method: 'get',
      path: '/alerts',
      permission: 'auditor',
      reach: 'scope',
      summary: 'List alerts, newest first unless sorted otherwise; sorted by raisedAt',
      tag: 'alerts',
      query: AlertQuery,
      list: ALERT_ORDER,
      reply: { status: 200, body: pageSchemaOf(AlertReply) },
      handle: async ({ query, scope }) => ({ body: mapPage(await listAlerts(sql, scope, query), shown) }),
    }),
    defineRoute({
      method: 'get',
      path: '/alerts/:id',
      permission: 'auditor',
      reach: 'scope',
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
      method: 'get',
      path: '/alerts/:id/history',
      permission: 'auditor',
      reach: 'scope',
      summary: 'What was done to an alert, and by whom',
      tag: 'alerts',
      query: PlainPageQuery,
      list: ALERT_ACT_ORDER,
      reply: { status: 200, body: pageSchemaOf(AlertActReply) },
      async handle({ params, scope, query }) {
        const alert = await findAlert(sql, scope, params['id'] ?? '');
        if (!alert) throw new Problem('alert-not-found');
        assertWhole(alert);
        return { body: await listAlertActs(sql, alert.id, query) };
      },
    }),
    ...actRoutes(deps, shown),
  ];
}

type Shown = (alert: Alert) => AlertReply;

const REPLY = { status: 200, body: AlertReply } as const;

function actRoutes({ alerts, sql, fleetClock }: AlertRoutesDeps, shown: Shown): RouteDefinition[] {
  return [
    defineRoute({
      ...actOn('acknowledge', 'Say that somebody has seen it; it stays open until its condition ends'),
      body: AlertActionBody,
      handle: async (request) => ({ body: shown(await alerts.acknowledge(commandOf(request))) }),
    }),
    defineRoute({
      ...actOn('dismiss', 'Close an alert that does not resolve itself'),
      body: AlertActionBody,
      handle: async (request) => ({ body: shown(await alerts.dismiss(commandOf(request))) }),
    }),
    defineRoute({
      ...actOn('snooze', 'Notify nothing about it until an instant'),
      body: SnoozeAlertBody,
      check: ({ body: { until } }) =>
        until === undefined ? [] : snoozeFaults(parseRfc3339(until) ?? 0, fleetClock.toWall(fleetClock.fleet())),
      async handle(request) {
        const until = parseRfc3339(request.body.until) ?? Number.NaN;
        return { body: shown(await alerts.snooze(commandOf(request), until)) };
      },
    }),
    defineRoute({
      ...actOn('snooze', 'End the snoozing'),
      method: 'delete',
      handle: async ({ params, actor, scope }) => ({
        body: shown(await alerts.unsnooze({ id: params['id'] ?? '', actor, scope, comment: undefined })),
      }),
    }),
    defineRoute({
      ...actOn('comment', 'Say something about it; the alert shows the last comment, its history all'),
      body: CommentAlertBody,
      handle: async (request) => ({
        body: shown(await alerts.comment({ ...commandOf(request), comment: request.body.comment })),
      }),
    }),
    defineRoute({
      ...actOn('assign', 'Say who looks after it'),
      body: AssignAlertBody,
      check: ({ scope, body: { assignee } }) => (assignee === undefined ? [] : assigneeFaults(sql, scope, assignee)),
      handle: async (request) => ({ body: shown(await alerts.assign(commandOf(request), request.body.assignee)) }),
    }),
  ];
}

function actOn(act: string, summary: string) {
  const path = `/alerts/:id/${act}`;
  return {
    method: 'post',
    path,
    permission: 'operator',
    reach: 'scope',
    summary,
    tag: 'alerts',
    reply: REPLY,
  } as const;
}

function commandOf({ params, actor, scope, body }: AdminRequest<{ readonly comment?: string }>) {
  return { id: params['id'] ?? '', actor, scope, comment: body.comment };
}

function toReply(alert: Alert, clock: Pick<FleetClock, 'toWall'>): AlertReply {
  const { id, type, severity, state, computerId, computerName, occurrences, reason, detail } = alert;
  const { acknowledgedBy, comment, assignee, incidentId, heldBy, told } = alert;
  const shown = (instant: number): string => toRfc3339(clock.toWall(instant));
  const shownOrNull = (instant: number | null): string | null => (instant === null ? null : shown(instant));
  return {
    id,
    type,
    severity,
    state,
    computerId,
    computerName,
    raisedAt: shown(alert.raisedAt),
    occurrences,
    closedAt: shownOrNull(alert.closedAt),
    acknowledgedAt: shownOrNull(alert.acknowledgedAt),
    acknowledgedBy,
    comment,
    assignee,
    snoozedUntil: shownOrNull(alert.snoozedUntil),
    incidentId,
    flapping: alert.isFlapping,
    heldBy,
    told,
    reason,
    detail,
  };
}
