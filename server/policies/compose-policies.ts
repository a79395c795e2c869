import type { Scope } from '../access/scope.js';
import type { RouteDefinition } from '../admin-api/route.js';
import { sqlOfManager } from '../database/sql.js';
import { policyRoutes } from './policy-routes.js';
import { createPolicyService } from './policy-service.js';
import { createPolicySettingsService, type PolicySettingsDeps } from './policy-settings-service.js';

export type PoliciesDeps = PolicySettingsDeps;

export function composePolicies(deps: PoliciesDeps): {
  readonly routes: readonly RouteDefinition[];
  /** Throws `policy-not-found` for a policy outside the scope. */
  readonly assertVisible: (scope: Scope, policyId: string) => Promise<unknown>;
} {
  const policies = createPolicyService(deps);
  return {
    routes: policyRoutes({ sql: sqlOfManager(deps.manager), policies, settings: createPolicySettingsService(deps) }),
    assertVisible: (scope, policyId) => policies.get(scope, policyId),
  };
}
