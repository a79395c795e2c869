import { SHARD_COUNT } from '../shards/shard-rules.js';

/** The keys of what a computer shares with others; those of equal computers are one array. */
export type FactorKeys = readonly string[];

interface ShardCount {
  readonly keys: readonly string[];
  readonly counts: readonly number[];
}

/** How many computers have each factor: of all that could be silent, and of those that are. */
export class FactorCensus {
  readonly #shards = Array.from<ShardCount | undefined>({ length: SHARD_COUNT });
  readonly #members = new Map<string, number>();
  readonly #silent = new Map<string, number>();

  /** Takes up a shard as it was counted, in place of what was known of it. */
  replaceShard(shard: number, profiles: ReadonlyMap<FactorKeys, number>): void {
    const counted = new Map<string, number>();
    for (const [keys, count] of profiles) for (const key of keys) move(counted, key, count);
    const before = this.#shards[shard];
    before?.keys.forEach((key, index) => move(this.#members, key, -(before.counts[index] ?? 0)));
    for (const [key, count] of counted) move(this.#members, key, count);
    this.#shards[shard] = { keys: [...counted.keys()], counts: [...counted.values()] };
  }

  moveSilent(keys: FactorKeys, by: 1 | -1): void {
    for (const key of keys) move(this.#silent, key, by);
  }

  /** Those in contact; shards are counted now and then, so a little behind. */
  aliveOf(key: string): number {
    return Math.max(0, (this.#members.get(key) ?? 0) - (this.#silent.get(key) ?? 0));
  }
}

function move(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
