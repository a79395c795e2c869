import { createSilenceTable } from '../../policies/silence-limits.js';
import { extendWithComputer, type ResolvedSettings } from '../../policies/resolve-settings.js';
import type { SettingKey, SettingOverrides } from '../../policies/setting-values.js';
import type { Breather } from '../../lib/breather.js';
import type { Sql } from '../database/sql.js';
import { countMarked, markedIdAt, packMarked, readMarked } from './marked-query.js';
import {
  countOutcomes,
  countOwnWay,
  listIntervals,
  sampleSubjects,
  type LimitRow,
  type RuledSubject,
  type SilenceQuestion,
  type Subject,
} from './preview-query.js';
import { effectOf, outcomeOf, windowOf, type Present, type RulePair } from './preview-rules.js';
import { emptyTally, tallyOutcome, type Tally } from './preview-tally.js';
import type { PolicyChange } from './proposed-edit.js';

/** What an edit does to settings, before anything is known of who is silent. */
export interface SettingsImpact {
  readonly computersChanged: number;
  readonly bySetting: ReadonlyMap<SettingKey, number>;
  /** Only subjects that the edit changes. */
  readonly subjects: readonly RuledSubject[];
  /** Those of them whose agents may no longer open connections. */
  readonly closed: readonly RuledSubject[];
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
  const closed: RuledSubject[] = [];
  const numbers = new Map<string, number>();
  const rules: RulePair[] = [];
  let computersChanged = 0;
  for (const { computers, ...subject } of subjects) {
    if (breather.isDue()) await breather.turn();
    const change = changes.get(subject.policyId);
    if (!change) continue;
    const effect = effectOf(resolveSubject(change.before, subject), resolveSubject(change.after, subject));
    if (effect.changed.length === 0) continue;
    computersChanged += computers;
    for (const key of effect.changed) bySetting.set(key, (bySetting.get(key) ?? 0) + computers);
    const name = JSON.stringify(effect.rules);
    const rule = numbers.get(name) ?? rules.push(effect.rules) - 1;
    numbers.set(name, rule);
    ruled.push({ ...subject, rule });
    if (effect.closesOwnWay) closed.push({ ...subject, rule });
  }
  return { computersChanged, bySetting, subjects: ruled, closed, rules };
}

function resolveSubject(policy: ResolvedSettings, { kind, overrides }: Subject): ResolvedSettings {
  if (kind === 'agent' && overrides === null) return policy;
  const own = overrides === null ? {} : (JSON.parse(overrides) as SettingOverrides);
  return extendWithComputer(policy, { id: '', name: '', kind, overrides: own });
}

/** What is read of the fleet at one instant, all by one snapshot. */
export interface FleetReading {
  readonly silent: Tally;
  /** Computers whose goodbye or power state moves a deadline, to be judged one by one. */
  readonly marked: readonly Buffer[];
  readonly changedSample: readonly string[];
  readonly ownWay: { readonly count: number; readonly sample: readonly string[] };
}

export async function readFleet(sql: Sql, impact: SettingsImpact, present: Present): Promise<FleetReading> {
  const { subjects, closed } = impact;
  const question = silenceQuestion(impact, await listIntervals(sql), present);
  const silent = await countOutcomes(sql, question);
  const marked: Buffer[] = [];
  for await (const chunk of packMarked(sql, subjects)) marked.push(chunk);
  return {
    silent,
    marked,
    changedSample: await sampleSubjects(sql, subjects),
    ownWay: closed.length > 0 ? await countOwnWay(sql, closed) : { count: 0, sample: [] },
  };
}

/** For every rule and interval in force the two instants of each deadline, by class of the last receipt. */
function silenceQuestion(impact: SettingsImpact, intervals: readonly number[], present: Present): SilenceQuestion {
  const { subjects, rules } = impact;
  const cases = rules.flatMap(({ before, after }, rule) =>
    intervals.map((intervalMs) => ({
      rule,
      intervalMs,
      windows: [windowOf(before, intervalMs), windowOf(after, intervalMs), windowOf(after)] as const,
    })),
  );
  const windows = cases.flatMap((one) => one.windows);
  const table = createSilenceTable(present.ledger, present.at, windows);
  const limits = cases.flatMap(({ rule, intervalMs, windows: [ofPresent, ofNext, ofSteady] }) => {
    const [nexts, steadies] = [table.limitsOf(ofNext), table.limitsOf(ofSteady)];
    return table.limitsOf(ofPresent).flatMap((limit, receiptClass): LimitRow[] => {
      const [next, steady] = [nexts[receiptClass], steadies[receiptClass]];
      return next && steady ? [{ rule, intervalMs, receiptClass, present: limit, next, steady }] : [];
    });
  });
  return { subjects, limits, cuts: table.cuts };
}

/** Judges each of those one by one; the work gives way to others. */
export async function judgeMarked(
  { rules }: SettingsImpact,
  chunks: readonly Buffer[],
  { present, breather }: { readonly present: Present; readonly breather: Breather },
): Promise<Tally> {
  const tally = emptyTally();
  for (const packed of chunks)
    for (let index = 0; index < countMarked(packed); index += 1) {
      if (breather.isDue()) await breather.turn();
      const { rule, ...facts } = readMarked(packed, index);
      const pair = rules[rule];
      if (!pair) continue;
      const outcome = outcomeOf({ ...facts, everSeen: true, revokedAt: null }, pair, present);
      tallyOutcome(tally, () => markedIdAt(packed, index), outcome);
    }
  return tally;
}
