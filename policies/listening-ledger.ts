/** A time in which nothing was listened to: fleet milliseconds, half open. `until` may be Infinity. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

/** Spans less than this apart count as one. */
export const SPAN_JOIN_MS = 5000;

/** Listening time over a set of deaf spans; every question costs O(log spans). */
export interface Ledger {
  /** The merged spans, in order. */
  readonly spans: readonly Span[];
  /** Λ: fleet time less the spans up to `at`. */
  listeningAt(at: number): number;
  /** The earliest instant with Λ ≥ `listening`, Infinity if none; never inside a span (it may be where one begins). */
  earliestAt(listening: number): number;
  /** The latest instant with Λ ≤ `listening`, Infinity if there is no last one; never inside a span. */
  latestAt(listening: number): number;
  /** The index in `spans` of the first that ends after `at`; their number if none does. */
  firstEndingAfter(at: number): number;
}

/** Orders the spans, drops empty ones and joins those that overlap or are less than 5 s apart. */
export function mergeSpans(spans: readonly Span[]): Span[] {
  const merged: Span[] = [];
  for (const span of spans.filter(({ from, until }) => until > from).sort((a, b) => a.from - b.from)) {
    const last = merged.at(-1);
    if (last && span.from - last.until < SPAN_JOIN_MS)
      merged[merged.length - 1] = { from: last.from, until: Math.max(last.until, span.until) };
    else merged.push(span);
  }
  return merged;
}

export function createLedger(deafSpans: readonly Span[]): Ledger {
  const spans = mergeSpans(deafSpans);
  const heardBefore: number[] = [];
  let deaf = 0;
  for (const { from, until } of spans) {
    heardBefore.push(from - deaf);
    deaf += until - from;
  }
  /** Λ at `at`, given that the spans before `next` begin at or before it. */
  const heardAfter = (next: number, at: number): number => {
    const last = spans[next - 1];
    return last ? (heardBefore[next - 1] ?? 0) + (at > last.until ? at - last.until : 0) : at;
  };
  /** The instant with that Λ, given that the spans before `next` are over by then. */
  const instantAfter = (next: number, listening: number): number => {
    const last = spans[next - 1];
    return last ? last.until + (listening - (heardBefore[next - 1] ?? 0)) : listening;
  };
  return {
    spans,
    listeningAt: (at) =>
      heardAfter(
        firstIndex(spans.length, (index) => (spans[index]?.from ?? 0) > at),
        at,
      ),
    earliestAt: (listening) =>
      instantAfter(
        firstIndex(spans.length, (index) => (heardBefore[index] ?? 0) >= listening),
        listening,
      ),
    latestAt: (listening) =>
      instantAfter(
        firstIndex(spans.length, (index) => (heardBefore[index] ?? 0) > listening),
        listening,
      ),
    firstEndingAfter: (at) => firstIndex(spans.length, (index) => (spans[index]?.until ?? 0) > at),
  };
}

/** The first index below `count` for which a monotone question is true, else `count`. */
function firstIndex(count: number, isTrue: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isTrue(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
