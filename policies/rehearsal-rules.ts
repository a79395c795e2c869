import { silenceDeadline } from './heartbeat-rules.js';
import { createLedger, type Ledger, type Span } from './listening-ledger.js';
import { UNLIMITED, type SettingKey } from './setting-values.js';
import { GOODBYE_REASONS, goodbyeStatusReason, type GoodbyeReason } from './status-model.js';
import { judge, type VerdictFacts, type VerdictRules } from './verdict-rules.js';

/** The settings that offline alerts rest on: those that can be rehearsed. */
export const REHEARSED_KEYS = [
  'heartbeatIntervalSeconds',
  'heartbeatsMissedAllowed',
  'heartbeatGraceSeconds',
  'offlineAlertForStoppedVm',
  'goodbyeToleranceSeconds',
] as const satisfies readonly SettingKey[];

export function isRehearsed(key: string): boolean {
  return (REHEARSED_KEYS as readonly string[]).includes(key);
}

/** What a silence is judged by. */
export interface Thresholds {
  readonly intervalMs: number;
  readonly rules: VerdictRules;
}

/** A silence that a report ended, as it was recorded; fleet milliseconds. */
export interface Silence {
  /** The last receipt before it. */
  readonly from: number;
  /** The receipt that ended it. */
  readonly until: number;
  /** The interval in force: contact was due that much after `from`. */
  readonly intervalMs: number;
  readonly excuses: Excuses;
}

/** What is known of a silence beside its length. */
export interface Excuses {
  /** Times in which the machine was said to be stopped, in order; Infinity where that did not end. */
  readonly stops: readonly Span[];
  readonly goodbye: GoodbyeReason | null;
}

export const NO_EXCUSES: Excuses = Object.freeze({ stops: [], goodbye: null });

/** A row of the status history. */
export interface NotedStatus {
  readonly status: string;
  readonly reason: string;
  readonly since: number;
}

/** The excuses that the status history within a silence tells, in the order in which it was noticed. */
export function excusesOf(history: readonly NotedStatus[]): Excuses {
  const stops: Span[] = [];
  let goodbye: GoodbyeReason | null = null;
  for (const [index, { status, reason, since }] of history.entries()) {
    goodbye ??= GOODBYE_REASONS.find((known) => goodbyeStatusReason(known) === reason) ?? null;
    if (status !== 'stopped' || history[index - 1]?.status === 'stopped') continue;
    const end = history.slice(index).find((later) => later.status !== 'stopped');
    stops.push({ from: since, until: end?.since ?? Number.POSITIVE_INFINITY });
  }
  return { stops, goodbye };
}

/** An offline alert that thresholds would have raised. */
export interface RehearsedAlert {
  readonly raisedAt: number;
  /** The computer was heard again within one interval. */
  readonly isFlash: boolean;
}

const ALWAYS = Number.NEGATIVE_INFINITY;

/**
 * The alert of a recorded silence by the rule of verdicts, as if the thresholds had always counted. The silence began with
 * the receipt and contact was due by the recorded interval: so of a shorter interval only those misses count that are sure.
 */
export function alertOfSilence(silence: Silence, thresholds: Thresholds, ledger: Ledger): RehearsedAlert | null {
  const { from, until, excuses } = silence;
  const facts: VerdictFacts = {
    everSeen: true,
    lastSeenAt: from,
    contactDueAt: from + silence.intervalMs,
    intervalMs: thresholds.intervalMs,
    dials: null,
    goodbye: excuses.goodbye && { reason: excuses.goodbye, receivedAt: from, expectedBackMs: null },
    power: { state: 'unknown', since: ALWAYS, expiresAt: null },
    revokedAt: null,
    rulesSince: ALWAYS,
  };
  const raisedAt = raisedBefore(until, { facts, excuses }, { rules: thresholds.rules, ledger });
  return raisedAt === null ? null : { raisedAt, isFlash: until - raisedAt <= thresholds.intervalMs };
}

interface ExcusedFacts {
  readonly facts: VerdictFacts;
  readonly excuses: Excuses;
}

interface JudgedBy {
  readonly rules: VerdictRules;
  readonly ledger: Ledger;
}

/** The rule knows one stop at a time: each one counts until the next one begins. */
function raisedBefore(until: number, { facts, excuses: { stops } }: ExcusedFacts, by: JudgedBy): number | null {
  for (let known = 0; known <= stops.length; known += 1) {
    const stop = stops[known - 1];
    const power = stop
      ? { state: 'stopped' as const, since: stop.from, expiresAt: Number.isFinite(stop.until) ? stop.until : null }
      : facts.power;
    const raisedAt = judge({ facts: { ...facts, power }, ...by }, until).alert?.raisedAt;
    const isBeforeNext = raisedAt !== undefined && raisedAt < (stops[known]?.from ?? until);
    if (isBeforeNext) return raisedAt;
  }
  return null;
}

/** When the alert of a computer that is silent still is raised by the thresholds; null while it is not. */
export function alertOfPresent(facts: VerdictFacts, thresholds: Thresholds, now: { ledger: Ledger; at: number }) {
  const { intervalMs, rules } = thresholds;
  const question = { facts: { ...facts, intervalMs, rulesSince: ALWAYS }, rules, ledger: now.ledger };
  return judge(question, now.at).alert?.raisedAt ?? null;
}

const UNBROKEN = createLedger([]);

/** No silence that is at most this long raises an alert, unless the agent was uninstalled; Infinity where none does. */
export function shortestAlertedMs({ intervalMs, rules }: Thresholds): number {
  const { missedAllowed, graceMs } = rules;
  if (missedAllowed === UNLIMITED) return Number.POSITIVE_INFINITY;
  return silenceDeadline(
    missedAllowed + 1,
    { lastSeenAt: 0, contactDueAt: 0, intervalMs },
    { graceMs, ledger: UNBROKEN },
  );
}

/** What recorded gaps cannot tell; the words of an answer. */
export const CAVEATS = {
  'shorter-than-recorded':
    'Silences are only recorded when they are longer than the interval and grace of their time. Shorter ones, which these settings would alert on, are not counted.',
  'shorter-interval':
    'Some silences were recorded under a longer interval. When the computer would have been heard last is not known, so only misses after the recorded due time count: there may be more alerts, and earlier ones.',
  'longer-interval':
    'Some silences were recorded under a shorter interval. On the longer one they would begin and end up to one interval earlier or later.',
  'dialled-by-manager':
    'Some computers are only dialled by the manager. Their alerts need dials that fail, which are not kept: their recorded silences are judged by length alone.',
  'goodbyes-partly-known':
    'An announced restart or update is only known of silences that became late at their time; others are counted without the tolerance.',
  'range-shortened': 'Gaps are not kept for as long as was asked; the answer counts from coveredFrom on.',
} as const;

export type Caveat = keyof typeof CAVEATS;

/** Thresholds of one group of computers, as they are and as they are rehearsed. */
export interface ThresholdPair {
  readonly present: Thresholds;
  readonly rehearsed: Thresholds;
}

/** The caveats that thresholds alone call for. */
export function caveatsOfThresholds({ present, rehearsed }: ThresholdPair): Caveat[] {
  const caveats: Caveat[] = [];
  const shortest = shortestAlertedMs(rehearsed);
  if (shortest < present.intervalMs + present.rules.graceMs) caveats.push('shorter-than-recorded');
  const isStricter = shortest < shortestAlertedMs(present);
  if (isStricter || rehearsed.rules.goodbyeToleranceMs < present.rules.goodbyeToleranceMs)
    caveats.push('goodbyes-partly-known');
  return caveats;
}

/** The caveats of one recorded silence. */
export function caveatsOfSilence({ intervalMs }: Pick<Silence, 'intervalMs'>, rehearsed: Thresholds): Caveat[] {
  if (rehearsed.intervalMs === intervalMs) return [];
  return [rehearsed.intervalMs < intervalMs ? 'shorter-interval' : 'longer-interval'];
}
