import { isAtLeastAsStrict, isSettingKey, SETTING_KEYS, SETTINGS_CATALOGUE } from './settings-catalogue.js';
import type {
  ComputerKind,
  LockMode,
  SettingKey,
  SettingOverrides,
  SettingValue,
  SettingValues,
} from './setting-values.js';

export type PolicyLocks = { readonly [K in SettingKey]?: LockMode };

export interface PolicyNode {
  readonly id: string;
  readonly name: string;
  readonly parentId: string | null;
  readonly settings: SettingOverrides;
  readonly locks: PolicyLocks;
}

export interface ComputerNode {
  readonly id: string;
  readonly name: string;
  readonly kind: ComputerKind;
  readonly overrides: SettingOverrides;
}

export interface PolicyRef {
  readonly id: string;
  readonly name: string;
}

export type SettingSource =
  | { readonly kind: 'default' }
  | { readonly kind: 'policy' | 'computer'; readonly id: string; readonly name: string }
  | { readonly kind: 'forced' }
  /** A policy above what the reader may see (`concealSettings`). */
  | { readonly kind: 'above' };

/** A source with its value, flat as the API shows it. */
export type ShadowedValue = SettingSource & { readonly value: SettingValue };

export type VoidReason = 'locked' | 'tightenOnly' | 'forced by kind';

/** An override that does not count; `by` is the locking policy, null where the kind forces the value, or it is not shown. */
export interface VoidOverride {
  readonly kind: 'policy' | 'computer';
  readonly id: string;
  readonly name: string;
  readonly value: SettingValue;
  readonly reason: VoidReason;
  readonly by: PolicyRef | null;
}

export interface SettingLock {
  readonly mode: LockMode;
  /** Null where the reader may not see it. */
  readonly policy: PolicyRef | null;
}

/** One setting as the API shows it. `shadows` and `void` list the nearest override first. */
export interface ResolvedSetting<T extends SettingValue = SettingValue> {
  readonly value: T;
  /** False only where the resolved node's own override gives the value. */
  readonly inherited: boolean;
  readonly source: SettingSource;
  readonly shadows: readonly ShadowedValue[];
  readonly void: readonly VoidOverride[];
  /** The strongest lock at or above the node (`locked` before `tightenOnly`, then the topmost). */
  readonly lock: SettingLock | null;
}

/** A lock with the value that is effective at the locking policy. */
export interface LockBound extends SettingLock {
  readonly value: SettingValue;
}

export type ResolvedSettingMap = { readonly [K in SettingKey]: ResolvedSetting<SettingValues[K]> };
export type LockBounds = { readonly [K in SettingKey]?: readonly LockBound[] };

/** The effective settings of a policy or computer. `bounds` are the locks that bind what is below, topmost first. */
export interface ResolvedSettings {
  readonly settings: ResolvedSettingMap;
  readonly bounds: LockBounds;
}

export interface Lineage {
  /** From the root to the policy that is resolved or that the computer is attached to; may be empty. */
  readonly lineage: readonly PolicyNode[];
  readonly computer?: ComputerNode;
}

type Origin = { readonly kind: 'policy' | 'computer'; readonly id: string; readonly name: string };

/** The catalogue's defaults: what every root resolves upon. */
export const DEFAULT_SETTINGS: ResolvedSettings = Object.freeze({
  settings: mapKeys((key) => ({
    value: SETTINGS_CATALOGUE[key].default,
    inherited: true,
    source: { kind: 'default' },
    shadows: [],
    void: [],
    lock: null,
  })),
  bounds: {},
});

/** Resolves defaults → root → … → policy → computer, key by key. The one place that computes an effective value. */
export function resolveSettings({ lineage, computer }: Lineage): ResolvedSettings {
  const policy = lineage.reduce(extendResolution, DEFAULT_SETTINGS);
  return computer ? extendWithComputer(policy, computer) : policy;
}

/** What a policy resolves to, given what its parent resolves to. Shares what it does not change with its siblings. */
export function extendResolution(parent: ResolvedSettings, node: PolicyNode): ResolvedSettings {
  const inherited = inheritedFrom(parent);
  const origin: Origin = { kind: 'policy', id: node.id, name: node.name };
  const own = overriddenKeys(node.settings);
  const locked = Object.keys(node.locks).length === 0 ? [] : SETTING_KEYS.filter((key) => node.locks[key]);
  if (own.length === 0 && locked.length === 0) return inherited;
  const laid = own.map(
    (key) => [key, layOn(parent, key, { origin, value: node.settings[key] as SettingValue })] as const,
  );
  const overridden = { settings: withSettings(inherited, laid), bounds: parent.bounds };
  return locked.length === 0 ? overridden : addLocks(overridden, node, locked);
}

/** What a computer resolves to, given what its policy resolves to. */
export function extendWithComputer(policy: ResolvedSettings, computer: ComputerNode): ResolvedSettings {
  const inherited = inheritedFrom(policy);
  const origin: Origin = { kind: 'computer', id: computer.id, name: computer.name };
  const laid = new Map<SettingKey, ResolvedSetting>();
  for (const key of overriddenKeys(computer.overrides))
    laid.set(key, layOn(policy, key, { origin, value: computer.overrides[key] as SettingValue }));
  for (const key of SETTING_KEYS) {
    const forced = forcedValue(key, computer.kind);
    if (forced !== undefined) laid.set(key, force(laid.get(key) ?? inherited.settings[key], forced));
  }
  return laid.size === 0 ? inherited : { settings: withSettings(inherited, laid), bounds: policy.bounds };
}

/** The bare value of a key that `extendWithComputer` resolves to, for those who ask of many computers. */
export function computerValue<K extends SettingKey>(
  policy: ResolvedSettings,
  { kind, overrides }: Pick<ComputerNode, 'kind' | 'overrides'>,
  key: K,
): SettingValues[K] {
  const inherited = policy.settings[key].value;
  const own = overrides[key];
  const value = own === undefined || violatedLock(policy.bounds, key, own) ? inherited : own;
  return (forcedValue(key, kind) ?? value) as SettingValues[K];
}

/** By what they extend: a node's many children without a value of their own share one resolution. */
const INHERITED = new WeakMap<ResolvedSettings, ResolvedSettings>();

/** What a node that says nothing resolves to. */
function inheritedFrom(above: ResolvedSettings): ResolvedSettings {
  const known = INHERITED.get(above);
  if (known) return known;
  const settings = mapKeys((key) => {
    const setting = above.settings[key];
    return setting.inherited ? setting : { ...setting, inherited: true };
  });
  const inherited = { settings, bounds: above.bounds };
  INHERITED.set(above, inherited);
  return inherited;
}

function overriddenKeys(overrides: SettingOverrides): SettingKey[] {
  return Object.keys(overrides).filter((key): key is SettingKey => isSettingKey(key) && overrides[key] !== undefined);
}

function withSettings(
  base: ResolvedSettings,
  laid: Iterable<readonly [SettingKey, ResolvedSetting]>,
): ResolvedSettingMap {
  const settings: Partial<Record<SettingKey, ResolvedSetting>> = { ...base.settings };
  for (const [key, setting] of laid) settings[key] = setting;
  return settings as ResolvedSettingMap;
}

/** A forest that was resolved before; what did not change since is taken from it. */
export interface ResolvedForest {
  readonly nodes: ReadonlyMap<string, PolicyNode>;
  readonly resolved: ReadonlyMap<string, ResolvedSettings>;
}

/**
 * What every policy resolves to, in O(policies). Throws an Error where a parent is missing or a cycle stands, which
 * forest-rules.ts keeps from being stored.
 */
export function resolveForest(nodes: Iterable<PolicyNode>, known?: ResolvedForest): Map<string, ResolvedSettings> {
  const byId = new Map([...nodes].map((node) => [node.id, node]));
  const resolved = new Map<string, ResolvedSettings>();
  for (const node of byId.values()) {
    const open: PolicyNode[] = [];
    for (let above: PolicyNode | undefined = node; above && !resolved.has(above.id); above = parentOf(byId, above)) {
      open.push(above);
      if (open.length > byId.size) throw new Error('The policy forest has a cycle');
    }
    for (const next of open.toReversed()) {
      const parent = (next.parentId === null ? undefined : resolved.get(next.parentId)) ?? DEFAULT_SETTINGS;
      resolved.set(next.id, unchanged(known, next, parent) ?? extendResolution(parent, next));
    }
  }
  return resolved;
}

function unchanged(
  known: ResolvedForest | undefined,
  node: PolicyNode,
  parent: ResolvedSettings,
): ResolvedSettings | undefined {
  if (known?.nodes.get(node.id) !== node) return undefined;
  const isParentSame = node.parentId === null || known.resolved.get(node.parentId) === parent;
  return isParentSame ? known.resolved.get(node.id) : undefined;
}

/** The bare values of a resolution. */
export function effectiveValues(resolved: ResolvedSettings): SettingValues {
  const values = SETTING_KEYS.map((key) => [key, resolved.settings[key].value]);
  return Object.fromEntries(values) as unknown as SettingValues;
}

/** The value that a kind of computer forces on a key, undefined where it forces none. */
export function forcedValue(key: SettingKey, kind: ComputerKind): SettingValue | undefined {
  return kind === 'appliance' && key === 'communicationDirection' ? 'bidirectional' : undefined;
}

/** The topmost lock among `bounds` that a value for the key does not satisfy. */
export function violatedLock(bounds: LockBounds, key: SettingKey, value: SettingValue): LockBound | undefined {
  return bounds[key]?.find((bound) => bound.mode === 'locked' || !isAtLeastAsStrict(key, value as never, bound.value));
}

/** The policies from the root to `id`; throws an Error where a parent is missing or a cycle stands. */
export function lineageOf(byId: ReadonlyMap<string, PolicyNode>, id: string): PolicyNode[] {
  const upwards: PolicyNode[] = [];
  for (let node = byId.get(id); node; node = parentOf(byId, node)) {
    upwards.push(node);
    if (upwards.length > byId.size) throw new Error('The policy forest has a cycle');
  }
  return upwards.toReversed();
}

function parentOf(byId: ReadonlyMap<string, PolicyNode>, node: PolicyNode): PolicyNode | undefined {
  if (node.parentId === null) return undefined;
  const parent = byId.get(node.parentId);
  if (!parent) throw new Error(`Policy ${node.id} has a parent that does not exist`);
  return parent;
}

interface Layer {
  readonly origin: Origin;
  readonly value: SettingValue;
}

function layOn(above: ResolvedSettings, key: SettingKey, { origin, value }: Layer): ResolvedSetting {
  const parent = above.settings[key];
  const lock = violatedLock(above.bounds, key, value);
  if (!lock) {
    const shadows = [{ ...parent.source, value: parent.value }, ...parent.shadows];
    return { ...parent, value, inherited: false, source: origin, shadows };
  }
  const refused: VoidOverride = { ...origin, value, reason: lock.mode, by: lock.policy };
  return { ...parent, inherited: true, void: [refused, ...parent.void] };
}

/**
 * Lays the value that a kind forces over the chain. The void ones stay nearest first: a key without an order can only
 * be `locked`, so every override that a lock voids stands below every one that counts.
 */
function force(setting: ResolvedSetting, forced: SettingValue): ResolvedSetting {
  const byKind = { reason: 'forced by kind', by: null } as const;
  const chain: ShadowedValue[] = [{ ...setting.source, value: setting.value }, ...setting.shadows];
  const refused = chain.flatMap((link): VoidOverride[] =>
    (link.kind === 'policy' || link.kind === 'computer') && link.value !== forced ? [{ ...link, ...byKind }] : [],
  );
  const voidBefore = setting.void.map((link) => (link.value === forced ? link : { ...link, ...byKind }));
  return {
    ...setting,
    value: forced,
    inherited: true,
    source: { kind: 'forced' },
    shadows: chain.filter((link) => link.kind === 'default' || link.value === forced),
    void: [...voidBefore, ...refused],
  };
}

function addLocks(node: ResolvedSettings, policy: PolicyNode, keys: readonly SettingKey[]): ResolvedSettings {
  const settings: Partial<Record<SettingKey, ResolvedSetting>> = { ...node.settings };
  const bounds: Partial<Record<SettingKey, readonly LockBound[]>> = { ...node.bounds };
  for (const key of keys) {
    const lock: SettingLock = { mode: policy.locks[key] ?? 'locked', policy: { id: policy.id, name: policy.name } };
    const setting = node.settings[key];
    bounds[key] = [...(node.bounds[key] ?? []), { ...lock, value: setting.value }];
    if (!setting.lock || (setting.lock.mode === 'tightenOnly' && lock.mode === 'locked'))
      settings[key] = { ...setting, lock };
  }
  return { settings: settings as ResolvedSettingMap, bounds: bounds as LockBounds };
}

function mapKeys(settingOf: (key: SettingKey) => ResolvedSetting): ResolvedSettingMap {
  const settings: Partial<Record<SettingKey, ResolvedSetting>> = {};
  for (const key of SETTING_KEYS) settings[key] = settingOf(key);
  return settings as ResolvedSettingMap;
}
