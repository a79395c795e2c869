/** Slots that are looked back on, the present one among them. */
const SLOTS = 20;
/** A slot's weight in hundredths: from 0.80 for the oldest by 0.02 up to 1.18 for the present one. */
const OLDEST_WEIGHT = 80;
const WEIGHT_STEP = 2;
/** More than 30 % of the slots, weighted and in hundredths, begin flapping; less than 25 % end it. */
const ON_ABOVE = SLOTS * 30;
const OFF_BELOW = SLOTS * 25;
const SHORTEST_SLOT_MS = 60_000;
const LONGEST_SLOT_MS = 600_000;

export interface FlapHistory {
  /** The instants at which the condition began or ended, in order; fleet milliseconds. */
  readonly changes: readonly number[];
  /** Until when it counts as flapping if nothing changes; null when it does not flap. */
  readonly calmAt: number | null;
}

export const NO_FLAPS: FlapHistory = { changes: [], calmAt: null };

/**
 * The length of one sample: the silence that makes a computer offline, from one to ten minutes. It goes down at most once
 * in that time, so that a short outage fills two samples and neither the length of an outage nor a busy minute counts.
 */
export function flapSlotMs(offlineAfterMs: number): number {
  return Math.min(Math.max(offlineAfterMs, SHORTEST_SLOT_MS), LONGEST_SLOT_MS);
}

/**
 * Takes changes into a history, and judges by it: the share of the last 20 samples in which the state changed, weighted
 * so that newer ones count more, as Icinga 2 does it (`Checkable::UpdateFlappingStatus`, after Nagios' 21 checks). One
 * outage is at most 12 % and two are 24 %; the third within 20 samples is flapping.
 */
export function withChanges(
  history: FlapHistory,
  changes: readonly number[],
  { slotMs, at }: { readonly slotMs: number; readonly at: number },
): FlapHistory {
  const oldest = (slotOf(at, slotMs) - SLOTS + 1) * slotMs;
  const known = [...new Set([...history.changes, ...changes])]
    .filter((change) => change >= oldest)
    .sort((a, b) => a - b);
  const kept = known.filter((change, index) => slotOf(change, slotMs) !== slotOf(known[index + 1] ?? Infinity, slotMs));
  const wasFlapping = isFlapping(history, at);
  const score = scoreAt(kept, slotOf(at, slotMs), slotMs);
  const flaps = wasFlapping ? score >= OFF_BELOW : score > ON_ABOVE;
  return { changes: kept, calmAt: flaps ? calmFrom(kept, at, slotMs) : null };
}

export function isFlapping({ calmAt }: Pick<FlapHistory, 'calmAt'>, at: number): boolean {
  return calmAt !== null && at < calmAt;
}

function slotOf(at: number, slotMs: number): number {
  return Math.floor(at / slotMs);
}

function scoreAt(changes: readonly number[], present: number, slotMs: number): number {
  return (
    changes
      // Another node's clock may be a little ahead.
      .map((change) => SLOTS - 1 - Math.max(0, present - slotOf(change, slotMs)))
      .filter((index) => index >= 0)
      .reduce((sum, index) => sum + OLDEST_WEIGHT + WEIGHT_STEP * index, 0)
  );
}

/** The beginning of the first slot in which, with no further change, it is calm. */
function calmFrom(changes: readonly number[], at: number, slotMs: number): number {
  let slot = slotOf(at, slotMs);
  while (scoreAt(changes, slot, slotMs) >= OFF_BELOW) slot += 1;
  return slot * slotMs;
}
