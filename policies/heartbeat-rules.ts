import { dialFailedAt, dialMissesBy, type DialFacts } from './dial-rules.js';
import type { Ledger } from './listening-ledger.js';

const MINUTE_MS = 60_000;
/** After a deaf span an agent is given one interval, but no more than this. */
export const RETRY_CAP_MS = 15 * MINUTE_MS;
/** The longest attempt of an agent over all its proxies and managers. */
const ATTEMPT_MAX_MS = 10_000;
/** Further deaf spans after the last contact give no further allowance. */
export const SPANS_EXCUSED_MAX = 4;
/** The shortest wait that is ever ordered. */
export const MIN_CONTACT_MS = 1000;

/** The instants of one computer that its deadlines are counted from; fleet milliseconds. */
export interface ContactFacts {
  readonly lastSeenAt: number;
  /** The instant that the last answer ordered for the next contact. */
  readonly contactDueAt: number;
  /** The longest of the interval the agent has confirmed and any delivered but unconfirmed one. */
  readonly intervalMs: number;
  /** Of a computer that only the manager dials; null or absent for any other. */
  readonly dials?: DialFacts | null;
}

/** What the deadlines are counted in and by. */
export interface DeadlineRules {
  readonly graceMs: number;
  readonly ledger: Ledger;
}

/**
 * The instant at which miss `k` (1, 2, …) falls: that of the silence and, where only the manager dials, not before the
 * end of the first failed dial begun at or after the k-th due time; Infinity while there is none.
 */
export function missDeadline(k: number, facts: ContactFacts, rules: DeadlineRules): number {
  const deadline = silenceDeadline(k, facts, rules);
  const { dials } = facts;
  return dials ? Math.max(deadline, dialFailedAt(k, facts, { dials, ledger: rules.ledger })) : deadline;
}

/**
 * The instant at which miss `k` (1, 2, …) falls by the silence alone: the earliest t with Λ(t) ≥ max(Λ(lastSeen) + k·i,
 * Λ(contactDue) + (k−1)·i) + grace and, with E the last span that ended after lastSeen and by t (at most the fourth),
 * Λ(t) ≥ Λ(E) + min(i, 900 s) + 10 s + grace. Infinity for an endless span or an infinite k.
 */
export function silenceDeadline(k: number, facts: ContactFacts, { graceMs, ledger }: DeadlineRules): number {
  const needed = listeningNeeded(k, facts, ledger) + graceMs;
  const allowance = returnAllowance(facts.intervalMs, graceMs);
  const first = ledger.firstEndingAfter(facts.lastSeenAt);
  let deadline = ledger.earliestAt(needed);
  for (let ended = 1; ended <= SPANS_EXCUSED_MAX; ended += 1) {
    const span = ledger.spans[first + ended - 1];
    if (!span || deadline < span.until) return deadline;
    deadline = ledger.earliestAt(Math.max(needed, ledger.listeningAt(span.until) + allowance));
  }
  return deadline;
}

/** How many misses have fallen by `at`. */
export function missesBy(at: number, facts: ContactFacts, rules: DeadlineRules): number {
  const missed = silentMissesBy(at, facts, rules);
  const { dials } = facts;
  return dials ? Math.min(missed, dialMissesBy(at, facts, { dials, ledger: rules.ledger })) : missed;
}

function silentMissesBy(at: number, facts: ContactFacts, { graceMs, ledger }: DeadlineRules): number {
  const allowance = returnAllowance(facts.intervalMs, graceMs);
  const first = ledger.firstEndingAfter(facts.lastSeenAt);
  const ended = Math.max(0, ledger.firstEndingAfter(at) - first);
  // The latest stretch between two ends of spans in which the allowance had run out decides: Λ only grows.
  for (let stretch = Math.min(ended, SPANS_EXCUSED_MAX); stretch >= 0; stretch -= 1) {
    const next = stretch === SPANS_EXCUSED_MAX ? undefined : ledger.spans[first + stretch];
    const heard = ledger.listeningAt(Math.min(at, next?.until ?? at));
    const last = ledger.spans[first + stretch - 1];
    if (stretch === 0 || (last && heard >= ledger.listeningAt(last.until) + allowance))
      return countMisses(heard - graceMs, facts, ledger);
  }
  return 0;
}

function listeningNeeded(k: number, { lastSeenAt, contactDueAt, intervalMs }: ContactFacts, ledger: Ledger): number {
  return Math.max(
    ledger.listeningAt(lastSeenAt) + k * intervalMs,
    ledger.listeningAt(contactDueAt) + (k - 1) * intervalMs,
  );
}

function countMisses(heard: number, { lastSeenAt, contactDueAt, intervalMs }: ContactFacts, ledger: Ledger): number {
  const sinceSeen = Math.floor((heard - ledger.listeningAt(lastSeenAt)) / intervalMs);
  const sinceDue = Math.floor((heard - ledger.listeningAt(contactDueAt)) / intervalMs) + 1;
  return Math.max(0, Math.min(sinceSeen, sinceDue));
}

/** How much listening time after a deaf span passes before a silence counts again. */
export function returnAllowance(intervalMs: number, graceMs: number): number {
  return Math.min(intervalMs, RETRY_CAP_MS) + ATTEMPT_MAX_MS + graceMs;
}

/**
 * The wait ordered in an answer, in ms from the start of the attempt: at most the interval, at least 1 s. It is
 * shortened by up to a fifth to bring the computer towards its own phase, so that a fleet spreads over the interval.
 */
export function nextContactMs(order: { receivedAt: number; intervalMs: number; phaseMs: number }): number {
  const { receivedAt, intervalMs, phaseMs } = order;
  const untilPhase = (((phaseMs - receivedAt) % intervalMs) + intervalMs) % intervalMs;
  if (untilPhase <= intervalMs * 0.05) return Math.max(MIN_CONTACT_MS, intervalMs);
  const shortened = Math.min(intervalMs - untilPhase, Math.floor(intervalMs * 0.2));
  return Math.max(MIN_CONTACT_MS, intervalMs - shortened);
}

/** The wait ordered in the answer to a repeat: what remains, at least 1 s. */
export function repeatContactMs(contactDueAt: number, now: number): number {
  return Math.max(MIN_CONTACT_MS, contactDueAt - now);
}

/** A computer's phase within the interval: FNV-1a (32 bits) of its id, in ms. */
export function phaseOf(computerId: string, intervalMs: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < computerId.length; index += 1)
    hash = Math.imul(hash ^ computerId.charCodeAt(index), 0x01000193);
  return (hash >>> 0) % intervalMs;
}
