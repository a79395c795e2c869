import { backoffDelayMs } from '../lib/backoff.js';
import type { Random } from '../lib/random.js';
import type { SettingsGeneration } from '../protocol/heartbeat-messages.js';

/** An attempt, over all manager URLs, is over after this; so is every further report on its connection. */
export const ATTEMPT_LIMIT_MS = 10_000;
/** No retry delay and no Retry-After is ever longer (design.md §5: verdicts after an outage count on it). */
export const LONGEST_RETRY_MS = 900_000;
export const FAILURES_UNTIL_REBUILD = 5;
/** After so many reports in one exchange the agent yields and comes back. */
export const MAX_REPORTS_PER_EXCHANGE = 20;
export const GOODBYE_LIMIT_MS = 3000;
export const CLOCK_STEP_LIMIT_MS = 1000;
const FIRST_RETRY_MS = 1000;
const DRAIN_PAUSE_MS = 1000;

/** When to begin the next attempt, by the boot clock: the order counts from the start of the attempt it answered. */
export function nextContactAt(attemptStartBoot: number, nextContactInMs: number): number {
  return attemptStartBoot + nextContactInMs;
}

/** With a backlog left that the manager wants drained, the agent comes back sooner than ordered. */
export function nextContactWithBacklog(orderedBoot: number, nowBoot: number): number {
  return Math.min(orderedBoot, nowBoot + DRAIN_PAUSE_MS);
}

export function retryCapMs(intervalSeconds: number): number {
  return Math.min(intervalSeconds * 1000, LONGEST_RETRY_MS);
}

export interface RetryFacts {
  /** Consecutive failures, this one included: from 1. */
  readonly failures: number;
  readonly intervalSeconds: number;
  readonly retryAfterMs?: number | undefined;
  readonly reaction: Reaction;
}

/** The delay until the next attempt: full jitter after the cap, or up to a half more than the manager asked for, bounded. */
export function retryDelayMs(facts: RetryFacts, random: Random): number {
  const capMs = retryCapMs(facts.intervalSeconds);
  // Whole seconds put all who were turned away together on the same instants.
  if (facts.retryAfterMs !== undefined)
    return Math.min(Math.floor(facts.retryAfterMs * (1 + random.fraction() / 2)), capMs);
  if (facts.reaction === 'try-slowly')
    return capMs / 2 + backoffDelayMs(0, { firstMs: capMs / 2, capMs: capMs / 2 }, random);
  return backoffDelayMs(facts.failures - 1, { firstMs: Math.min(FIRST_RETRY_MS, capMs), capMs }, random);
}

/**
 * What a refusal asks of the agent. `repeat`: the same bytes again, later. `give-up-events`: the carried events are
 * counted as a gap and a fresh report goes at once. `reduce`: a fresh report without facts, counters and components.
 * `try-slowly`: the manager does not want this identity; only an operator can change that. None of them enrolls anew.
 */
export type Reaction = 'repeat' | 'give-up-events' | 'reduce' | 'try-slowly';

const BAD_REPORT: ReadonlySet<string> = new Set(['request-invalid', 'body-too-large', 'content-type-unsupported']);
const UNWANTED: ReadonlySet<string> = new Set([
  'computer-removed',
  'computer-revoked',
  'certificate-refused',
  'certificate-required',
  'renewal-refused',
  'identity-mismatch',
  'protocol-version-unsupported',
]);

export function reactionTo(code: string, { carriesEvents }: { readonly carriesEvents: boolean }): Reaction {
  if (BAD_REPORT.has(code)) return carriesEvents ? 'give-up-events' : 'reduce';
  return UNWANTED.has(code) ? 'try-slowly' : 'repeat';
}

/** Settings of a lower generation are refused; another restore epoch begins a new count. */
export function isOutdatedGeneration(offered: SettingsGeneration, applied: SettingsGeneration | undefined): boolean {
  return applied !== undefined && offered.epoch === applied.epoch && offered.counter < applied.counter;
}

export interface FourTimestamps {
  readonly sentAt: number;
  readonly managerReceivedAt: number;
  readonly managerSentAt: number;
  readonly receivedAt: number;
}

/** Milliseconds that this computer's wall clock is ahead of the manager's (RFC 5905 §8 with the sign turned). */
export function clockAheadMs({ sentAt, managerReceivedAt, managerSentAt, receivedAt }: FourTimestamps): number {
  return (sentAt - managerReceivedAt + (receivedAt - managerSentAt)) / 2;
}

export interface ClockReading {
  readonly wall: number;
  readonly monotonic: number;
  readonly boot: number;
}

/** What happened to the clocks between two readings: a step of the wall clock, a suspend; milliseconds, 0 for neither. */
export function clockEvents(before: ClockReading, after: ClockReading): { stepMs: number; suspendedMs: number } {
  const bootMs = after.boot - before.boot;
  const stepMs = after.wall - before.wall - bootMs;
  const suspendedMs = bootMs - (after.monotonic - before.monotonic);
  return {
    stepMs: Math.abs(stepMs) > CLOCK_STEP_LIMIT_MS ? stepMs : 0,
    suspendedMs: suspendedMs > CLOCK_STEP_LIMIT_MS ? suspendedMs : 0,
  };
}

/** A sequence the manager has certainly not seen, after it called ours older than the one it knows. */
export function sequenceAfterOlder(sequence: number, repeats: number): number {
  return sequence + 2 ** Math.min(20 + repeats, 45);
}
