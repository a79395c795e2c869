import type { RouteDefinition } from '../admin-api/route.js';
import type { Sql } from '../database/sql.js';
import { alertRoutes } from './alert-routes.js';
import { createAlertService, type AlertServiceDeps } from './alert-service.js';

/** The admin side of alerts: the routes below /api/v1/alerts. */
export function composeAlerts(deps: AlertServiceDeps & { readonly sql: Sql }): {
  readonly routes: readonly RouteDefinition[];
} {
  const alerts = createAlertService(deps);
  return { routes: alertRoutes({ alerts, sql: deps.sql, fleetClock: deps.fleetClock }) };
}
