/**
 * A slow, obvious resolver, written sentence by sentence from design.md §2 and sharing nothing with the product but
 * types and the catalogue's defaults and order. Every question walks the whole chain again.
 */
import { SETTINGS_CATALOGUE } from '../../../policies/settings-catalogue.js';
import type { ComputerNode, PolicyNode } from '../../../policies/resolve-settings.js';
import type { SettingKey, SettingValue } from '../../../policies/setting-values.js';

interface Level {
  readonly kind: 'policy' | 'computer';
  readonly id: string;
  readonly name: string;
  readonly value: SettingValue | undefined;
  readonly lock: 'locked' | 'tightenOnly' | undefined;
}

export interface ReferenceChain {
  readonly lineage: readonly PolicyNode[];
  readonly computer?: ComputerNode | undefined;
}

function levelsOf({ lineage, computer }: ReferenceChain, key: SettingKey): Level[] {
  const levels: Level[] = lineage.map((policy) => ({
    kind: 'policy',
    id: policy.id,
    name: policy.name,
    value: policy.settings[key],
    lock: policy.locks[key],
  }));
  if (computer)
    levels.push({
      kind: 'computer',
      id: computer.id,
      name: computer.name,
      value: computer.overrides[key],
      lock: undefined,
    });
  return levels;
}

function strictness(key: SettingKey, value: SettingValue): number {
  const size = value === 'unlimited' ? 1e12 : Number(value);
  return SETTINGS_CATALOGUE[key].stricter === 'less' ? -size : size;
}

/** "An override counts only if it satisfies every lock above it": the first lock that it does not satisfy. */
function voidedBy(levels: readonly Level[], index: number, key: SettingKey): Level | undefined {
  const own = levels[index]!.value!;
  for (let above = 0; above < index; above += 1) {
    const level = levels[above]!;
    if (level.lock === 'locked') return level;
    if (level.lock === 'tightenOnly' && strictness(key, own) < strictness(key, effectiveAt(levels, above, key)))
      return level;
  }
  return undefined;
}

function counting(levels: readonly Level[], key: SettingKey): number[] {
  return levels.flatMap((level, index) =>
    level.value !== undefined && voidedBy(levels, index, key) === undefined ? [index] : [],
  );
}

function effectiveAt(levels: readonly Level[], index: number, key: SettingKey): SettingValue {
  const last = counting(levels.slice(0, index + 1), key).at(-1);
  return last === undefined ? SETTINGS_CATALOGUE[key].default : levels[last]!.value!;
}

function named({ kind, id, name, value }: Level): Record<string, unknown> {
  return { kind, id, name, value };
}

export function referenceSetting(chain: ReferenceChain, key: SettingKey): unknown {
  const levels = levelsOf(chain, key);
  const counts = counting(levels, key);
  const forced = chain.computer?.kind === 'appliance' && key === 'communicationDirection';
  const isForcedAway = (level: Level): boolean => forced && level.value !== 'bidirectional';

  const voids = levels.flatMap((level, index): Record<string, unknown>[] => {
    if (level.value === undefined) return [];
    if (isForcedAway(level)) return [{ ...named(level), reason: 'forced by kind', by: null }];
    const by = voidedBy(levels, index, key);
    return by ? [{ ...named(level), reason: by.lock, by: { id: by.id, name: by.name } }] : [];
  });
  const valid = counts.map((index) => levels[index]!).filter((level) => !isForcedAway(level));
  const chainOfValues: Record<string, unknown>[] = [
    { kind: 'default', value: SETTINGS_CATALOGUE[key].default },
    ...valid.map(named),
    ...(forced ? [{ kind: 'forced', value: 'bidirectional' }] : []),
  ];
  const { value, ...source } = chainOfValues.at(-1)!;
  const locks = levels.filter((level) => level.lock !== undefined);
  const lock = locks.find((level) => level.lock === 'locked') ?? locks[0];
  return {
    value,
    inherited: forced || levels.length === 0 || counts.at(-1) !== levels.length - 1,
    source,
    shadows: chainOfValues.slice(0, -1).toReversed(),
    void: voids.toReversed(),
    lock: lock ? { mode: lock.lock, policy: { id: lock.id, name: lock.name } } : null,
  };
}
