import { MIN_CONTACT_MS, RETRY_CAP_MS } from './heartbeat-rules.js';

/** An answered report, and what would be ordered but for the drain. */
export interface UsualContact {
  readonly receivedAt: number;
  readonly usualMs: number;
  readonly intervalMs: number;
}

/** How long an agent is told to wait, in ms from its receipt. */
export type ContactOrder = (usual: UsualContact) => number;

/** When a manager means to be gone; fleet milliseconds. */
export interface Drain {
  readonly endsAt: number;
  /** For so long after the end agents are brought back. */
  readonly spreadMs: number;
}

/**
 * The wait ordered while a manager drains: who would come before the end of the spread comes within it, at its share (0
 * to 1) of the time that is left to it; never more than one interval, at most 900 s, after it would have come.
 * Who cannot be put off beyond the end of the drain, and who would come later anyway, is told the usual.
 */
export function drainedContactMs(usual: UsualContact, { endsAt, spreadMs }: Drain, share: number): number {
  const { receivedAt, usualMs, intervalMs } = usual;
  const usualAt = receivedAt + usualMs;
  const latest = Math.min(endsAt + spreadMs, usualAt + Math.min(intervalMs, RETRY_CAP_MS));
  if (receivedAt >= endsAt || usualAt >= endsAt + spreadMs || latest <= endsAt) return usualMs;
  return Math.max(MIN_CONTACT_MS, Math.floor(endsAt + share * (latest - endsAt)) - receivedAt);
}

/**
 * When an agent whose connection a draining manager closes at `now` holds one again, in ms: at its share (0 to 1) of the
 * spread after the end, within 900 s.
 */
export function drainedReturnMs(now: number, { endsAt, spreadMs }: Drain, share: number): number {
  return Math.min(RETRY_CAP_MS, Math.max(MIN_CONTACT_MS, Math.floor(endsAt + share * spreadMs - now)));
}

const GOLDEN_SHARE = (Math.sqrt(5) - 1) / 2;

/** The share of the `n`-th who is told: however many there are, they lie evenly between 0 and 1. */
export function shareOf(n: number): number {
  return (n * GOLDEN_SHARE) % 1;
}
