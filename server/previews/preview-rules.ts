import { isDeepStrictEqual } from 'node:util';
import type { ClosedWay } from '../../policies/contact-ways.js';
import type { Ledger } from '../../policies/listening-ledger.js';
import type { ResolvedSettings } from '../../policies/resolve-settings.js';
import type { SilenceWindow } from '../../policies/silence-limits.js';
import { SETTING_KEYS } from '../../policies/settings-catalogue.js';
import type { SettingKey } from '../../policies/setting-values.js';
import { judge, type VerdictFacts, type VerdictRules } from '../../policies/verdict-rules.js';
import { verdictRulesOf } from '../policies/index.js';

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

export function effectOf(before: ResolvedSettings, after: ResolvedSettings): SettingsEffect {
  return {
    changed: changedKeys(before, after),
    rules: { before: silenceRulesOf(before), after: silenceRulesOf(after) },
    closedWay: closedWay(directionOf(before), directionOf(after)),
  };
}

type Direction = ReturnType<typeof directionOf>;

function directionOf({ settings }: ResolvedSettings) {
  return settings.communicationDirection.value;
}

function closedWay(before: Direction, after: Direction): ClosedWay | null {
  if (before === after || after === 'bidirectional') return null;
  return after === 'managerInitiated' ? 'agent' : 'listener';
}

/** The keys whose effective value differs. */
export function changedKeys(before: ResolvedSettings, after: ResolvedSettings): SettingKey[] {
  return SETTING_KEYS.filter((key) => {
    if (before.settings[key] === after.settings[key]) return false;
    const [old, next] = [before.settings[key].value, after.settings[key].value];
    return old !== next && !isDeepStrictEqual(old, next);
  });
}

/** Whether something below the node may resolve to something else: its values or the locks that bind what is below. */
export function isFeltBelow(before: ResolvedSettings, after: ResolvedSettings): boolean {
  if (changedKeys(before, after).length > 0) return true;
  return before.bounds !== after.bounds && !isDeepStrictEqual(bindingsOf(before), bindingsOf(after));
}

function bindingsOf({ bounds }: ResolvedSettings): unknown {
  return SETTING_KEYS.map((key) => bounds[key]?.map(({ mode, value }) => [mode, value]) ?? []);
}

function silenceRulesOf(resolved: ResolvedSettings): SilenceRules {
  const intervalMs = resolved.settings.heartbeatIntervalSeconds.value * SECOND_MS;
  return { intervalMs, rules: verdictRulesOf(resolved) };
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
