import { LANES, type Lane } from '../../protocol/heartbeat-messages.js';
import type { DiskRoom } from './disk-room.js';

/** Shares of `spoolMaxMegabytes`, and of what the disk allows. */
export const LANE_SHARES: Readonly<Record<Lane, number>> = { control: 0.1, detection: 0.4, log: 0.35, metric: 0.15 };
/** More is dropped than must be, so that a flood costs few gap events. */
const TRIMMED_TO = 0.9;
/** Others have taken room of the spool where it is allowed less than this share of what it was allowed before. */
const LEAST_LEFT = 3 / 4;
const LEAST_READ_BYTES = 64 * 1024;

/** New records are refused: for them to be stored, accepted ones would have to make up for what other files take. */
export class NoRoom extends Error {
  constructor(readonly needed: number) {
    super('No space left for the spool: other files have taken it');
    this.name = 'NoRoom';
  }
}

/** A lane that has to give up its oldest. */
export interface Shrinking {
  readonly lane: Lane;
  readonly toBytes: number;
}

export interface RoomNeed {
  /** Bytes of records, by lane. */
  readonly held: Readonly<Record<Lane, number>>;
  readonly into: Lane;
  readonly incoming: number;
  /** What the policy allows in all. */
  readonly maxBytes: number;
}

/**
 * What must be dropped so that new records fit into the spool's own bounds: the share of their lane, and what the disk has
 * for it. What others take of the disk is never made up for by dropping.
 */
export class SpoolRoom {
  readonly #disk: DiskRoom;
  /** The most that the disk allowed since the spool was empty; infinite where it held more than that at its start. */
  #most: number | undefined;
  #refused: NoRoom | undefined;

  constructor(disk: DiskRoom) {
    this.#disk = disk;
  }

  /** The last refusal, until `isBack`. */
  get refused(): NoRoom | undefined {
    return this.#refused;
  }

  /** Throws `NoRoom`. */
  plan({ held, into, incoming, maxBytes }: RoomNeed): Shrinking[] {
    const total = sumOf(held);
    const allowed = this.#disk.allowance(incoming);
    this.#noteMost(total, allowed);
    const shrunk = new Map<Lane, number>();
    const left = { ...held };
    const shrink = (lane: Lane, target: number): void => {
      const toBytes = Math.max(0, target * TRIMMED_TO);
      if (left[lane] <= Math.max(0, target)) return;
      left[lane] = toBytes;
      shrunk.set(lane, toBytes);
    };
    const shrinking = (): Shrinking[] => [...shrunk].map(([lane, toBytes]) => ({ lane, toBytes }));
    shrink(into, maxBytes * LANE_SHARES[into] - incoming);
    const excess = (): number => sumOf(left) + incoming - allowed;
    if (excess() <= 0) return shrinking();
    if (incoming > allowed || allowed < (this.#most ?? 0) * LEAST_LEFT) throw this.#refusal(incoming);
    for (const lane of LANES.toReversed()) {
      if (excess() <= 0) break;
      const share = Math.max(0, allowed * LANE_SHARES[lane] - (lane === into ? incoming : 0));
      shrink(lane, Math.max(share, left[lane] - excess()));
    }
    return shrinking();
  }

  /** How large a part of many new records may be. */
  partBytes(most: number): number {
    return Math.min(most, this.#disk.allowance(0) / 8);
  }

  /** What a report that is stored may hold. */
  readBytes(most: number): number {
    return Math.min(most, Math.max(LEAST_READ_BYTES, this.#disk.allowance(0) / 4));
  }

  /** Whether what was refused last would be taken now, or nothing was. */
  isBack(held: Readonly<Record<Lane, number>>): boolean {
    if (!this.#refused) return true;
    if (sumOf(held) + this.#refused.needed > this.#disk.allowance(0)) return false;
    this.#refused = undefined;
    return true;
  }

  #noteMost(total: number, allowed: number): void {
    const isAnew = total === 0 || (this.#most === Number.POSITIVE_INFINITY && total <= allowed);
    if (this.#most === undefined && total > allowed) this.#most = Number.POSITIVE_INFINITY;
    else this.#most = isAnew ? allowed : Math.max(this.#most ?? 0, allowed);
  }

  #refusal(incoming: number): NoRoom {
    this.#refused = new NoRoom(incoming);
    return this.#refused;
  }
}

function sumOf(held: Readonly<Record<Lane, number>>): number {
  return LANES.reduce((sum, lane) => sum + held[lane], 0);
}
