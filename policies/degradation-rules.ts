import type { Span } from './listening-ledger.js';

/** What happened within this long counts. */
export const DEGRADED_WINDOW_MS = 300_000;
const DEAF_LIMIT_MS = 30_000;
const LAG_LIMIT_MS = 5000;
/** How far most computers may stand beside the manager's clock: no step that its wall clock is trusted with comes to more. */
const BESIDE_LIMIT_MS = 300_000;
/** Any second of these is one too many. */
const GRAVE = ['not-accepting', 'self-suspicion'] as const;

export interface NamedSpan extends Span {
  readonly cause: string;
}

export interface ManagerHealth {
  /** What was deaf, in any order; a time that is not over ends now. */
  readonly spans: readonly NamedSpan[];
  /** How late verdicts were looked for at worst within the window. */
  readonly worstLagMs: number;
  /** Where most computers' clocks stand beside the manager's; null where that is not known. */
  readonly clocksBesideMs?: number | null;
}

export interface Degradation {
  readonly reason: (typeof GRAVE)[number] | 'deaf' | 'scheduler-lag' | 'clock-doubted';
  /** Within the window; what two causes share counts once. */
  readonly deafMs: number;
  readonly deafMsByCause: Readonly<Record<string, number>>;
  /** What lies in the window at least in part, by its beginning. */
  readonly spans: readonly NamedSpan[];
  readonly worstLagMs: number;
  /** Above the limit. */
  readonly clocksBesideMs?: number;
}

/** Whether the manager cannot be relied on, and the evidence; null where it can. */
export function degradationOf(
  { spans, worstLagMs, clocksBesideMs = null }: ManagerHealth,
  at: number,
): Degradation | null {
  const begin = at - DEGRADED_WINDOW_MS;
  const recent = spans
    .filter(({ from, until }) => until > begin && from < at && from < until)
    .toSorted((a, b) => a.from - b.from || a.until - b.until);
  const deafMs = coveredMs(recent, { from: begin, until: at });
  const deafMsByCause: Record<string, number> = {};
  for (const cause of new Set(recent.map((span) => span.cause)))
    deafMsByCause[cause] = coveredMs(
      recent.filter((span) => span.cause === cause),
      { from: begin, until: at },
    );
  const isBeside = clocksBesideMs !== null && Math.abs(clocksBesideMs) > BESIDE_LIMIT_MS;
  const reason = reasonOf({ deafMs, deafMsByCause, worstLagMs }) ?? (isBeside ? 'clock-doubted' : null);
  const beside = isBeside ? { clocksBesideMs } : {};
  return reason && { reason, deafMs, deafMsByCause, spans: recent, worstLagMs, ...beside };
}

function reasonOf({
  deafMs,
  deafMsByCause,
  worstLagMs,
}: Pick<Degradation, 'deafMs' | 'deafMsByCause' | 'worstLagMs'>): Degradation['reason'] | null {
  const grave = GRAVE.find((cause) => Object.hasOwn(deafMsByCause, cause));
  if (grave) return grave;
  if (deafMs > DEAF_LIMIT_MS) return 'deaf';
  return worstLagMs > LAG_LIMIT_MS ? 'scheduler-lag' : null;
}

/** How much of a window spans cover, which are in the order of their beginnings. */
function coveredMs(spans: readonly Span[], { from, until }: Span): number {
  let covered = 0;
  let reached = from;
  for (const span of spans) {
    const end = Math.min(span.until, until);
    covered += Math.max(0, end - Math.max(span.from, reached));
    reached = Math.max(reached, end);
  }
  return covered;
}
