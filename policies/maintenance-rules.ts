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
  /** Whether no end is in sight at an instant of maintenance: its windows run into each other further than is followed. */
  isEndlessAt(at: number): boolean;
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
    isEndlessAt(at) {
      const end = follow(at, { until: Number.POSITIVE_INFINITY, steps: FOLLOWED_MAX });
      return end !== at && coveredUntil(end) !== null;
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

/** Which computers a one-off window is for: all that is named must hold, and something is. */
export interface WindowTarget {
  readonly computerId: string | null;
  /** The policy and all below it. */
  readonly policyId: string | null;
  /** `key`, or `key=value`. */
  readonly label: string | null;
}

export interface TargetedComputer {
  readonly id: string;
  /** Its policy and those above it. */
  readonly lineage: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

export function isAimedAt({ computerId, policyId, label }: WindowTarget, computer: TargetedComputer): boolean {
  return (
    (computerId === null || computerId === computer.id) &&
    (policyId === null || computer.lineage.includes(policyId)) &&
    (label === null || labelTexts(computer.labels).includes(label))
  );
}

/** Every way in which a window may name one of a computer's labels. */
export function labelTexts(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels).flatMap(([key, value]) => [key, `${key}=${value}`]);
}

export interface OneOffWindow extends Span {
  readonly id: string;
}

/** What is in force at an instant. */
export interface Maintenance {
  /** Until when without a break, whatever covers it by then. */
  readonly until: number;
  /** No end is in sight: `until` is as far as it is sure. */
  readonly isEndless: boolean;
  /** The one-off window that covers the instant longest; null where it is one of the setting's. */
  readonly windowId: string | null;
}

export interface AllWindows {
  readonly calendar: MaintenanceCalendar;
  readonly oneOffs: readonly OneOffWindow[];
}

type Covering = Pick<Maintenance, 'until' | 'windowId'>;

/** Maintenance by the setting and by one-off windows together; null where there is none at the instant. */
export function maintenanceAt({ calendar, oneOffs }: AllWindows, at: number): Maintenance | null {
  const longestAt = (instant: number): Covering | null => {
    const byCalendar = calendar.endAt(instant);
    return oneOffs
      .filter(({ from, until }) => from <= instant && instant < until)
      .map(({ until, id }) => ({ until, windowId: id }))
      .reduce<Covering | null>(
        (longest, one) => (longest && longest.until >= one.until ? longest : one),
        byCalendar === null ? null : { until: byCalendar, windowId: null },
      );
  };
  const first = longestAt(at);
  let until = first?.until ?? at;
  let isEndless = false;
  for (let further = first, step = 0; further && step < FOLLOWED_MAX; step += 1) {
    until = further.until;
    const next = longestAt(until);
    isEndless = next !== null;
    // The calendar has followed its own windows as far as it does; only a one-off window leads further.
    further = further.windowId === null && next?.windowId === null ? null : next;
  }
  return first && { until, isEndless, windowId: first.windowId };
}

/** When the next window of either sort begins; null for never. */
export function nextMaintenanceAt({ calendar, oneOffs }: AllWindows, at: number): number | null {
  const starts = oneOffs.map(({ from }) => from).filter((from) => from > at);
  return earliest([calendar.next(at, 1)[0]?.from ?? null, ...starts]);
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
