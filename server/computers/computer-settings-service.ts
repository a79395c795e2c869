import { isDeepStrictEqual } from 'node:util';
import { settingsDocument } from '../../policies/fingerprint.js';
import { assertOverridesCount, overrideFaults } from '../../policies/override-rules.js';
import { effectiveValues } from '../../policies/resolve-settings.js';
import { applySettingsPatch, parseSettingsPatch, readSettingsPatch } from '../../policies/settings-patch.js';
import { Problem, type FieldError } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import { editForest, type Caller, type ForestEdit } from '../policies/forest-edit.js';
import { changedOverrides } from '../policies/policy-rules.js';
import type { SettingsEdit, SettingsView } from '../policies/policy-settings-service.js';
import { settingsSeenBy } from '../policies/settings-seen.js';
import { auditComputer } from './computer-audit.js';
import { createComputerRepository } from './computer-repository.js';
import { overridesOrNull, resolveComputer, rulesSinceAfter } from './computer-rules.js';
import { lockComputer, resolvedPolicy, type ComputerServiceDeps } from './computer-service.js';
import type { Computer } from './computer.js';

export interface ComputerSettingsService {
  get(scope: Scope, computerId: string): Promise<SettingsView>;
  edit(caller: Caller, computerId: string, edit: SettingsEdit): Promise<SettingsView>;
  /** What locks above or its kind void of a patch, as far as it can be read; nothing for an unknown computer. */
  editFaults(scope: Scope, computerId: string, patch: unknown): Promise<readonly FieldError[]>;
}

/** How often a read is repeated when the computer is moved and its policy deleted between its two steps. */
const READ_ATTEMPTS = 3;

export function createComputerSettingsService(deps: ComputerServiceDeps): ComputerSettingsService {
  const { cache } = deps;
  const repository = createComputerRepository(deps.manager);
  const viewOf = async (scope: Scope, computerId: string): Promise<SettingsView> => {
    for (let attempt = 1; attempt <= READ_ATTEMPTS; attempt += 1) {
      const computer = await repository.find(scope, computerId);
      if (!computer) throw new Problem('computer-not-found');
      await cache.refresh();
      const policy = cache.resolvedOf(computer.policyId);
      if (!policy) continue;
      const resolved = resolveComputer(policy, computer);
      const { fingerprint } = settingsDocument(effectiveValues(resolved));
      const { settings } = settingsSeenBy(scope, cache.policies(), resolved);
      return { revision: computer.revision, fingerprint, settings };
    }
    throw new Problem('unavailable', { detail: 'The computer is being moved at this moment.', retryAfterSeconds: 1 });
  };
  return {
    get: viewOf,
    async editFaults(scope, computerId, patch) {
      const computer = await repository.find(scope, computerId);
      if (!computer) return [];
      await cache.refresh();
      const resolved = cache.resolvedOf(computer.policyId);
      if (!resolved) return [];
      const above = settingsSeenBy(scope, cache.policies(), resolved);
      const set = changedOverrides(computer.overrides ?? {}, readSettingsPatch(patch, '#').patch.set);
      return overrideFaults({ above, set, kind: computer.kind });
    },
    async edit(caller, computerId, edition) {
      await editForest(deps, (edit) => editOverrides(deps, edit, { caller, computerId, ...edition }));
      deps.hints.reconsider([computerId]);
      return viewOf(caller.scope, computerId);
    },
  };
}

interface Edition extends SettingsEdit {
  readonly caller: Caller;
  readonly computerId: string;
}

async function editOverrides(deps: ComputerServiceDeps, edit: ForestEdit, asked: Edition): Promise<void> {
  const { caller } = asked;
  const patch = parseSettingsPatch(asked.patch);
  const repository = createComputerRepository(edit.manager);
  const before = await lockComputer(repository, caller.scope, asked);
  const stored = before.overrides ?? {};
  const above = resolvedPolicy(edit, before.policyId);
  const seen = settingsSeenBy(caller.scope, edit.policies, above);
  assertOverridesCount({ above: seen, set: changedOverrides(stored, patch.set), kind: before.kind });
  const overrides = overridesOrNull(applySettingsPatch(stored, patch));
  if (isDeepStrictEqual(overrides, before.overrides)) return;
  const wanted: Computer = { ...before, overrides };
  const rulesSince = rulesSinceAfter({
    before,
    after: wanted,
    policyBefore: above,
    policyAfter: above,
    policyRulesSince: edit.policies.get(before.policyId)?.rulesSince ?? 0,
    at: edit.at.fleet,
  });
  const note = { actor: caller.actor, comment: asked.comment, at: edit.at };
  const after = await repository.update({ ...wanted, rulesSince }, note);
  edit.touch();
  await auditComputer(
    { ...deps, manager: edit.manager },
    { caller, action: 'computer.settings-changed', before, after },
  );
}
