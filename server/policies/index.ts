export { ensureBasePolicy, type BasePolicyDeps } from './base-policy.js';
export { createSettingsCache, type PinnedForest, type PolicySettingsCache } from './cached-settings.js';
export { changesVerdictRules, verdictRulesBy, verdictRulesOf, type ValueOf } from './computer-settings.js';
export { composePolicies, type PoliciesDeps } from './compose-policies.js';
export { editForest, type Caller, type EditInstant, type ForestEdit, type ForestEditDeps } from './forest-edit.js';
export type { DependentsMove, PolicyDependents } from './policy-dependents.js';
export { readGeneration } from './forest-repository.js';
export { policyFaults } from './policy-references.js';
export { isPolicyVisible } from './policy-repository.js';
export {
  assertMovable,
  assertNameFree,
  assertNotTop,
  assertRevision,
  changedOverrides,
  ROOTS_ARE_FOR_ALL,
  wantedParent,
} from './policy-rules.js';
export { PolicyEntity, PolicyRevisionEntity } from './policy-entity.js';
export type { Policy } from './policy.js';
export { settingsSeenBy } from './settings-seen.js';
export { SettingsPatchMember } from './settings-member.js';
export type { ComputerSettings, ForestGeneration, SettingsCache, SettingsSubject } from './settings-cache.js';
export { createSettingsWatch, type NotificationClient } from './settings-watch.js';
