import { Problem, type FieldError } from '../lib/problem.js';
import { isLockable, SETTING_KEYS, SETTINGS_CATALOGUE } from './settings-catalogue.js';
import {
  forcedValue,
  violatedLock,
  type LockBound,
  type PolicyRef,
  type ResolvedSettings,
} from './resolve-settings.js';
import type { ComputerKind, LockMode, SettingKey, SettingOverrides, SettingValue } from './setting-values.js';

export interface OverrideRefusal {
  readonly key: SettingKey;
  readonly code: 'setting-locked' | 'forced-by-kind';
  /** The locking policy; null where the kind of computer refuses, or it is not shown. */
  readonly policy: PolicyRef | null;
  /** One sentence for people: what is refused, and how to mend it. */
  readonly detail: string;
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
    if (forced !== undefined && forced !== value)
      return [{ key, code: 'forced-by-kind', policy: null, detail: sayForced(key, forced) }];
    const lock = violatedLock(above.bounds, key, value);
    return lock ? [{ key, code: 'setting-locked', policy: lock.policy, detail: sayLocked(key, lock) }] : [];
  });
}

/** Throws `setting-locked` or `forced-by-kind` (the first refusal's) with every refused key. */
export function assertOverridesCount(check: OverrideCheck): void {
  const refusals = checkOverrides(check);
  const [first] = refusals;
  if (!first) return;
  throw new Problem(first.code, {
    detail: refusals.map(({ detail }) => detail).join(' '),
    errors: fieldsOf(refusals),
    members: { policy: first.policy },
  });
}

/** What `assertOverridesCount` would refuse. */
export function overrideFaults(check: OverrideCheck): readonly FieldError[] {
  return fieldsOf(checkOverrides(check));
}

function fieldsOf(refusals: readonly OverrideRefusal[]): readonly FieldError[] {
  return refusals.map(({ key, detail }) => ({ pointer: `#/${key}`, detail }));
}

function sayForced(key: SettingKey, forced: SettingValue): string {
  return `${key} is forced to ${JSON.stringify(forced)} by the kind of computer: leave it inherited (null).`;
}

function sayLocked(key: SettingKey, { mode, policy, value }: LockBound): string {
  const by = policy ? `the policy "${policy.name}"` : 'a policy above those that you may see';
  if (mode === 'locked') return `${key} is locked by ${by}: leave it inherited (null), or unlock it there.`;
  return `${key} must be ${sayBound(key, value)} while ${by} locks it "tightenOnly".`;
}

function sayBound(key: SettingKey, value: SettingValue): string {
  const { stricter } = SETTINGS_CATALOGUE[key];
  const bound = JSON.stringify(value);
  if (stricter === 'less') return `${bound} or less`;
  return stricter === 'more' ? `${bound} or more` : bound;
}

/** A key without an order cannot be locked `tightenOnly`. */
export function lockFaults(key: SettingKey, mode: LockMode): readonly FieldError[] {
  if (isLockable(key, mode)) return [];
  return [{ pointer: '#/mode', detail: `${key} has no order of strictness, so it can only be "locked"` }];
}

/** Throws `request-invalid` where a key without an order would be locked `tightenOnly`. */
export function assertLockable(key: SettingKey, mode: LockMode): void {
  const errors = lockFaults(key, mode);
  if (errors.length > 0) throw new Problem('request-invalid', { detail: `${errors[0]?.detail}.`, errors });
}
