import type { Clock } from '../../lib/clock.js';
import { EventRate, minuteOf, occurrenceBy } from '../../policies/event-rate.js';
import { LANES, type Lane } from '../../protocol/heartbeat-messages.js';
import type { RecordPlace } from './spool-keys.js';

/**
 * Holds back what the manager's limit has no place for yet. Counted by the boot clock, so that a wall clock that is set
 * never stops a lane; a place is taken once for each record, however often it is read. Lane `control` passes always.
 */
export class RateGate {
  readonly #clock: Pick<Clock, 'boot' | 'wall'>;
  #perMinute: number | undefined;
  #rate = new EventRate();
  /** The last record of each lane that has a place. */
  readonly #placed = new Map<Lane, RecordPlace>();
  /** The minute in which a lane had to wait. */
  readonly #held = new Map<Lane, number>();

  constructor(clock: Pick<Clock, 'boot' | 'wall'>) {
    this.#clock = clock;
  }

  /** Undefined: nothing is held back. */
  get perMinute(): number | undefined {
    return this.#perMinute;
  }

  setPerMinute(perMinute: number | undefined): void {
    if (perMinute === this.#perMinute) return;
    this.#perMinute = perMinute;
    this.#held.clear();
    // The manager may have stored a part only of what had places under the other limit.
    this.#placed.clear();
  }

  /** Whether the oldest record of the lane waits for a place now. */
  holds(lane: Lane): boolean {
    return this.#held.get(lane) === minuteOf(this.#clock.boot());
  }

  get held(): readonly Lane[] {
    return LANES.filter((lane) => this.holds(lane));
  }

  admits(place: RecordPlace, occurredAt: number): boolean {
    const { lane } = place;
    if (lane === 'control' || this.#perMinute === undefined) return true;
    const placed = this.#placed.get(lane);
    if (this.#perMinute > 0 && placed && !isBehind(place, placed)) return true;
    const now = this.#clock.boot();
    const isPlaced = this.#rate.take({
      lane,
      occurredAt: occurrenceBy(now, { claimedNow: this.#clock.wall(), occurredAt }),
      until: now,
      perMinute: this.#perMinute,
    });
    if (isPlaced) this.#placed.set(lane, place);
    else this.#held.set(lane, minuteOf(now));
    return isPlaced;
  }
}

/** Whether a record comes after another of its lane. */
function isBehind(one: RecordPlace, other: RecordPlace): boolean {
  return one.ordinal === other.ordinal ? one.sequence > other.sequence : one.ordinal > other.ordinal;
}
