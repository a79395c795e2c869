/** Half-open, in fleet milliseconds; `until` may be Infinity. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

/** The same time as disjoint spans, ascending. */
export function joined(spans: readonly Span[]): Span[] {
  const result: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const last = result.at(-1);
    if (span.until <= span.from) continue;
    if (last && span.from <= last.until)
      result[result.length - 1] = { from: last.from, until: Math.max(last.until, span.until) };
    else result.push(span);
  }
  return result;
}

/** Λ of design.md §5: the time up to `at` without what lies in the spans, which are joined. */
export function heardBy(at: number, spans: readonly Span[]): number {
  let heard = at;
  for (const { from, until } of spans) if (from < at) heard -= Math.min(until, at) - from;
  return heard;
}

/** The first instant by which so much was heard; Infinity where an endless span comes before. */
export function instantOf(heard: number, spans: readonly Span[]): number {
  let instant = heard;
  for (const { from, until } of spans) {
    if (from >= instant) break;
    instant += until - from;
  }
  return instant;
}
