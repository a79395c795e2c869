import { toRfc3339 } from '../../lib/clock.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { readStatusChanges, type StatusChange } from './standing-repository.js';

/** A change is committed at most so long after it was noticed; what is later is found by the next reading of its shard. */
const COMMIT_LAG_MS = 10_000;
const PAGE = 10_000;
/** Partitions are days of the wall clock, which may have been set meanwhile. */
const PARTITIONS_MS = 2 * 86_400_000;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

/** Follows the changes of statuses, whichever process stored them; each is told once. */
export class ChangeReader {
  readonly #sql: Sql;
  readonly #fleetClock: Pick<FleetClock, 'fleet' | 'toWall'>;
  /** What was told and would be read again. */
  readonly #told = new Map<string, FleetInstant>();
  #readAt: FleetInstant;

  constructor(sql: Sql, fleetClock: Pick<FleetClock, 'fleet' | 'toWall'>) {
    this.#sql = sql;
    this.#fleetClock = fleetClock;
    this.#readAt = fleetClock.fleet();
  }

  async read(): Promise<StatusChange[]> {
    const now = this.#fleetClock.fleet();
    const from = this.#readAt - COMMIT_LAG_MS;
    const changes = (await this.#readFrom(from)).filter(({ id }) => !this.#told.has(id));
    for (const [id, noticedAt] of this.#told) if (noticedAt <= now - 2 * COMMIT_LAG_MS) this.#told.delete(id);
    for (const { id, noticed_fleet_ms } of changes) this.#told.set(id, noticed_fleet_ms);
    this.#readAt = now;
    return changes;
  }

  async #readFrom(from: FleetInstant): Promise<StatusChange[]> {
    const changes: StatusChange[] = [];
    const partitionsFrom = toRfc3339(this.#fleetClock.toWall(from) - PARTITIONS_MS);
    let after = { noticedAt: from, id: FIRST_ID };
    for (;;) {
      const page = await readStatusChanges(this.#sql, { partitionsFrom, after, limit: PAGE });
      for (const change of page) changes.push(change);
      const last = page.at(-1);
      if (!last || page.length < PAGE) return changes;
      after = { noticedAt: last.noticed_fleet_ms, id: last.id };
    }
  }
}
