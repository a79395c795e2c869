/**
 * What exchanges tell of an agent's clock: the offset by four timestamps with its error bound (RFC 5905 section 8), the
 * best of the last samples (section 10) and the rate at which a clock gains. Milliseconds throughout; an offset is the
 * agent's clock less the manager's fleet clock, positive for an agent that is ahead.
 */

/** The four timestamps of one exchange, each by its owner's clock, whole: agent, manager, manager, agent. */
export interface FourTimestamps {
  readonly sentAt: number;
  readonly receivedAt: number;
  readonly answeredAt: number;
  readonly answerReceivedAt: number;
}

/** One exchange at fleet instant `at`: the true offset lay within `errorMs` of `aheadMs`. */
export interface ClockSample {
  readonly at: number;
  readonly aheadMs: number;
  readonly errorMs: number;
  readonly roundTripMs: number;
}

/** An attempt ends after 10 s (beat-rules.ts of the agent): what took longer holds a step of the agent's clock. */
const LONGEST_ROUND_TRIP_MS = 15_000;
/** Two whole numbers of the agent, rounded, and two of the manager, cut off: so much a round trip may seem shorter. */
const ROUNDED_MS = 2;
/** The same of the offset, and what the two clocks part by within `UNCHARGED_MS`. */
const RESOLUTION_MS = 3;
const UNCHARGED_MS = 2000;
/** RFC 5905: no clock that runs gains or loses more than 500 parts per million. */
export const FREQUENCY_TOLERANCE = 500e-6;

/** How far the true offset may be from one that such a round trip gave, however its delay falls on the two ways. */
export function errorBoundOf(roundTripMs: number): number {
  return Math.ceil(roundTripMs / 2) + RESOLUTION_MS;
}

/** The round trip that an error bound is of. */
export function roundTripOf(errorMs: number): number {
  return Math.max(0, 2 * (errorMs - RESOLUTION_MS));
}

/**
 * The offset by four timestamps, whoever dialled and over whatever carrier: the report always leaves first and the orders
 * arrive last. The report cannot arrive before it left nor the orders before they were sent, so the bound holds also where
 * a proxy delays one way alone. Null if the timestamps make no sense.
 */
export function sampleOf(timestamps: FourTimestamps): ClockSample | null {
  const { sentAt, receivedAt, answeredAt, answerReceivedAt } = timestamps;
  const exchangeMs = answerReceivedAt - sentAt;
  const processingMs = answeredAt - receivedAt;
  const measuredMs = exchangeMs - processingMs;
  // A slow clock measures less than the manager's; who takes longer than that was set meanwhile.
  const leastMs = -ROUNDED_MS - processingMs * FREQUENCY_TOLERANCE;
  if (!(measuredMs >= leastMs) || measuredMs > LONGEST_ROUND_TRIP_MS) return null;
  const chargedMs = Math.ceil(2 * FREQUENCY_TOLERANCE * Math.max(0, Math.max(exchangeMs, processingMs) - UNCHARGED_MS));
  const roundTripMs = Math.max(0, measuredMs) + chargedMs;
  const aheadMs = Math.round((sentAt - receivedAt + (answerReceivedAt - answeredAt)) / 2);
  return { at: receivedAt, aheadMs, errorMs: errorBoundOf(roundTripMs), roundTripMs };
}

/** RFC 5905 section 10: the clock filter looks at the last eight. */
const FILTER_STAGES = 8;

export interface ClockEstimate extends ClockSample {
  /** How many samples it was chosen from. */
  readonly stages: number;
}

/**
 * The clock filter: of the last samples the one that is known best at `now`, its bound grown by what a clock may have run
 * since. A sample that contradicts the newest one is of before a step, and so is all before it. `ppm` is what the clock is
 * known to gain or lose at most, where that is more than clocks do. `samples` ascend; null where there are none.
 */
export function bestSample(samples: readonly ClockSample[], now: number, ppm = 0): ClockEstimate | null {
  const newest = samples.at(-1);
  if (!newest) return null;
  const rate = Math.max(FREQUENCY_TOLERANCE, ppm / 1e6);
  const errorAt = ({ errorMs, at }: ClockSample, instant: number): number => errorMs + Math.max(0, instant - at) * rate;
  let best = newest;
  let stages = 0;
  for (const sample of samples.slice(-FILTER_STAGES).toReversed()) {
    if (Math.abs(sample.aheadMs - newest.aheadMs) > errorAt(sample, newest.at) + newest.errorMs) break;
    stages += 1;
    if (errorAt(sample, now) < errorAt(best, now)) best = sample;
  }
  return { ...best, errorMs: Math.ceil(errorAt(best, now)), stages };
}

/** A change of the offset between two samples that follow one another, larger than any running clock makes. */
export interface ClockJump {
  /** It lies between these two fleet instants. */
  readonly from: number;
  readonly until: number;
  readonly byMs: number;
  /** What is certain of it. */
  readonly certainMs: number;
}

/** An agent tells steps of more than this itself (beat-rules.ts of the agent). */
const JUMP_MS = 1000;
const JUMP_RATE = 1500e-6;

/** `samples` ascend. */
export function jumpsIn(samples: readonly ClockSample[]): ClockJump[] {
  return samples.slice(1).flatMap((after, index) => {
    const before = samples[index] ?? after;
    const byMs = after.aheadMs - before.aheadMs;
    const certainMs = Math.max(0, Math.abs(byMs) - before.errorMs - after.errorMs);
    const isJump = certainMs > JUMP_MS + (after.at - before.at) * JUMP_RATE;
    return isJump ? [{ from: before.at, until: after.at, byMs, certainMs }] : [];
  });
}

/** How fast a clock gains, in parts per million: the true rate lies within `boundPpm` of `ppm` where it is `isSteady`. */
export interface ClockDrift {
  readonly ppm: number;
  readonly boundPpm: number;
  /** The first and the last sample, fleet instants. */
  readonly from: number;
  readonly until: number;
  readonly samples: number;
  /** The samples lie on one line, within their errors and what a good clock wanders. */
  readonly isSteady: boolean;
}

const FEWEST_SAMPLES = 3;
const SHORTEST_SPAN_MS = 10_000;
/** What a steady clock may wander beside the line: so much, or this part of what it gained over the span. */
const WANDER_MS = 20;
const WANDER_SHARE = 0.05;
/** No more than that, or a pause of hours looks like a rate. */
const MOST_WANDER_MS = 500;

/**
 * The line through samples that hold no jump: the median of the slopes of all pairs (Theil and Sen), which a few bad
 * samples do not turn, within the slopes that all error bounds allow. Null for too few samples, or too short a time.
 */
export function driftOf(samples: readonly ClockSample[]): ClockDrift | null {
  const [first] = samples;
  const last = samples.at(-1);
  if (!first || !last || samples.length < FEWEST_SAMPLES || last.at - first.at < SHORTEST_SPAN_MS) return null;
  const { low, high } = allowedSlopes(samples, 0);
  const middle = medianOf(slopesOf(samples));
  const isAllowed = low <= high;
  const slope = isAllowed ? Math.min(high, Math.max(low, middle)) : middle;
  const beside = besideLine(samples, slope);
  // As much again: errors that just suffice allow no other slope than this one.
  const bounds = isAllowed ? { low, high } : allowedSlopes(samples, 2 * beside);
  const gainedMs = Math.abs(slope) * (last.at - first.at);
  return {
    ppm: slope * 1e6,
    boundPpm: Math.max(bounds.high - slope, slope - bounds.low, 0) * 1e6,
    from: first.at,
    until: last.at,
    samples: samples.length,
    isSteady: beside <= Math.min(MOST_WANDER_MS, Math.max(WANDER_MS, gainedMs * WANDER_SHARE)),
  };
}

/** The rate that a drift shows at least, whichever way; parts per million. */
export function certainPpm(drift: ClockDrift | null): number {
  return drift?.isSteady ? Math.max(0, Math.abs(drift.ppm) - drift.boundPpm) : 0;
}

/** What to grow error bounds by: more than clocks do only where that is certain. */
export function mostPpm(drift: ClockDrift | null): number {
  const isFast = certainPpm(drift) > FREQUENCY_TOLERANCE * 1e6;
  return drift && isFast ? Math.abs(drift.ppm) + drift.boundPpm : 0;
}

/** Of all pairs; ascending. A ring has five thousand, and a batch of reports may ask for two hundred rings. */
function slopesOf(samples: readonly ClockSample[]): Float64Array {
  const slopes = new Float64Array((samples.length * (samples.length - 1)) / 2);
  let count = 0;
  for (const [index, after] of samples.entries())
    for (let earlier = 0; earlier < index; earlier += 1) {
      const before = samples[earlier] ?? after;
      if (after.at <= before.at) continue;
      slopes[count] = (after.aheadMs - before.aheadMs) / (after.at - before.at);
      count += 1;
    }
  return slopes.subarray(0, count).sort();
}

/** The slopes of the lines that pass all samples within their errors, each grown by `moreMs`; none where low > high. */
function allowedSlopes(samples: readonly ClockSample[], moreMs: number): { low: number; high: number } {
  let low = Number.NEGATIVE_INFINITY;
  let high = Number.POSITIVE_INFINITY;
  for (const [index, after] of samples.entries())
    for (let earlier = 0; earlier < index; earlier += 1) {
      const before = samples[earlier] ?? after;
      const spanMs = after.at - before.at;
      if (spanMs <= 0) continue;
      const byMs = after.aheadMs - before.aheadMs;
      const withinMs = before.errorMs + after.errorMs + 2 * moreMs;
      low = Math.max(low, (byMs - withinMs) / spanMs);
      high = Math.min(high, (byMs + withinMs) / spanMs);
    }
  return { low, high };
}

/** How much all errors must grow for a line of this slope to pass all samples. */
function besideLine(samples: readonly ClockSample[], slope: number): number {
  let low = Number.NEGATIVE_INFINITY;
  let high = Number.POSITIVE_INFINITY;
  for (const { at, aheadMs, errorMs } of samples) {
    low = Math.max(low, aheadMs - errorMs - slope * at);
    high = Math.min(high, aheadMs + errorMs - slope * at);
  }
  return Math.max(0, (low - high) / 2);
}

function medianOf(ascending: Float64Array): number {
  const middle = ascending.length >>> 1;
  const upper = ascending[middle] ?? 0;
  return ascending.length % 2 === 1 ? upper : ((ascending[middle - 1] ?? upper) + upper) / 2;
}
