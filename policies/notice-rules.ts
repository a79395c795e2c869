import type { Ledger } from './listening-ledger.js';
import { returnAllowance } from './heartbeat-rules.js';

/** What it was decided to tell the recipients of an alert's notifications; whether it arrived is the deliveries' matter. */
export const TOLD = ['nothing', 'open', 'closed'] as const;
export type Told = (typeof TOLD)[number];

/** What keeps an alert's recipients from being told, the first that applies. */
export const HOLDS = ['incident', 'maintenance', 'snoozed', 'flapping', 'hold'] as const;
export type HeldBy = (typeof HOLDS)[number];

export type Telling = 'raised' | 'resolved' | 'dismissed' | 'acknowledged' | 'flapping';

const HOLD_MAX_MS = 60_000;
/** An incident that gathers an alert is found within this time of its being stored, however old its deadline is. */
const GATHERING_MS = 2000;
/** Windows are edited and computers moved: what waits for an end looks again this often. */
const MAINTENANCE_LOOK_MS = 300_000;
const UNSETTLED_LOOK_MS = 10_000;

/** Everything that decides about one alert's notifications; instants in fleet milliseconds. */
export interface NoticeFacts {
  readonly state: 'raised' | 'acknowledged' | 'resolved' | 'dismissed';
  readonly raisedAt: number;
  readonly incidentId: string | null;
  readonly snoozedUntil: number | null;
  /** The interval of the computer, of types that an incident may gather; null of every other. */
  readonly gatheredWithinMs: number | null;
  readonly maintenance: {
    /** Null outside of maintenance. */
    readonly until: number | null;
    /** When the next one begins; null for none. */
    readonly nextAt: number | null;
  };
  /** Null when it is calm. */
  readonly flapping: { readonly until: number; readonly isTold: boolean } | null;
  /** From when it is certain that the state stays as it is for now; in the past when it is. */
  readonly settledAt: number;
  /** How long its computer may take to be heard once it can be heard again; 0 of what no heartbeat ends. */
  readonly returnMs: number;
  /** Somebody has acknowledged it since the last decision. */
  readonly isJustAcknowledged: boolean;
  /** The last decision; null before the first. */
  readonly last: { readonly told: Told; readonly heldBy: HeldBy | null; readonly lookAt: number | null } | null;
}

export interface NoticeDecision {
  /** What is sent now; null for nothing. */
  readonly tell: Telling | null;
  readonly told: Told;
  readonly heldBy: HeldBy | null;
  /** When it is to be decided about again though nothing happens to the alert; null for never. */
  readonly lookAt: number | null;
}

/**
 * What recipients are told of an alert: only ever the difference between what is and what they know. What came and went
 * while they could not be told is never told; what differs when the last thing that held it back ends is told once it is
 * settled. An alert that somebody acknowledged before it was told is in good hands and is not told.
 */
export function decideNotice(facts: NoticeFacts, at: number): NoticeDecision {
  const told = facts.last?.told ?? 'nothing';
  if (!isOpen(facts) && told !== 'open') return { tell: null, told, heldBy: null, lookAt: null };
  const held = suppression(facts, at) ?? unsettled(facts, told, at);
  return held ? heldBack(facts, held, told) : free(facts, told);
}

/** What held it back is over, but what differs may not last. */
function unsettled(facts: NoticeFacts, told: Told, at: number): Suppression | null {
  const by = facts.last?.heldBy ?? null;
  if (by === null || by === 'hold' || differenceOf(facts, told) === null) return null;
  const returnUntil = returningUntil(facts, at);
  if (returnUntil > at) return { by, until: returnUntil };
  // A heartbeat settles much, and is no change of the alert.
  return facts.settledAt > at ? { by, until: Math.min(facts.settledAt, at + UNSETTLED_LOOK_MS) } : null;
}

/** An incident ends when most of what it held is back: the others, cut off by the same, may be on their way. */
function returningUntil({ state, last, returnMs }: NoticeFacts, at: number): number {
  if (last?.heldBy !== 'incident' || !isOpen({ state })) return Number.NEGATIVE_INFINITY;
  // While the incident held it, it waited for nothing else.
  return last.lookAt ?? at + returnMs;
}

function free(facts: NoticeFacts, told: Told): NoticeDecision {
  const difference = differenceOf(facts, told);
  const same = { heldBy: null, lookAt: isOpen(facts) ? facts.maintenance.nextAt : null };
  if (difference) return { tell: difference, told: isOpen(facts) ? 'open' : 'closed', ...same };
  const isNews = facts.isJustAcknowledged && facts.state === 'acknowledged' && told === 'open';
  return { tell: isNews ? 'acknowledged' : null, told, ...same };
}

function isOpen({ state }: Pick<NoticeFacts, 'state'>): boolean {
  return state === 'raised' || state === 'acknowledged';
}

function differenceOf({ state }: NoticeFacts, told: Told): Telling | null {
  if (told === 'nothing') return state === 'raised' ? 'raised' : null;
  return state === 'resolved' || state === 'dismissed' ? state : null;
}

interface Suppression {
  readonly by: HeldBy;
  /** Null where only a change of the alert ends it. */
  readonly until: number | null;
}

function suppression(facts: NoticeFacts, at: number): Suppression | null {
  const { incidentId, maintenance, snoozedUntil, flapping } = facts;
  // What was told of an alert before an incident took it in is told to its end.
  if (incidentId !== null && isOpen(facts)) return { by: 'incident', until: null };
  if (maintenance.until !== null)
    return { by: 'maintenance', until: Math.min(maintenance.until, at + MAINTENANCE_LOOK_MS) };
  if (snoozedUntil !== null && snoozedUntil > at) return { by: 'snoozed', until: snoozedUntil };
  if (flapping) return { by: 'flapping', until: flapping.until };
  const holdUntil = heldForIncidentUntil(facts, at);
  return holdUntil > at ? { by: 'hold', until: holdUntil } : null;
}

/** Design: until all that may share a cause have passed their own deadline, at most the shorter of interval and 60 s. */
function heldForIncidentUntil(facts: NoticeFacts, at: number): number {
  const { gatheredWithinMs, raisedAt, last } = facts;
  // What would not be told anyhow is not held.
  const isToldNext = differenceOf(facts, last?.told ?? 'nothing') === 'raised';
  if (gatheredWithinMs === null || !isToldNext) return Number.NEGATIVE_INFINITY;
  if (last?.heldBy === 'hold' && last.lookAt !== null) return last.lookAt;
  const until = raisedAt + Math.min(gatheredWithinMs, HOLD_MAX_MS);
  return last ? until : Math.max(until, at + GATHERING_MS);
}

/** That something flaps is told once, of an alert whose end will be told when it is calm. */
function heldBack({ flapping }: NoticeFacts, held: Suppression, told: Told): NoticeDecision {
  const same = { heldBy: held.by, lookAt: held.until };
  return held.by === 'flapping' && flapping && !flapping.isTold
    ? { tell: 'flapping', told: 'open', ...same }
    : { tell: null, told, ...same };
}

/** What is known of a computer whose alert may be told of at the end of a suppression; fleet milliseconds. */
export interface SettlingFacts {
  readonly contactDueAt: number;
  readonly intervalMs: number;
  readonly graceMs: number;
  /** When a computer that is late now is offline; Infinity when never, null when it is not late. */
  readonly lateUntil: number | null;
}

/**
 * From when no heartbeat of the computer is due at any moment: not within the grace after its time, not while it is late
 * but may become offline, and not before the allowance that follows time in which nobody listened is over. In the past, or
 * at the instant asked for, when that is so already; else when to ask again.
 */
export function settledFrom(facts: SettlingFacts, ledger: Ledger, at: number): number {
  const { contactDueAt, intervalMs, graceMs, lateUntil } = facts;
  const next = ledger.firstEndingAfter(at);
  const present = ledger.spans[next];
  if (present && present.from <= at) return at + UNSETTLED_LOOK_MS;
  const past = ledger.spans[next - 1];
  const heardAgainAt = past
    ? ledger.earliestAt(ledger.listeningAt(past.until) + returnAllowance(intervalMs, graceMs))
    : at;
  const isDue = contactDueAt <= at && at < contactDueAt + graceMs;
  const isLate = lateUntil !== null && lateUntil !== Number.POSITIVE_INFINITY;
  return Math.max(at, heardAgainAt, isDue ? contactDueAt + graceMs : at, isLate ? Math.max(lateUntil, at + 1000) : at);
}
