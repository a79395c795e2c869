import { Cron } from 'croner';
import type { Span } from './listening-ledger.js';
import type { MaintenanceWindow } from './setting-values.js';

const MINUTE_MS = 60_000;
/** How far ends that run into each other are followed to tell when the present one ends. */
const FOLLOWED_MAX = 200;

/**
 * When the windows of one `maintenanceWindows` setting are open. Instants are wall milliseconds, spans are half open,
 * and windows that overlap or touch are one span. A window begins where its cron expression matches the time of day in
 * its zone, and lasts as many minutes on a day of 23 or 25 hours as on any other. Starts at fixed times, on such a day: one
 * inside the skipped hour begins at the hour's end, one inside the repeated hour begins once, the first time.
 */
export interface MaintenanceCalendar {
  /**
   * Until when it is maintenance at an instant, or null when it is not. Of windows that run into each other for ever it
   * is an instant up to which that is sure: ask again then.
   */
  endAt(at: number): number | null;
  /** The first spans that begin after an instant; fewer where no end of one, or no further one, is in sight. */
  next(at: number, count: number): Span[];
  /** The spans within a range, in order and clipped to it; computed as they are taken, so that a caller can yield. */
  spans(range: Span): Generator<Span>;
}

/** Compiles windows that passed the catalogue's schema: that costs far more than a question does. */
export function createMaintenanceCalendar(windows: readonly MaintenanceWindow[]): MaintenanceCalendar {
  const timetables = windows.map(toTimetable);
  const coveredUntil = (at: number): number | null => latest(timetables.map((table) => table.coveredUntil(at)));
  const nextStart = (at: number): number | null => earliest(timetables.map((table) => table.nextStart(at)));
  const follow = (from: number, limit: Limit): number => {
    let end = from;
    for (let step = 0; step < limit.steps && end < limit.until; step += 1) {
      const further = coveredUntil(end);
      if (further === null) break;
      end = further;
    }
    return end;
  };
  function* spans({ from, until }: Span): Generator<Span> {
    let start = coveredUntil(from) === null ? nextStart(from) : from;
    while (start !== null && start < until) {
      const end = follow(start, { until, steps: Number.POSITIVE_INFINITY });
      yield { from: start, until: Math.min(end, until) };
      start = nextStart(end);
    }
  }
  return {
    spans,
    endAt(at) {
      const end = follow(at, { until: Number.POSITIVE_INFINITY, steps: FOLLOWED_MAX });
      return end === at ? null : end;
    },
    next(at, count) {
      const found: Span[] = [];
      let end = follow(at, { until: Number.POSITIVE_INFINITY, steps: FOLLOWED_MAX });
      while (found.length < count && coveredUntil(end) === null) {
        const from = nextStart(end);
        if (from === null) break;
        end = follow(from, { until: Number.POSITIVE_INFINITY, steps: FOLLOWED_MAX });
        found.push({ from, until: end });
      }
      return found;
    },
  };
}

/** The spans of windows within a range, in order and clipped to it. */
export function maintenanceSpans(windows: readonly MaintenanceWindow[], range: Span): Span[] {
  return [...createMaintenanceCalendar(windows).spans(range)];
}

interface Limit {
  readonly until: number;
  readonly steps: number;
}

/** One window; a start at `at` itself covers it. */
interface Timetable {
  /** The end of the occurrence that covers an instant, of several the last. */
  coveredUntil(at: number): number | null;
  /** The first start after an instant. */
  nextStart(at: number): number | null;
}

function toTimetable({ cron, durationMinutes, timeZone }: MaintenanceWindow): Timetable {
  const pattern = new Cron(cron, {
    timezone: timeZone,
    mode: '5-part',
    fixedTimeRule: 'no-wildcard',
  });
  const durationMs = durationMinutes * MINUTE_MS;
  const nextStart = (at: number): number | null => pattern.nextRun(new Date(at))?.getTime() ?? null;
  return {
    nextStart,
    coveredUntil(at) {
      const first = nextStart(at - durationMs);
      if (first === null || first > at) return null;
      // Looked for backwards: a window that begins each minute and lasts a week is covered by ten thousand starts.
      const [last] = pattern.previousRuns(1, new Date(at + 1));
      return (last?.getTime() ?? first) + durationMs;
    },
  };
}

function latest(instants: readonly (number | null)[]): number | null {
  return instants.reduce((a, b) => (a === null || (b !== null && b > a) ? b : a), null);
}

function earliest(instants: readonly (number | null)[]): number | null {
  return instants.reduce((a, b) => (a === null || (b !== null && b < a) ? b : a), null);
}
