import type { HotTransaction } from '../database/hot-transaction.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import { createShardRepository, type ShardClaim } from '../shards/shard-repository.js';

/** The shards that this process dials. */
export interface OwnedDialShards {
  owned(): readonly ShardClaim[];
  /** Renews the leases when it is time, and claims what is free. */
  hold(at: FleetInstant): Promise<{ readonly taken: readonly number[]; readonly lost: readonly number[] }>;
  release(): Promise<void>;
}

const RENEW_EVERY_MS = 3000;
const NOTHING = { taken: [], lost: [] };

export function createDialShards(deps: {
  readonly owner: string;
  readonly inTransaction: HotTransaction;
  /** The manager is about to go: what it holds is given to others, and nothing is claimed. */
  readonly isDraining?: (() => boolean) | undefined;
}): OwnedDialShards {
  const { owner, inTransaction, isDraining = () => false } = deps;
  const repository = createShardRepository('dial_shards');
  let owned: readonly ShardClaim[] = [];
  let renewAt = Number.NEGATIVE_INFINITY;
  const giveBack = async (): Promise<readonly number[]> => {
    const held = owned;
    if (held.length > 0) await inTransaction((sql) => repository.releaseShards(sql, owner, held));
    owned = [];
    return held.map(({ shard }) => shard);
  };
  return {
    owned: () => owned,
    async hold(at) {
      if (isDraining()) {
        renewAt = Number.NEGATIVE_INFINITY;
        return { taken: [], lost: await giveBack() };
      }
      if (at < renewAt) return NOTHING;
      const { kept, taken } = await inTransaction(async (sql) => {
        const renewed = owned.length > 0 ? await repository.renewShards(sql, { owner, at }, owned) : [];
        const claimed = await repository.claimShards(
          sql,
          { owner, at },
          renewed.map(({ shard }) => shard),
        );
        return { kept: renewed, taken: claimed };
      });
      const still = new Set(kept.map(({ shard }) => shard));
      const lost = owned.flatMap(({ shard }) => (still.has(shard) ? [] : [shard]));
      owned = [...kept, ...taken];
      renewAt = at + RENEW_EVERY_MS;
      return { taken: taken.map(({ shard }) => shard), lost };
    },
    async release() {
      renewAt = Number.POSITIVE_INFINITY;
      await giveBack();
    },
  };
}
