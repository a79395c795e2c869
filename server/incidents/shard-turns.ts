import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { SHARD_COUNT, shardOf } from '../shards/shard-rules.js';

/** A shard is read again now and then; all of them within about a minute. */
const EVERY_MS = 60_000 / SHARD_COUNT;
/** Reading takes at most a fortieth of the time. */
const SHARE = 40;
/** Of shards known to have changed, so much is read in a row. */
const ROW_MS = 50;

/** Whose turn it is to be counted again: those known to have changed first. */
export class ShardTurns {
  readonly #changed = new Set<number>();
  #next = 0;
  #dueAt = Number.NEGATIVE_INFINITY;

  /** Somebody in the computer's shard began or ceased to count. */
  noteChanged(computerId: string): void {
    this.#changed.add(shardOf(computerId));
  }

  /** Reads what is due with `read`. */
  async take(now: () => FleetInstant, read: (shard: number) => Promise<void>): Promise<void> {
    const begunAt = now();
    if (begunAt < this.#dueAt) return;
    const hasChanged = this.#changed.size > 0;
    do await read(this.#takeOne());
    while (this.#changed.size > 0 && now() - begunAt < ROW_MS);
    const took = now() - begunAt;
    this.#dueAt = begunAt + Math.max(hasChanged ? 0 : EVERY_MS, took * SHARE);
  }

  #takeOne(): number {
    const [changed] = this.#changed;
    if (changed !== undefined) {
      this.#changed.delete(changed);
      return changed;
    }
    const shard = this.#next;
    this.#next = (shard + 1) % SHARD_COUNT;
    return shard;
  }
}
