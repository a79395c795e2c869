import { RETRY_CAP_MS } from './heartbeat-rules.js';
import { shareOf, type UsualContact } from './drain-rules.js';

/**
 * From which share of the report queue on what gives way, so that heartbeats are stored: enrollments are turned away,
 * then edits wait to be told and contacts are put off, then events stay at the agents. Heartbeats are turned away last, when the
 * queue is full.
 */
export const SHED_FROM = { enrollment: 0.25, settings: 0.3, contacts: 0.3, events: 0.5 } as const;

/** What is turned away by 503, with the seconds of `Retry-After`: the later it matters, the longer. */
const RETRY_AFTER_SECONDS = {
  heartbeat: { from: 1, until: 4 },
  channel: { from: 20, until: 60 },
  enrollment: { from: 10, until: 40 },
} as const;
export type ShedClass = keyof typeof RETRY_AFTER_SECONDS;

/** The `Retry-After` of the `n`-th who is turned away: those who came together do not return together. */
export function shedRetryAfterSeconds(kind: ShedClass, n: number): number {
  const { from, until } = RETRY_AFTER_SECONDS[kind];
  return from + Math.floor(shareOf(n) * (until - from + 1));
}

/**
 * The wait ordered in an answer while the queue is long: up to one interval, at most 900 s, more than usual, in
 * proportion to the load beyond the limit. Deadlines count from what was ordered, so nobody is late by it.
 */
export function stretchedContactMs({ usualMs, intervalMs }: UsualContact, load: number): number {
  const excess = (Math.min(1, load) - SHED_FROM.contacts) / (1 - SHED_FROM.contacts);
  return excess <= 0 ? usualMs : usualMs + Math.floor(excess * Math.min(intervalMs, RETRY_CAP_MS));
}
