import { createShardRepository } from '../shards/shard-repository.js';

export { LEASE_MS, type Claimant, type ShardClaim } from '../shards/shard-repository.js';

/** The shards of verdicts, as rows of `verdict_shards`. */
export const { claimShards, renewShards, releaseShards, lockShards } = createShardRepository('verdict_shards');
