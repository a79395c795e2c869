const MINUTE_MS = 60_000;
/** Minutes whose use is remembered; what is forgotten counts as unused. */
const MOST_MINUTES = 8;

export interface EventPlace {
  /** Places of one lane are given in its order. */
  readonly lane: string;
  /** When the event occurred, milliseconds. */
  readonly occurredAt: number;
  /** The end of what may be used, milliseconds of the same clock. */
  readonly until: number;
  readonly perMinute: number;
}

/**
 * The limit of `eventRateLimitPerMinute`: every minute has so many places. An event takes the first free one that is not
 * before the minute it occurred in, nor before the place of the event ahead of it in its lane, and may go once that minute
 * has begun. So a flood waits for the places of later minutes, and what gathered slowly while nobody answered has its
 * places behind it and waits for nothing. The clock must never go back.
 */
export class EventRate {
  readonly #used: Map<number, number>;
  readonly #reached: Map<string, number>;

  constructor(of?: EventRate) {
    this.#used = new Map(of ? of.#used : []);
    this.#reached = new Map(of ? of.#reached : []);
  }

  /** Takes a place for an event, if one is free by now. */
  take({ lane, occurredAt, until, perMinute }: EventPlace): boolean {
    if (perMinute <= 0) return false;
    const last = minuteOf(until);
    let minute = Math.max(Math.min(minuteOf(occurredAt), last), this.#reached.get(lane) ?? Number.NEGATIVE_INFINITY);
    while (minute <= last && (this.#used.get(minute) ?? 0) >= perMinute) minute += 1;
    if (minute > last) return false;
    this.#reached.set(lane, minute);
    this.#used.set(minute, (this.#used.get(minute) ?? 0) + 1);
    if (this.#used.size > MOST_MINUTES) this.#forgetOldest();
    return true;
  }

  /** But for those that lanes stand at: a lane that is behind the others must not begin its minute anew. */
  #forgetOldest(): void {
    const present = new Set(this.#reached.values());
    this.#used.delete(Math.min(...[...this.#used.keys()].filter((minute) => !present.has(minute))));
  }
}

export function minuteOf(at: number): number {
  return Math.floor(at / MINUTE_MS);
}

/**
 * When an event occurred by the clock of whoever judges it: as long before `now` as its maker's clock says that it is old.
 * A clock that is wrong by the same amount all along changes nothing; after one that was set back the event is new.
 */
export function occurrenceBy(
  now: number,
  { claimedNow, occurredAt }: { claimedNow: number; occurredAt: number },
): number {
  return now - Math.max(0, claimedNow - occurredAt);
}
