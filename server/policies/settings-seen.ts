import { concealSettings } from '../../policies/conceal-settings.js';
import type { ResolvedSettings } from '../../policies/resolve-settings.js';
import type { Scope } from '../access/scope.js';
import type { Policy } from './policy.js';

/** The settings without the names of policies that the scope does not hold. */
export function settingsSeenBy(
  scope: Scope,
  policies: ReadonlyMap<string, Policy>,
  resolved: ResolvedSettings,
): ResolvedSettings {
  return scope.isAll ? resolved : concealSettings(resolved, (policyId) => scope.holds(policies, policyId));
}
