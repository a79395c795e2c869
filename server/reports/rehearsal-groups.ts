import { computerValue, type ResolvedSettings } from '../../policies/resolve-settings.js';
import {
  caveatsOfThresholds,
  shortestAlertedMs,
  type Caveat,
  type ThresholdPair,
  type Thresholds,
} from '../../policies/rehearsal-rules.js';
import type { ComputerKind, SettingOverrides } from '../../policies/setting-values.js';
import { verdictRulesBy, type ValueOf } from '../policies/index.js';
import type { Subject } from '../previews/index.js';
import type { RowSubject } from './rehearsal-query.js';

const SECOND_MS = 1000;

/** What a policy resolves to as it is and as it is rehearsed. */
export interface ResolvedPair {
  readonly before: ResolvedSettings;
  readonly after: ResolvedSettings;
}

/** The thresholds of computers with the same policy, kind and overrides: resolved once for all of them. */
export interface RehearsalGroups {
  /** Undefined for a computer that is of another policy by now. */
  of(row: Omit<RowSubject, 'computer_id'>): ThresholdPair | undefined;
  /** The longest silence of which is sure that it raises no alert in any of the groups. */
  readonly shortestMs: number;
  readonly caveats: ReadonlySet<Caveat>;
}

export function createRehearsalGroups(
  resolved: ReadonlyMap<string, ResolvedPair>,
  subjects: readonly Subject[],
): RehearsalGroups {
  const known = new Map<string, ThresholdPair>();
  const caveats = new Set<Caveat>();
  const of: RehearsalGroups['of'] = ({ policy_id: policyId, kind, overrides }) => {
    const key = `${policyId} ${kind} ${overrides ?? ''}`;
    const found = known.get(key);
    const pair = resolved.get(policyId);
    if (found || !pair) return found;
    const own = { kind, overrides: overrides === null ? {} : (JSON.parse(overrides) as SettingOverrides) };
    const thresholds = { present: thresholdsBy(pair.before, own), rehearsed: thresholdsBy(pair.after, own) };
    known.set(key, thresholds);
    for (const caveat of caveatsOfThresholds(thresholds)) caveats.add(caveat);
    if (computerValue(pair.before, own, 'communicationDirection') === 'managerInitiated')
      caveats.add('dialled-by-manager');
    return thresholds;
  };
  const pairs = subjects.flatMap(({ policyId, kind, overrides }) => of({ policy_id: policyId, kind, overrides }) ?? []);
  const shortest = pairs.map(({ present, rehearsed }) =>
    Math.min(shortestAlertedMs(present), shortestAlertedMs(rehearsed)),
  );
  return { of, shortestMs: shortest.reduce((a, b) => Math.min(a, b), Number.MAX_SAFE_INTEGER), caveats };
}

interface Own {
  readonly kind: ComputerKind;
  readonly overrides: SettingOverrides;
}

function thresholdsBy(policy: ResolvedSettings, own: Own): Thresholds {
  const valueOf: ValueOf = (key) => computerValue(policy, own, key);
  return { intervalMs: valueOf('heartbeatIntervalSeconds') * SECOND_MS, rules: verdictRulesBy(valueOf) };
}
