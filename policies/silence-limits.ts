import { returnAllowance, SPANS_EXCUSED_MAX } from './heartbeat-rules.js';
import type { Ledger } from './listening-ledger.js';
import { UNLIMITED, type Unlimited } from './setting-values.js';

/** What decides how long a computer may be silent. */
export interface SilenceWindow {
  readonly intervalMs: number;
  readonly graceMs: number;
  readonly missedAllowed: number | Unlimited;
}

/** A miss has fallen where the last receipt is at or before `seen` and the ordered contact at or before `due`. */
export interface SilenceLimit {
  readonly seen: number;
  readonly due: number;
}

export interface SilenceLimits {
  readonly late: SilenceLimit;
  readonly offline: SilenceLimit;
}

/** The limit that no instant keeps. */
export const NEVER_MS = Number.MIN_SAFE_INTEGER;

/**
 * The deadlines of heartbeat-rules.ts turned round: not when a computer's miss falls, but how long ago it must have been
 * heard for the miss to have fallen by one instant. Deaf spans make that differ with the last receipt, so receipts are
 * told apart by `cuts`: a receipt's class is the number of cuts at or before it.
 */
export interface SilenceTable {
  /** Ascending; empty where no deaf span still gives an allowance. */
  readonly cuts: readonly number[];
  /** The limits of each class, `cuts.length + 1` of them. */
  limitsOf(window: SilenceWindow): readonly SilenceLimits[];
}

/** `windows` are all that will be asked for: the longest allowance among them decides where the cuts begin. */
export function createSilenceTable(ledger: Ledger, at: number, windows: readonly SilenceWindow[]): SilenceTable {
  const allowanceMs = windows.reduce((most, window) => Math.max(most, allowanceOf(window)), 0);
  const first = firstUnsettled(ledger, at, allowanceMs);
  const cuts = ledger.spans.slice(first).flatMap(({ until }) => (until <= at ? [until] : []));
  const computed = new Map<string, readonly SilenceLimits[]>();
  return {
    cuts,
    limitsOf(window) {
      const name = `${window.intervalMs} ${window.graceMs} ${window.missedAllowed}`;
      const known = computed.get(name);
      if (known) return known;
      const limits = Array.from({ length: cuts.length + 1 }, (_, index) =>
        limitsWithin(window, heardBy({ ledger, at, endedBefore: first + index }, allowanceOf(window)), ledger),
      );
      computed.set(name, limits);
      return limits;
    },
  };
}

function allowanceOf({ intervalMs, graceMs }: SilenceWindow): number {
  return returnAllowance(intervalMs, graceMs);
}

/** Up to this many spans may have ended before a receipt and the allowances of those after it are used up by `at`. */
function firstUnsettled({ spans, listeningAt }: Ledger, at: number, allowanceMs: number): number {
  const heard = listeningAt(at);
  const isSettled = (index: number): boolean => {
    const last = spans[Math.min(index + SPANS_EXCUSED_MAX, spans.length) - 1];
    return !last || listeningAt(last.until) + allowanceMs <= heard;
  };
  if (isSettled(spans.length - 1)) return spans.length;
  let first = spans.length - 1;
  while (first > 0 && !isSettled(first)) first -= 1;
  return first;
}

interface Stretches {
  readonly ledger: Ledger;
  readonly at: number;
  /** How many spans had ended by the last receipt. */
  readonly endedBefore: number;
}

/** The listening time that misses count to: of the latest stretch between two spans in which no allowance ran. */
function heardBy({ ledger, at, endedBefore }: Stretches, allowanceMs: number): number {
  const { spans } = ledger;
  const heardIn = (stretch: number): number => {
    const next = stretch === SPANS_EXCUSED_MAX ? undefined : spans[endedBefore + stretch];
    return ledger.listeningAt(Math.min(at, next?.until ?? at));
  };
  let heard = heardIn(0);
  for (let stretch = 1; stretch <= SPANS_EXCUSED_MAX; stretch += 1) {
    const last = spans[endedBefore + stretch - 1];
    if (!last) break;
    const until = heardIn(stretch);
    if (until >= ledger.listeningAt(last.until) + allowanceMs) heard = until;
  }
  return heard;
}

function limitsWithin({ intervalMs, graceMs, missedAllowed }: SilenceWindow, heard: number, ledger: Ledger) {
  const limitOf = (miss: number): SilenceLimit => ({
    seen: toInstant(ledger.latestAt(heard - graceMs - miss * intervalMs)),
    due: toInstant(ledger.latestAt(heard - graceMs - (miss - 1) * intervalMs)),
  });
  const offline = missedAllowed === UNLIMITED ? { seen: NEVER_MS, due: NEVER_MS } : limitOf(missedAllowed + 1);
  return { late: limitOf(1), offline };
}

function toInstant(value: number): number {
  return value === Number.POSITIVE_INFINITY ? Number.MAX_SAFE_INTEGER : Math.floor(value);
}
