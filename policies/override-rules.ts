import { Problem } from '../lib/problem.js';
import { isLockable, SETTING_KEYS } from './settings-catalogue.js';
import { forcedValue, violatedLock, type PolicyRef, type ResolvedSettings } from './resolve-settings.js';
import type { ComputerKind, LockMode, SettingKey, SettingOverrides } from './setting-values.js';

export interface OverrideRefusal {
  readonly key: SettingKey;
  readonly code: 'setting-locked' | 'forced-by-kind';
  /** The locking policy; null where the kind of computer refuses. */
  readonly policy: PolicyRef | null;
}

export interface OverrideCheck {
  /** What the parent policy (for a computer: its policy) resolves to; DEFAULT_SETTINGS for a root. */
  readonly above: ResolvedSettings;
  /** Only the keys that are newly set. */
  readonly set: SettingOverrides;
  /** For a computer. */
  readonly kind?: ComputerKind;
}

/** Which of the newly set keys a lock above or the kind of computer would void, in the catalogue's order. */
export function checkOverrides({ above, set, kind }: OverrideCheck): OverrideRefusal[] {
  return SETTING_KEYS.flatMap((key): OverrideRefusal[] => {
    const value = set[key];
    if (value === undefined) return [];
    const forced = kind && forcedValue(key, kind);
    if (forced !== undefined && forced !== value) return [{ key, code: 'forced-by-kind', policy: null }];
    const lock = violatedLock(above.bounds, key, value);
    return lock ? [{ key, code: 'setting-locked', policy: lock.policy }] : [];
  });
}

/** Throws `setting-locked` or `forced-by-kind` (the first refusal's) with every refused key. */
export function assertOverridesCount(check: OverrideCheck): void {
  const refusals = checkOverrides(check);
  const [first] = refusals;
  if (!first) return;
  throw new Problem(first.code, {
    detail: refusals.map((refusal) => sayRefusal(refusal)).join(' '),
    errors: refusals.map((refusal) => ({ pointer: `#/${refusal.key}`, detail: sayRefusal(refusal) })),
    members: { policy: first.policy },
  });
}

function sayRefusal({ key, policy }: OverrideRefusal): string {
  return policy ? `${key} is locked by the policy "${policy.name}".` : `${key} is forced by the kind of computer.`;
}

/** Throws `request-invalid` where a key without an order would be locked `tightenOnly`. */
export function assertLockable(key: SettingKey, mode: LockMode): void {
  if (isLockable(key, mode)) return;
  const detail = `${key} has no order of strictness, so it can only be "locked"`;
  throw new Problem('request-invalid', { detail: `${detail}.`, errors: [{ pointer: '#/mode', detail }] });
}
