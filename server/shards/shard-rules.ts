export const SHARD_COUNT = 64;

/** The shard of a computer: the top six bits of its id. */
export function shardOf(computerId: string): number {
  return Number.parseInt(computerId.slice(0, 2), 16) >>> 2;
}

/** The first and the last id that a shard can hold, both included. */
export function shardRange(shard: number): { readonly first: string; readonly last: string } {
  const byte = (value: number) => value.toString(16).padStart(2, '0');
  return {
    first: `${byte(shard << 2)}000000-0000-0000-0000-000000000000`,
    last: `${byte((shard << 2) | 3)}ffffff-ffff-ffff-ffff-ffffffffffff`,
  };
}
