import express, { Router, type Express } from 'express';
import type { Registry } from 'prom-client';
import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import { Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import type { Authenticator } from '../access/authenticator.js';
import { hostAndOriginCheck, requestId, securityHeaders } from './admission.js';
import { documentationPages } from './documentation-pages.js';
import { healthRoutes } from './health-routes.js';
import type { ReadinessCheck } from './readiness-check.js';
import { mountRoutes } from './mount-routes.js';
import { withDescription } from './openapi-route.js';
import { problemHandler } from './problem-handler.js';
import type { RouteDefinition } from './route.js';
import { createSessionCookie } from './session-cookie.js';

export interface AdminAppDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly authenticator: Authenticator;
  readonly routes: readonly RouteDefinition[];
  readonly checks: readonly ReadinessCheck[];
  readonly metrics: Registry;
  readonly version: string;
  /** TLS is spoken. Without it the port serves loopback only. */
  readonly secure: boolean;
  readonly adminOrigin: string | undefined;
}

/** The Express application of the admin port. Throws when a route declares no permission. */
export function createAdminApp(deps: AdminAppDeps): Express {
  const { secure, adminOrigin, authenticator } = deps;
  const admission = { authenticator, cookie: createSessionCookie({ secure }) };
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', 'simple');
  app.set('case sensitive routing', true);
  app.use(requestId(deps.random), securityHeaders(secure), hostAndOriginCheck({ secure, adminOrigin }));
  app.use(healthRoutes({ ...deps, admission, metricsNeedCaller: secure }));
  app.use(documentationPages());
  const api = Router({ caseSensitive: true });
  mountRoutes(api, withDescription(deps), admission);
  app.use('/api/v1', api);
  app.use(() => {
    throw new Problem('route-not-found', { detail: 'GET /api/v1/openapi.json lists the routes.' });
  });
  app.use(problemHandler(deps.log));
  return app;
}
