import { heardBy, instantOf, type Span } from './spans.js';

/** What is true of a computer, by what was really sent and stored. */
export interface TrueContact {
  readonly lastSeenAt: number;
  readonly contactDueAt: number;
  /** The longest interval that its agent may be running on. */
  readonly intervalMs: number;
  /** It announced to be back soon with its last report: so long in listening time from then on. */
  readonly announcedMs: number;
  /** Only the manager dials it: a miss needs a dial that fails. */
  readonly isDialled: boolean;
}

export interface TrueRules {
  /** Null: unlimited. */
  readonly missedAllowed: number | null;
  readonly graceMs: number;
}

const RETRY_CAP_MS = 900_000;
const ATTEMPT_MS = 10_000;
const SPANS_EXCUSED = 4;

/**
 * The instant before which an offline alert is false (design.md §5): the silence in listening time, and after each of
 * the first four times of deafness the agent's way back. `certain` are times in which the manager was deaf without
 * doubt; `possible` all in which it may have counted as deaf: only they tell which of them is the fourth.
 */
export function earliestOffline(contact: TrueContact, rules: TrueRules, deaf: Deafness): number {
  if (rules.missedAllowed === null) return Number.POSITIVE_INFINITY;
  const { certain, possible } = deaf;
  let deadline = instantOf(listeningNeeded(contact, rules, certain), certain);
  // What is certain is possible too, and its possible span begins no later: it counts itself.
  const ordinalOf = (span: Span): number =>
    possible.filter(({ from, until }) => until > contact.lastSeenAt && from <= span.from).length;
  for (const span of certain) {
    if (span.until <= contact.lastSeenAt || span.until > deadline || ordinalOf(span) > SPANS_EXCUSED) continue;
    const wayBack = heardBy(span.until, certain) + allowanceOf(contact, rules);
    deadline = Math.max(deadline, instantOf(wayBack, certain));
  }
  return Math.max(deadline, announcedBack(contact, certain));
}

/** The instant by which the silence is over the limit whatever may have counted as deaf. */
export function latestOffline(contact: TrueContact, rules: TrueRules, possible: readonly Span[]): number {
  if (rules.missedAllowed === null) return Number.POSITIVE_INFINITY;
  // Dials are put off by an interval at most, and end after one attempt.
  const dialMs = contact.isDialled ? contact.intervalMs + ATTEMPT_MS : 0;
  let deadline = instantOf(listeningNeeded(contact, rules, possible) + dialMs, possible);
  for (const span of possible) {
    if (span.until <= contact.lastSeenAt || span.from > deadline) continue;
    const wayBack = heardBy(span.until, possible) + allowanceOf(contact, rules);
    deadline = Math.max(deadline, instantOf(wayBack + dialMs, possible));
  }
  return Math.max(deadline, announcedBack(contact, possible));
}

export interface Deafness {
  readonly certain: readonly Span[];
  /** As they were noted, not joined. */
  readonly possible: readonly Span[];
}

function listeningNeeded(contact: TrueContact, rules: TrueRules, spans: readonly Span[]): number {
  const misses = (rules.missedAllowed ?? 0) + 1;
  const { lastSeenAt, contactDueAt, intervalMs } = contact;
  const bySeen = heardBy(lastSeenAt, spans) + misses * intervalMs;
  const byDue = heardBy(contactDueAt, spans) + (misses - 1) * intervalMs;
  return Math.max(bySeen, byDue) + rules.graceMs;
}

function announcedBack({ lastSeenAt, announcedMs }: TrueContact, spans: readonly Span[]): number {
  return instantOf(heardBy(lastSeenAt, spans) + announcedMs, spans);
}

function allowanceOf({ intervalMs }: TrueContact, { graceMs }: TrueRules): number {
  return Math.min(intervalMs, RETRY_CAP_MS) + ATTEMPT_MS + graceMs;
}

/** The end of the first stretch of `slackMs` from `at` on that no span touches. */
export function quietAfter(at: number, slackMs: number, spans: readonly Span[]): number {
  let begin = at;
  for (const { from, until } of spans) if (until > begin && from < begin + slackMs) begin = until;
  return begin + slackMs;
}
