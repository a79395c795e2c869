import type { RequestListener } from 'node:http';
import type { Registry } from 'prom-client';
import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import type { Authenticator } from '../access/authenticator.js';
import { createLoginBackoff } from '../access/login-backoff.js';
import { apiKeyRoutes, createApiKeyService } from '../api-keys/index.js';
import { auditRoutes, type AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import type { Sql } from '../database/sql.js';
import { createSessionRepository, createSessionService, sessionRoutes } from '../sessions/index.js';
import {
  createFirstAdministrator,
  createFirstPasswordFile,
  createPasswordHasher,
  createResetPasswordFiles,
  createUserService,
  userRoutes,
  type FirstAdministrator,
  type PasswordHasher,
  type ResetPasswordFiles,
  type UserService,
} from '../users/index.js';
import { createAdminApp } from './admin-app.js';
import type { ReadinessCheck } from './readiness-check.js';
import type { RouteDefinition } from './route.js';
import { createSessionCookie } from './session-cookie.js';

export interface AccessDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  /** Reads outside a transaction, from a pool: `sqlOfClient(pool)`. */
  readonly sql: Sql;
  readonly audit: AuditLog;
  readonly dataDir: string;
  /** Replaces scrypt at its full cost. */
  readonly passwords?: PasswordHasher;
}

export interface AdminRoutesDeps extends AccessDeps {
  /** The admin port speaks TLS. Without it, it serves loopback only. */
  readonly secure: boolean;
  /** The routes of the other features. */
  readonly routes: readonly RouteDefinition[];
}

export interface AdminApiDeps extends AdminRoutesDeps {
  readonly log: Log;
  readonly adminOrigin: string | undefined;
  readonly version: string;
  readonly checks: readonly ReadinessCheck[];
  readonly metrics: Registry;
}

export interface AdminApi {
  /** For `createAdminServer`. */
  readonly app: RequestListener;
  readonly firstAdministrator: FirstAdministrator;
  /** Every route that is served below /api/v1, but for the document that describes them. */
  readonly routes: readonly RouteDefinition[];
}

/** Users, sessions, API keys, the audit list, and the application that serves them with all other routes. */
export function composeAdminApi(deps: AdminApiDeps): AdminApi {
  const { routes, authenticator, firstAdministrator } = composeAdminRoutes(deps);
  return { app: createAdminApp({ ...deps, routes, authenticator }), firstAdministrator, routes };
}

/** The routes with those of users, sessions, API keys and the audit list, and what tells who calls. */
export function composeAdminRoutes(deps: AdminRoutesDeps) {
  const { users, firstAdministrator } = composeUsers(deps);
  const cookie = createSessionCookie({ secure: deps.secure });
  const backoff = createLoginBackoff(deps.clock);
  const sessions = createSessionService({ ...deps, users, backoff });
  const apiKeys = createApiKeyService(deps);
  const authenticator: Authenticator = { bySessionSecret: sessions.identify, byApiKey: apiKeys.identify };
  const routes: readonly RouteDefinition[] = [
    ...sessionRoutes({ sessions, cookie }),
    ...userRoutes({ sql: deps.sql, users, backoff, clearCookie: cookie.clear }),
    ...apiKeyRoutes({ sql: deps.sql, apiKeys }),
    ...auditRoutes(deps),
    ...deps.routes,
  ];
  return { routes, authenticator, firstAdministrator };
}

/** Users alone, for `wardbeat admin reset-password` too. */
export function composeUsers(deps: AccessDeps): {
  readonly users: UserService;
  readonly firstAdministrator: FirstAdministrator;
  readonly resetPasswords: ResetPasswordFiles;
} {
  const userDeps = {
    ...deps,
    passwords: deps.passwords ?? createPasswordHasher(deps),
    firstPassword: createFirstPasswordFile(deps.dataDir),
    resetPasswords: createResetPasswordFiles(deps.dataDir),
    endSessions: (sql: Sql, userId: string) => createSessionRepository(sql).removeOfUser(userId),
  };
  const users = createUserService(userDeps);
  const { resetPasswords } = userDeps;
  return { users, resetPasswords, firstAdministrator: createFirstAdministrator(userDeps, users) };
}
