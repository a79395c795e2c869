import type { RequestListener } from 'node:http';
import type { Registry } from 'prom-client';
import type { Clock } from '../../lib/clock.js';
import type { Log } from '../../lib/log.js';
import type { Random } from '../../lib/random.js';
import { createSealedBox } from '../../lib/sealed-box.js';
import { DEFAULT_ACCESS_RULES, type AccessRules } from '../access/access-rules.js';
import type { Authenticator } from '../access/authenticator.js';
import { createLoginBackoff } from '../access/login-backoff.js';
import type { Scope } from '../access/scope.js';
import { apiKeyRoutes, createApiKeyService } from '../api-keys/index.js';
import { auditRoutes, type AuditLog } from '../audit/index.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import type { Sql } from '../database/sql.js';
import { createSecondFactorJudge, createSecondFactorService, secondFactorRoutes } from '../second-factors/index.js';
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
  /** 32 bytes that the database never sees: they seal second factors. */
  readonly accessKey: Buffer;
  readonly rules?: AccessRules;
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
  const box = createSealedBox(deps.accessKey, deps.random);
  const { rules = DEFAULT_ACCESS_RULES } = deps;
  const cookie = createSessionCookie({ secure: deps.secure });
  const backoff = createLoginBackoff(deps.clock);
  const sessions = createSessionService({
    ...deps,
    rules,
    users,
    backoff,
    secondFactors: createSecondFactorJudge({ ...deps, box }),
  });
  const secondFactors = createSecondFactorService({ ...deps, box, endSessions });
  const assertVisible = (scope: Scope, id: string) => users.get(scope, id);
  const apiKeys = createApiKeyService(deps);
  const authenticator: Authenticator = { bySessionSecret: sessions.identify, byApiKey: apiKeys.identify };
  const routes: readonly RouteDefinition[] = [
    ...sessionRoutes({ sessions, cookie, assertVisible }),
    ...secondFactorRoutes({ secondFactors, assertVisible }),
    ...userRoutes({ sql: deps.sql, users, backoff, clearCookie: cookie.clear }),
    ...apiKeyRoutes({ sql: deps.sql, apiKeys }),
    ...auditRoutes(deps),
    ...deps.routes,
  ];
  return { routes, authenticator, firstAdministrator };
}

async function endSessions(sql: Sql, userId: string, but?: string): Promise<void> {
  await createSessionRepository(sql).removeOfUser(userId, but);
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
    endSessions,
  };
  const users = createUserService(userDeps);
  const { resetPasswords } = userDeps;
  return { users, resetPasswords, firstAdministrator: createFirstAdministrator(userDeps, users) };
}
