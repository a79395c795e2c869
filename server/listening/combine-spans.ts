import type { DeafSpan } from './listening.js';

/** A listener is live until this long after what it last proved. */
export const LISTENER_LIVE_MS = 5000;

/** What is stored of one listener. */
export interface ListenerRecord {
  readonly listenedUntil: number;
  readonly spans: readonly DeafSpan[];
}

/** The spans in which every listener was deaf, ascending and disjoint. One that is not live is deaf from its proof on. */
export function combineSpans(listeners: readonly ListenerRecord[], now: number): DeafSpan[] {
  const [first, ...others] = listeners.map((listener) => union(deafTimesOf(listener, now)));
  return others.reduce(intersect, first ?? []);
}

function deafTimesOf({ listenedUntil, spans }: ListenerRecord, now: number): readonly DeafSpan[] {
  if (listenedUntil + LISTENER_LIVE_MS >= now) return spans;
  return [...spans, { from: listenedUntil, until: Number.POSITIVE_INFINITY }];
}

function union(spans: readonly DeafSpan[]): DeafSpan[] {
  const result: DeafSpan[] = [];
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const last = result.at(-1);
    if (last && span.from <= last.until)
      result[result.length - 1] = { from: last.from, until: Math.max(last.until, span.until) };
    else result.push(span);
  }
  return result;
}

function intersect(a: readonly DeafSpan[], b: readonly DeafSpan[]): DeafSpan[] {
  const result: DeafSpan[] = [];
  let [left, right] = [0, 0];
  for (let one = a[left], other = b[right]; one && other; one = a[left], other = b[right]) {
    const shared = { from: Math.max(one.from, other.from), until: Math.min(one.until, other.until) };
    if (shared.from < shared.until) result.push(shared);
    if (one.until < other.until) left += 1;
    else right += 1;
  }
  return result;
}
