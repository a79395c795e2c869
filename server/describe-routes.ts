import { composeAdminRoutes, type AdminRoutesDeps } from './admin-api/compose-admin-api.js';
import { openApiDocument, type OpenApiDocument } from './admin-api/openapi.js';
import { withDescription } from './admin-api/openapi-route.js';
import type { RouteDefinition } from './admin-api/route.js';
import { createSessionCookie } from './admin-api/session-cookie.js';
import { composeRoutes, type RoutesDeps } from './compose-routes.js';
import { inert } from './inert.js';
import { MANAGER_VERSION } from './version.js';

/** As on loopback; over TLS only the cookie's name differs. */
const SECURE = false;

/** Every route of the admin API as the manager serves it, none of them callable. */
export function describeRoutes(): readonly RouteDefinition[] {
  const { routes } = composeRoutes(inert<RoutesDeps>('routes'));
  const admin = inert<AdminRoutesDeps>('admin');
  const all = composeAdminRoutes({
    clock: admin.clock,
    random: admin.random,
    inTransaction: admin.inTransaction,
    sql: admin.sql,
    audit: admin.audit,
    accessKey: admin.accessKey,
    dataDir: '.',
    passwords: inert('passwords'),
    secure: SECURE,
    routes,
  }).routes;
  return withDescription({ routes: all, version: MANAGER_VERSION, secure: SECURE });
}

/** The document of `GET /api/v1/openapi.json`, made without starting anything. */
export function describeApi(): OpenApiDocument {
  const cookieName = createSessionCookie({ secure: SECURE }).name;
  return openApiDocument({ routes: describeRoutes(), version: MANAGER_VERSION, cookieName });
}
