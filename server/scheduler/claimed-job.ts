import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import { claimJob, releaseJob, renewJob } from './job-claim-repository.js';

export interface ClaimedJobDeps {
  /** The row of `jobs`. */
  readonly name: string;
  /** Who claims: the same after a restart, which takes the job back at once. */
  readonly owner: string;
  readonly inTransaction: HotTransaction;
  readonly fleetClock: Pick<FleetClock, 'fleet'>;
}

/** Work that only one of all managers does at a time. */
export interface ClaimedJob {
  /**
   * Runs `work` in one transaction that first claims the job, or renews it under the generation it was claimed with:
   * what a process writes after it has lost the job is never stored. Answers undefined, and does not run `work`, while
   * another process has the job. `work` may run several times when the database fails meanwhile.
   */
  run<T>(work: (sql: Sql) => Promise<T>): Promise<{ readonly value: T } | undefined>;
  /** The generation of the claim that this process holds, as far as it knows. */
  generation(): number | undefined;
  /** Gives the job back, for another process at once. */
  release(): Promise<void>;
}

export function createClaimedJob({ name, owner, inTransaction, fleetClock }: ClaimedJobDeps): ClaimedJob {
  let held: number | undefined;

  const hold = async (sql: Sql): Promise<number | undefined> => {
    const claimant = { name, owner, at: fleetClock.fleet() };
    if (held !== undefined && (await renewJob(sql, { ...claimant, generation: held }))) return held;
    return claimJob(sql, claimant);
  };

  return {
    generation: () => held,
    async run(work) {
      const done = await inTransaction(async (sql) => {
        const generation = await hold(sql);
        return generation === undefined ? undefined : { generation, value: await work(sql) };
      });
      held = done?.generation;
      return done && { value: done.value };
    },
    async release() {
      const generation = held;
      held = undefined;
      if (generation !== undefined) await inTransaction((sql) => releaseJob(sql, { name, owner, generation }));
    },
  };
}
