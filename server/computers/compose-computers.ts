import type { Scope } from '../access/scope.js';
import type { RouteDefinition } from '../admin-api/route.js';
import { createComputerHistory } from './computer-history-query.js';
import { createComputerLifecycleService, type ComputerLifecycleDeps } from './computer-lifecycle-service.js';
import { createComputerOverview, type ComputerOverviewDeps } from './computer-overview-query.js';
import { computerRoutes } from './computer-routes.js';
import { createComputerService } from './computer-service.js';
import { createComputerSettingsService } from './computer-settings-service.js';

export type ComputersDeps = ComputerLifecycleDeps & ComputerOverviewDeps;

export interface Computers {
  readonly routes: readonly RouteDefinition[];
  /** Throws `computer-not-found` for a computer outside the scope. */
  readonly assertVisible: (scope: Scope, computerId: string) => Promise<unknown>;
}

export function composeComputers(deps: ComputersDeps): Computers {
  const computers = createComputerService(deps);
  const routes = computerRoutes({
    sql: deps.sql,
    clock: deps.clock,
    computers,
    settings: createComputerSettingsService(deps),
    lifecycle: createComputerLifecycleService(deps),
    overview: createComputerOverview(deps),
    history: createComputerHistory(deps),
  });
  return { routes, assertVisible: (scope, computerId) => computers.get(scope, computerId) };
}
