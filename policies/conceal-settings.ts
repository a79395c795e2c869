import type {
  LockBounds,
  ResolvedSetting,
  ResolvedSettingMap,
  ResolvedSettings,
  SettingSource,
  ShadowedValue,
  VoidOverride,
} from './resolve-settings.js';
import { SETTING_KEYS } from './settings-catalogue.js';
import type { SettingKey } from './setting-values.js';

/** Whether a policy may be named. */
type IsShown = (policyId: string) => boolean;

/**
 * The same effective values for somebody who must not see all the policies that they come from. Of what stands above it
 * tells only what counts, or would count next: the source is `above`, the lock has no policy, and the overrides above
 * that count no more or are void are left out.
 */
export function concealSettings({ settings, bounds }: ResolvedSettings, isShown: IsShown): ResolvedSettings {
  const concealed = SETTING_KEYS.map((key) => [key, concealSetting(settings[key], isShown)] as const);
  return {
    settings: Object.fromEntries(concealed) as unknown as ResolvedSettingMap,
    bounds: concealBounds(bounds, isShown),
  };
}

function concealSetting(setting: ResolvedSetting, isShown: IsShown): ResolvedSetting {
  const isHidden = (link: SettingSource): boolean => link.kind === 'policy' && !isShown(link.id);
  const { source, lock } = setting;
  const firstHidden = isHidden(source) ? -1 : setting.shadows.findIndex(isHidden);
  const shadows = setting.shadows.flatMap((link, place): ShadowedValue[] => {
    if (!isHidden(link)) return [link];
    return place === firstHidden ? [{ kind: 'above', value: link.value }] : [];
  });
  return {
    ...setting,
    source: isHidden(source) ? { kind: 'above' } : source,
    shadows,
    void: setting.void.filter((link) => !isHidden(link)).map((link) => concealVoid(link, isShown)),
    lock: lock && { mode: lock.mode, policy: shownOrNull(lock.policy, isShown) },
  };
}

function concealVoid(link: VoidOverride, isShown: IsShown): VoidOverride {
  return { ...link, by: shownOrNull(link.by, isShown) };
}

function concealBounds(bounds: LockBounds, isShown: IsShown): LockBounds {
  const concealed = (Object.keys(bounds) as SettingKey[]).map((key) => [
    key,
    bounds[key]?.map((bound) => ({ ...bound, policy: shownOrNull(bound.policy, isShown) })),
  ]);
  return Object.fromEntries(concealed) as LockBounds;
}

function shownOrNull<Ref extends { readonly id: string }>(policy: Ref | null, isShown: IsShown): Ref | null {
  return policy !== null && isShown(policy.id) ? policy : null;
}
