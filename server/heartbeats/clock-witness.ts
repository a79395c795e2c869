import {
  commonChangeOf,
  FEWEST_TOGETHER,
  isSameSize,
  majorityOf,
  type CommonChange,
  type HeardClock,
  type Majority,
  type SuspectChange,
} from '../../policies/clock-majority.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

/** What the computers of a fleet show together of the manager's clock. In memory: a hint that costs no statement. */
export interface ClockWitness {
  /** Notes a report's clock; answers whether this process heard the computer for the first time, and hardly any other. */
  hear(heard: HeardClock): boolean;
  /** Where most computers stand together; null where they do not. */
  majority(now: FleetInstant): Majority | null;
  /** Where most computers stand beside trusted time; null where they do not stand together. */
  besideMs(now: FleetInstant): number | null;
  /** What the manager's clock did to a change, milliseconds of it; 0 where it was the computer's own. */
  managerStep(change: SuspectChange): number;
}

/** No other computer is known. */
export const ALONE: ClockWitness = {
  hear: () => false,
  majority: () => null,
  besideMs: () => null,
  managerStep: () => 0,
};

/** What the manager's clock seems to have done, by the word of many computers. */
export type ClockDoubt =
  ({ readonly kind: 'stepped' } & CommonChange) | ({ readonly kind: 'beside'; readonly offsetMs: number } & Majority);

export interface ClockWitnessDeps {
  /** Trusted time less the fleet clock. */
  readonly trustedMs: (now: FleetInstant) => number;
  /** Told once an hour at most of the same doubt. */
  readonly onDoubt: (doubt: ClockDoubt) => void;
}

/** So many are asked, those that were heard last. */
const MOST_WITNESSES = 512;
const MOST_STEPS = 64;
/** Who was heard longer ago says nothing of the present, unless it reports as rarely: then its next word is due by now. */
const FRESH_MS = 30 * 60_000;
const FRESH_INTERVALS = 2;
/** What a clock goes wrong by while nothing is heard: twice as much as quartz does. */
const DRIFT_SHARE = 1e-4;
const COUNT_EVERY_MS = 1000;
const TELL_EVERY_MS = 3_600_000;
/** A manager within this of most computers is right. */
const BESIDE_MS = 5000;

export function createClockWitness(deps: ClockWitnessDeps): ClockWitness {
  return new Witness(deps);
}

class Witness implements ClockWitness {
  readonly #deps: ClockWitnessDeps;
  /** Who was heard last comes last. */
  readonly #heard = new Map<string, HeardClock>();
  #steps: CommonChange[] = [];
  #counted: { readonly at: FleetInstant; readonly heard: number; readonly majority: Majority | null } | undefined;
  #told = new Map<ClockDoubt['kind'], FleetInstant>();

  constructor(deps: ClockWitnessDeps) {
    this.#deps = deps;
  }

  hear(heard: HeardClock): boolean {
    const before = this.#heard.get(heard.computerId);
    this.#heard.delete(heard.computerId);
    const isLonely = this.#heard.size + 1 < FEWEST_TOGETHER;
    this.#heard.set(heard.computerId, before ? withEarlierTold(heard, before) : heard);
    const [oldest] = this.#heard.size > MOST_WITNESSES ? this.#heard.keys() : [];
    if (oldest !== undefined) this.#heard.delete(oldest);
    return isLonely && (before === undefined || isSameReport(heard, before));
  }

  majority(now: FleetInstant): Majority | null {
    // Few are counted anew with each of them, for one makes a difference.
    const counted = this.#counted;
    const isCounted =
      counted && counted.heard === this.#heard.size && now - counted.at < COUNT_EVERY_MS && now >= counted.at;
    if (isCounted && this.#heard.size > MOST_WITNESSES / 8) return counted.majority;
    const fresh = [...this.#heard.values()].filter((heard) => now - heard.heardAt <= freshMs(heard));
    const majority = majorityOf(fresh);
    const offsetMs = majority ? majority.aheadMs - this.#deps.trustedMs(now) : 0;
    const longestMs = fresh.reduce((longest, { heardAt }) => Math.max(longest, now - heardAt), 0);
    const isBeside = majority !== null && Math.abs(offsetMs) > BESIDE_MS + longestMs * DRIFT_SHARE;
    this.#counted = { at: now, heard: this.#heard.size, majority };
    if (isBeside) this.#tell({ kind: 'beside', offsetMs, ...majority }, now);
    return majority;
  }

  besideMs(now: FleetInstant): number | null {
    const majority = this.majority(now);
    return majority && majority.aheadMs - this.#deps.trustedMs(now);
  }

  managerStep(change: SuspectChange): number {
    const known = this.#steps.filter(({ from, until }) => from < change.until && until > change.from);
    const same = known.find(({ byMs }) => isSameSize(byMs, change));
    if (same) return same.byMs;
    const common = commonChangeOf(change, [...this.#heard.values()]);
    if (!common) return 0;
    this.#steps = [...this.#steps, common].slice(-MOST_STEPS);
    this.#tell({ kind: 'stepped', ...common }, common.until);
    return common.byMs;
  }

  #tell(doubt: ClockDoubt, at: FleetInstant): void {
    const toldAt = this.#told.get(doubt.kind);
    if (toldAt !== undefined && at - toldAt < TELL_EVERY_MS) return;
    this.#told.set(doubt.kind, at);
    this.#deps.onDoubt(doubt);
  }
}

function freshMs({ intervalMs }: HeardClock): number {
  return Math.max(FRESH_MS, FRESH_INTERVALS * intervalMs);
}

/** A batch that could not be stored is planned again. */
function isSameReport(heard: HeardClock, before: HeardClock): boolean {
  return heard.heardAt === before.heardAt;
}

/** What was told since the reading that the row still knows explains what the clock moved by. */
function withEarlierTold(heard: HeardClock, before: HeardClock): HeardClock {
  if (isSameReport(heard, before)) return { ...heard, toldMs: before.toldMs };
  const isSince = heard.knownAt !== null && before.heardAt > heard.knownAt;
  return isSince && before.toldMs !== 0 ? { ...heard, toldMs: heard.toldMs + before.toldMs } : heard;
}
