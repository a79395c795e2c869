import type { RouteDefinition } from '../admin-api/route.js';
import { policyRoutes } from './policy-routes.js';
import { createPolicyService } from './policy-service.js';
import { createPolicySettingsService, type PolicySettingsDeps } from './policy-settings-service.js';

export type PoliciesDeps = PolicySettingsDeps;

export function composePolicies(deps: PoliciesDeps): { readonly routes: readonly RouteDefinition[] } {
  return { routes: policyRoutes({ policies: createPolicyService(deps), settings: createPolicySettingsService(deps) }) };
}
