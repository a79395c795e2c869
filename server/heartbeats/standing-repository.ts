import { toRfc3339 } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { LIVENESS_COLUMNS, LIVENESS_TABLES, type LivenessRow } from '../statuses/liveness-row.js';
import type { HeartbeatGap } from './report-rules.js';

/** The rare statements of a batch: verdict facts, power states, gaps. */
export interface StandingRepository {
  readLiveness(sql: Sql, computerIds: readonly string[]): Promise<readonly LivenessRow[]>;
  /** A report means running; a stop that was said after it stands. */
  startRunning(sql: Sql, heard: readonly { computerId: string; at: FleetInstant }[]): Promise<void>;
  insertGaps(sql: Sql, gaps: readonly (HeartbeatGap & { computerId: string })[]): Promise<void>;
}

const READ_LIVENESS = `
SELECT ${LIVENESS_COLUMNS} FROM ${LIVENESS_TABLES} WHERE computers.id = ANY($1::uuid[]) ORDER BY computers.id`;

const START_RUNNING = `
UPDATE computers SET power_state = 'running', power_source = 'report', power_since_fleet_ms = heard.at,
  power_expires_fleet_ms = NULL
FROM unnest($1::uuid[], $2::bigint[]) AS heard (computer_id, at)
WHERE computers.id = heard.computer_id AND computers.power_state = 'stopped'
  AND coalesce(computers.power_since_fleet_ms, 0) <= heard.at`;

const INSERT_GAPS = `
INSERT INTO heartbeat_gaps (id, partition_at, computer_id, from_fleet_ms, until_fleet_ms, interval_ms, deaf_ms)
SELECT input.* FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::bigint[], $6::integer[], $7::bigint[])
  AS input (id, partition_at, computer_id, from_fleet_ms, until_fleet_ms, interval_ms, deaf_ms)`;

export function createStandingRepository(deps: {
  readonly random: Random;
  readonly fleetClock: Pick<FleetClock, 'toWall'>;
}): StandingRepository {
  return {
    readLiveness: (sql, computerIds) => sql.query<LivenessRow>(READ_LIVENESS, [computerIds]),
    async startRunning(sql, heard) {
      if (heard.length === 0) return;
      await sql.query(START_RUNNING, [heard.map(({ computerId }) => computerId), heard.map(({ at }) => at)]);
    },
    async insertGaps(sql, gaps) {
      if (gaps.length === 0) return;
      await sql.query(INSERT_GAPS, [
        gaps.map(() => deps.random.uuid()),
        gaps.map(({ until }) => toRfc3339(deps.fleetClock.toWall(until))),
        gaps.map(({ computerId }) => computerId),
        gaps.map(({ from }) => Math.floor(from)),
        gaps.map(({ until }) => Math.floor(until)),
        gaps.map(({ intervalMs }) => intervalMs),
        gaps.map(({ deafMs }) => Math.floor(deafMs)),
      ]);
    },
  };
}
