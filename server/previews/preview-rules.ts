import { isDeepStrictEqual } from 'node:util';
import type { ClosedWay } from '../../policies/contact-ways.js';
import type { Ledger } from '../../policies/listening-ledger.js';
import type { ResolvedSettings } from '../../policies/resolve-settings.js';
import type { SilenceWindow } from '../../policies/silence-limits.js';
import { SETTING_KEYS } from '../../policies/settings-catalogue.js';
import type { SettingKey, SettingValue, SettingValues } from '../../policies/setting-values.js';
import { judge, type VerdictFacts, type VerdictRules } from '../../policies/verdict-rules.js';
import { verdictRulesBy, type ValueOf } from '../policies/index.js';

const SECOND_MS = 1000;

/** What an edit leaves of one computer's silence, as bits: offline and late exclude each other. */
export const OUTCOME = {
  presentLate: 1,
  presentOffline: 2,
  late: 4,
  offline: 8,
  steadyLate: 16,
  steadyOffline: 32,
} as const;

export type OutcomeName = keyof typeof OUTCOME;
export const OUTCOME_NAMES = Object.keys(OUTCOME) as OutcomeName[];

/** Those of which an answer names a few. */
export const SAMPLED_OUTCOMES = ['late', 'offline', 'steadyLate', 'steadyOffline'] as const;
export type SampledOutcome = (typeof SAMPLED_OUTCOMES)[number];

/** What a computer is judged by, and the interval it is to run on. */
export interface SilenceRules {
  readonly intervalMs: number;
  readonly rules: VerdictRules;
}

export interface RulePair {
  readonly before: SilenceRules;
  readonly after: SilenceRules;
}

/** What an edit changes for the computers of one resolution. */
export interface SettingsEffect {
  readonly changed: readonly SettingKey[];
  readonly rules: RulePair;
  /** Whose connections are forbidden, though they are allowed now. */
  readonly closedWay: ClosedWay | null;
}

/** Undefined where none of the keys changes; those left out are known not to. */
export function effectOf(
  before: ValueOf,
  after: ValueOf,
  keys: readonly SettingKey[] = SETTING_KEYS,
): SettingsEffect | undefined {
  const changed = keys.filter((key) => !isSame(before(key), after(key)));
  if (changed.length === 0) return undefined;
  return {
    changed,
    rules: { before: silenceRulesBy(before), after: silenceRulesBy(after) },
    closedWay: closedWay(before('communicationDirection'), after('communicationDirection')),
  };
}

type Direction = SettingValues['communicationDirection'];

function closedWay(before: Direction, after: Direction): ClosedWay | null {
  if (before === after || after === 'bidirectional') return null;
  return after === 'managerInitiated' ? 'agent' : 'listener';
}

function isSame(old: SettingValue, next: SettingValue): boolean {
  return old === next || (typeof old === 'object' && isDeepStrictEqual(old, next));
}

/** The keys that may resolve to something else below the node: their values or the locks that bind what is below. */
export function keysFeltBelow(before: ResolvedSettings, after: ResolvedSettings): SettingKey[] {
  return SETTING_KEYS.filter((key) => {
    const [old, next] = [before.settings[key], after.settings[key]];
    if (old !== next && !isSame(old.value, next.value)) return true;
    return before.bounds !== after.bounds && !isDeepStrictEqual(bindingsOf(before, key), bindingsOf(after, key));
  });
}

function bindingsOf({ bounds }: ResolvedSettings, key: SettingKey): unknown {
  return bounds[key]?.map(({ mode, value }) => [mode, value]) ?? [];
}

function silenceRulesBy(valueOf: ValueOf): SilenceRules {
  return { intervalMs: valueOf('heartbeatIntervalSeconds') * SECOND_MS, rules: verdictRulesBy(valueOf) };
}

/** The window of a computer that runs on `intervalMs`; 0 where it has neither confirmed nor been given an interval. */
export function windowOf({ intervalMs: own, rules }: SilenceRules, intervalMs = 0): SilenceWindow {
  return { intervalMs: intervalMs || own, graceMs: rules.graceMs, missedAllowed: rules.missedAllowed };
}

/** A computer's facts but for what depends on the settings that it is judged by. */
export type StoredFacts = Omit<VerdictFacts, 'intervalMs' | 'contactDueAt' | 'rulesSince'> & {
  /** 0 where it has neither confirmed nor been given an interval. */
  readonly intervalInForceMs: number;
  readonly contactDueAt: number | null;
};

export interface Present {
  readonly ledger: Ledger;
  readonly at: number;
}

/** The outcome for one computer by the rule itself. An edit that is saved at `at` counts from then on. */
export function outcomeOf(facts: StoredFacts, { before, after }: RulePair, { ledger, at }: Present): number {
  const statusBy = ({ rules }: SilenceRules, intervalMs: number, contactDueAt: number) =>
    judge({ facts: { ...facts, intervalMs, contactDueAt, rulesSince: Number.MIN_SAFE_INTEGER }, rules, ledger }, at)
      .status;
  const inForce = (side: SilenceRules) => facts.intervalInForceMs || side.intervalMs;
  const due = (side: SilenceRules) => facts.contactDueAt ?? facts.lastSeenAt + inForce(side);
  const present = statusBy(before, inForce(before), due(before));
  const next = statusBy(after, inForce(after), due(after));
  const steady = statusBy(after, after.intervalMs, facts.lastSeenAt + after.intervalMs);
  return (
    bitOf(present, OUTCOME.presentLate, OUTCOME.presentOffline) +
    bitOf(next, OUTCOME.late, OUTCOME.offline) +
    bitOf(steady, OUTCOME.steadyLate, OUTCOME.steadyOffline)
  );
}

function bitOf(status: string, late: number, offline: number): number {
  if (status === 'offline') return offline;
  return status === 'late' ? late : 0;
}
