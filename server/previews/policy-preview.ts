import type { ClosedWay } from '../../policies/contact-ways.js';
import { createSilenceTable } from '../../policies/silence-limits.js';
import { computerValue } from '../../policies/resolve-settings.js';
import type { SettingKey, SettingOverrides } from '../../policies/setting-values.js';
import type { Breather } from '../../lib/breather.js';
import type { Sql } from '../database/sql.js';
import { countCandidates, packMarked, unpackMarked } from './marked-query.js';
import {
  countOutcomes,
  latestSilent,
  listCases,
  listIntervals,
  sampleSubjects,
  type FleetPart,
  type LimitRow,
  type RuleCase,
  type RuledSubject,
  type Subject,
} from './preview-query.js';
import {
  effectOf,
  outcomeOf,
  windowOf,
  type Present,
  type RulePair,
  type SettingsEffect,
  type SilenceRules,
} from './preview-rules.js';
import { emptyTally, tallyOutcome, type Tally } from './preview-tally.js';
import type { PolicyChange } from './proposed-edit.js';
import { countLosers, type Losers } from './way-query.js';

/** What an edit does to settings, before anything is known of who is silent. */
export interface SettingsImpact {
  readonly computersChanged: number;
  readonly bySetting: ReadonlyMap<SettingKey, number>;
  /** Only subjects that the edit changes. */
  readonly subjects: readonly RuledSubject[];
  /** Those of them who lose a way, by the way. */
  readonly closed: Readonly<Record<ClosedWay, readonly RuledSubject[]>>;
  /** What the numbers in `subjects` stand for. */
  readonly rules: readonly RulePair[];
}

/** Resolves every subject before and after the edit; the work gives way to others. */
export async function impactOf(
  subjects: readonly (Subject & { readonly computers: number })[],
  changes: ReadonlyMap<string, PolicyChange>,
  breather: Breather,
): Promise<SettingsImpact> {
  const bySetting = new Map<SettingKey, number>();
  const ruled: RuledSubject[] = [];
  const closed: Record<ClosedWay, RuledSubject[]> = { agent: [], listener: [] };
  const numbers = new Map<string, number>();
  const rules: RulePair[] = [];
  let computersChanged = 0;
  for (const subject of subjects) {
    if (breather.isDue()) await breather.turn();
    const change = changes.get(subject.policyId);
    const effect = change && effectOn(subject, change);
    if (!effect) continue;
    const { policyId, kind, overrides, computers } = subject;
    computersChanged += computers;
    for (const key of effect.changed) bySetting.set(key, (bySetting.get(key) ?? 0) + computers);
    const name = nameOf(effect.rules);
    const rule = numbers.get(name) ?? rules.push(effect.rules) - 1;
    numbers.set(name, rule);
    const one = { policyId, kind, overrides, rule };
    ruled.push(one);
    if (effect.closedWay) closed[effect.closedWay].push(one);
  }
  return { computersChanged, bySetting, subjects: ruled, closed, rules };
}

/** Two pairs of one name judge alike. */
function nameOf({ before, after }: RulePair): string {
  return `${nameOfRules(before)}/${nameOfRules(after)}`;
}

function nameOfRules({ intervalMs, rules }: SilenceRules): string {
  const { missedAllowed, graceMs, offlineAlertForStoppedVm, goodbyeToleranceMs } = rules;
  return `${intervalMs} ${missedAllowed} ${graceMs} ${offlineAlertForStoppedVm} ${goodbyeToleranceMs}`;
}

function effectOn({ kind, overrides }: Subject, { before, after, keys }: PolicyChange): SettingsEffect | undefined {
  const computer = { kind, overrides: overrides === null ? {} : (JSON.parse(overrides) as SettingOverrides) };
  return effectOf(
    (key) => computerValue(before, computer, key),
    (key) => computerValue(after, computer, key),
    keys,
  );
}

/** The instant that is asked about; the work on it gives way to others. */
export interface Moment {
  readonly present: Present;
  readonly breather: Breather;
  /** Up to this many pairs of rules and interval are reckoned with, before it is asked which of them occur. */
  readonly casesUnasked?: number | undefined;
}

const CASES_UNASKED = 1000;

/** What is read of a part of the fleet by one snapshot. */
export interface FleetReading {
  readonly silent: Tally;
  /** Computers whose goodbye, power state or dials move a deadline, to be judged one by one. */
  readonly marked: readonly Buffer[];
}

interface PartQuestion extends Moment {
  readonly impact: SettingsImpact;
  readonly part: FleetPart;
}

export async function readPart(sql: Sql, { impact, part, ...moment }: PartQuestion): Promise<FleetReading> {
  const { subjects } = impact;
  const limits = await limitsFor(impact, await casesOf(sql, { impact, part, ...moment }), moment);
  const silent = await countOutcomes(sql, { subjects, part, ...limits });
  const marked: Buffer[] = [];
  const latest = latestSilent(limits.limits);
  for await (const chunk of packMarked(sql, { subjects, part, latest })) marked.push(chunk);
  return { silent, marked };
}

/** What does not depend on silence. */
export interface Affected {
  readonly changed: readonly string[];
  readonly losers: Losers;
  /** In how many parts the fleet is best read, so that no snapshot is held for long. */
  readonly parts: number;
}

/** A snapshot in which this many computers are packed for judging lasts about a second. */
const MARKED_PER_PART = 30_000;
export const PARTS_MAX = 64;

export async function readAffected(sql: Sql, { subjects, closed }: SettingsImpact): Promise<Affected> {
  const marked = await countCandidates(sql);
  let parts = 1;
  while (parts < PARTS_MAX && marked / parts > MARKED_PER_PART) parts *= 2;
  return {
    changed: await sampleSubjects(sql, subjects),
    losers: await countLosers(sql, closed),
    parts,
  };
}

/**
 * All rules with all intervals in force where these are few. Where thousands of computers have an interval of their own
 * these would be millions: only those count then whose computers can be silent.
 */
async function casesOf(
  sql: Sql,
  { impact: { subjects, rules }, part, present, casesUnasked = CASES_UNASKED }: PartQuestion,
): Promise<readonly RuleCase[]> {
  const intervals = await listIntervals(sql);
  if (rules.length * intervals.length <= casesUnasked)
    return rules.flatMap((_, rule) => intervals.map((intervalMs) => ({ rule, intervalMs })));
  const shortest = rules.map(({ before, after }) => Math.min(before.intervalMs, after.intervalMs));
  return listCases(sql, { subjects, part, shortest, at: present.at });
}

/** For every rule and interval in force the two instants of each deadline, by class of the last receipt. */
async function limitsFor({ rules }: SettingsImpact, given: readonly RuleCase[], { present, breather }: Moment) {
  const cases = given.flatMap(({ rule, intervalMs }) => {
    const pair = rules[rule];
    if (!pair) return [];
    const { before, after } = pair;
    const windows = [windowOf(before, intervalMs), windowOf(after, intervalMs), windowOf(after)] as const;
    return [{ rule, intervalMs, windows }];
  });
  const windows = cases.flatMap((one) => one.windows);
  const table = createSilenceTable(present.ledger, present.at, windows);
  const limits: LimitRow[] = [];
  for (const {
    rule,
    intervalMs,
    windows: [ofPresent, ofNext, ofSteady],
  } of cases) {
    if (breather.isDue()) await breather.turn();
    const [nexts, steadies] = [table.limitsOf(ofNext), table.limitsOf(ofSteady)];
    for (const [receiptClass, limit] of table.limitsOf(ofPresent).entries()) {
      const [next, steady] = [nexts[receiptClass], steadies[receiptClass]];
      if (next && steady) limits.push({ rule, intervalMs, receiptClass, present: limit, next, steady });
    }
  }
  return { limits, cuts: table.cuts };
}

/** Judges each of those one by one; the work gives way to others. */
export async function judgeMarked(
  { rules }: SettingsImpact,
  chunks: readonly Buffer[],
  { present, breather }: Moment,
): Promise<Tally> {
  const tally = emptyTally();
  for (const packed of chunks)
    for (const { rule, id, ...facts } of unpackMarked(packed)) {
      if (breather.isDue()) await breather.turn();
      const pair = rules[rule];
      if (!pair) continue;
      const outcome = outcomeOf({ ...facts, everSeen: true, revokedAt: null }, pair, present);
      tallyOutcome(tally, id, outcome);
    }
  return tally;
}
