import type { ComputerSettings, SettingsCache, SettingsSubject } from '../policies/settings-cache.js';

/** Computers with the same kind, policy and overrides are one group: they are judged by the same rules. */
export interface RuleGroups {
  indexOf(subject: SettingsSubject): number;
  /** Undefined while the cache does not know the policy. */
  settingsOf(group: number): ComputerSettings | undefined;
  /** Of all groups; 0 where there are none. */
  longestIntervalMs(): number;
  /** Resolves anew; answers the groups whose computers may now have other deadlines. */
  refresh(): ReadonlySet<number>;
}

export function createRuleGroups(settings: Pick<SettingsCache, 'settingsOf'>): RuleGroups {
  const indexes = new Map<string, number>();
  const subjects: SettingsSubject[] = [];
  const resolved: (ComputerSettings | undefined)[] = [];
  const resolve = (group: number): ComputerSettings | undefined => {
    const subject = subjects[group];
    try {
      return subject && settings.settingsOf(subject);
    } catch {
      // The policy is younger than the cache or gone; whoever needs the rules reads the computer from the database.
      return undefined;
    }
  };
  const settingsOf = (group: number) => (resolved[group] ??= resolve(group));
  return {
    indexOf(subject) {
      const key = `${subject.kind} ${subject.policyId} ${subject.overrides ?? ''}`;
      const known = indexes.get(key);
      if (known !== undefined) return known;
      const group = subjects.push(subject) - 1;
      indexes.set(key, group);
      return group;
    },
    settingsOf,
    longestIntervalMs: () => Math.max(0, ...subjects.map((_subject, group) => settingsOf(group)?.intervalMs ?? 0)),
    refresh() {
      const changed = new Set<number>();
      for (const group of subjects.keys()) {
        const after = resolve(group);
        if (!isSameForVerdicts(resolved[group], after)) changed.add(group);
        resolved[group] = after;
      }
      return changed;
    },
  };
}

function isSameForVerdicts(a: ComputerSettings | undefined, b: ComputerSettings | undefined): boolean {
  if (!a || !b) return a === b;
  return (
    a.intervalMs === b.intervalMs &&
    a.rulesSince === b.rulesSince &&
    a.verdictRules.missedAllowed === b.verdictRules.missedAllowed &&
    a.verdictRules.graceMs === b.verdictRules.graceMs &&
    a.verdictRules.offlineAlertForStoppedVm === b.verdictRules.offlineAlertForStoppedVm &&
    a.verdictRules.goodbyeToleranceMs === b.verdictRules.goodbyeToleranceMs
  );
}
