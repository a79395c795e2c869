import type { HotTransaction } from '../database/hot-transaction.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { ClaimedJob } from '../scheduler/claimed-job.js';
import { findTimely, findWaiting, lockLiveRows, passTime } from './command-repository.js';
import type { Wake } from './command-service.js';

const DAY_MS = 86_400_000;
/** Ended commands are kept so long, and what they brought. */
const COMMAND_DAYS = 90;
const FILE_DAYS = 7;
const PER_PASS = 200;
const MOST_PASSES = 25;

/** A few at a time: each in a transaction of its own, and far from the time that a statement may take. */
const FORGETTING = [
  {
    statement: `
      WITH old AS (
        SELECT command_files.command_id FROM command_files WHERE command_files.stored_fleet_ms < $1
        ORDER BY command_files.stored_fleet_ms, command_files.command_id LIMIT $2),
      parts AS (
        DELETE FROM command_file_parts USING old WHERE command_file_parts.command_id = old.command_id)
      DELETE FROM command_files USING old WHERE command_files.command_id = old.command_id
      RETURNING command_files.command_id`,
    days: FILE_DAYS,
    most: 50,
  },
  {
    statement: `
      DELETE FROM commands WHERE commands.id = ANY(ARRAY(
        SELECT old.id FROM commands AS old WHERE old.ended_fleet_ms < $1 ORDER BY old.ended_fleet_ms, old.id LIMIT $2))
      RETURNING commands.id`,
    days: COMMAND_DAYS,
    most: 5000,
  },
  {
    statement: `
      WITH old AS (
        SELECT operations.id FROM operations WHERE operations.created_fleet_ms < $1 AND operations.state <> 'queueing'
        ORDER BY operations.created_fleet_ms, operations.id LIMIT $2),
      targets AS (
        DELETE FROM operation_targets USING old WHERE operation_targets.operation_id = old.id)
      DELETE FROM operations USING old WHERE operations.id = old.id
      RETURNING operations.id`,
    days: COMMAND_DAYS,
    most: 1,
  },
] as const;

export interface CommandJobDeps {
  readonly job: Pick<ClaimedJob, 'run' | 'release'>;
  readonly inTransaction: HotTransaction;
  readonly clock: Pick<FleetClock, 'fleet'>;
  readonly wake: Wake;
  /** Queues the next commands of operations on many computers; answers for whom. */
  readonly feed: (sql: Sql) => Promise<readonly string[]>;
}

export interface CommandJob {
  /** What time brings about: commands become due or expire, and operations go on. By the fleet clock alone. */
  run(signal: AbortSignal): Promise<void>;
  /** Forgets what ended long ago. */
  tidy(): Promise<void>;
  release(): Promise<void>;
}

interface Pass {
  /** Nothing was left that time has brought about. */
  readonly isLast: boolean;
  readonly hasFed: boolean;
  /** Computers that have commands to be delivered now. */
  readonly waiting: readonly string[];
}

export function createCommandJob({ job, inTransaction, clock, wake, feed }: CommandJobDeps): CommandJob {
  /**
   * Locks, then looks again in the next statement: an exchange may have told of a command meanwhile. Each pass locks one
   * set of live rows, in id order.
   */
  const passOne = async (sql: Sql, hasFed: boolean): Promise<Pass> => {
    const now = clock.fleet();
    const timely = await findTimely(sql, now, PER_PASS);
    if (timely.length > 0) {
      await lockLiveRows(sql, timely);
      await passTime(sql, timely, now);
    }
    const isFeeding = timely.length === 0 && !hasFed;
    const changed = isFeeding ? await feed(sql) : timely;
    const waiting = changed.length > 0 ? await findWaiting(sql, changed) : [];
    return { isLast: timely.length === 0, hasFed: hasFed || isFeeding, waiting };
  };
  return {
    async run(signal) {
      let hasFed = false;
      for (let pass = 0; pass < MOST_PASSES && !signal.aborted; pass += 1) {
        const done = await job.run((sql) => passOne(sql, hasFed));
        if (!done) return;
        const { waiting, isLast } = done.value;
        if (waiting.length > 0) wake(waiting);
        hasFed = done.value.hasFed;
        if (isLast) return;
      }
    },
    async tidy() {
      const now = Math.floor(clock.fleet());
      for (const { statement, days, most } of FORGETTING) {
        const before = now - days * DAY_MS;
        const forget = () => inTransaction(async (sql) => (await sql.query(statement, [before, most])).length);
        while ((await forget()) === most);
      }
    },
    release: () => job.release(),
  };
}
