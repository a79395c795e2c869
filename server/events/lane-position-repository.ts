import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';

export interface LaneKey {
  readonly computerId: string;
  readonly lane: string;
  readonly epoch: string;
}

/** Everything of (computer, lane, epoch) up to `position` is stored; what comes again at or below it is discarded. */
export interface LanePosition extends LaneKey {
  readonly position: number;
  readonly namedAt: FleetInstant;
}

export interface LanePositionRepository {
  /** The stored positions by `laneKeyText`; the caller holds the computers' live rows. */
  read(sql: Sql, keys: readonly LaneKey[]): Promise<ReadonlyMap<string, number>>;
  advance(sql: Sql, positions: readonly LanePosition[]): Promise<void>;
  /** Remembers that the agents still name these epochs, without moving a position. */
  touch(sql: Sql, keys: readonly LaneKey[], namedAt: FleetInstant): Promise<void>;
}

const READ = `
SELECT lane_positions.computer_id, lane_positions.lane, lane_positions.epoch, lane_positions.position
FROM lane_positions
JOIN unnest($1::uuid[], $2::text[], $3::text[]) AS input (computer_id, lane, epoch)
  ON lane_positions.computer_id = input.computer_id AND lane_positions.lane = input.lane
  AND lane_positions.epoch = input.epoch
ORDER BY lane_positions.computer_id, lane_positions.lane, lane_positions.epoch`;

const ADVANCE = `
INSERT INTO lane_positions (computer_id, lane, epoch, position, named_fleet_ms)
SELECT input.computer_id, input.lane, input.epoch, input.position, input.named_fleet_ms
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
  AS input (computer_id, lane, epoch, position, named_fleet_ms)
ORDER BY input.computer_id, input.lane, input.epoch
ON CONFLICT (computer_id, lane, epoch) DO UPDATE SET
  position = greatest(lane_positions.position, EXCLUDED.position), named_fleet_ms = EXCLUDED.named_fleet_ms`;

const TOUCH = `
UPDATE lane_positions SET named_fleet_ms = $4
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS input (computer_id, lane, epoch)
WHERE lane_positions.computer_id = input.computer_id AND lane_positions.lane = input.lane
  AND lane_positions.epoch = input.epoch`;

export function laneKeyText({ computerId, lane, epoch }: LaneKey): string {
  return `${computerId} ${lane} ${epoch}`;
}

export function createLanePositionRepository(): LanePositionRepository {
  return {
    async read(sql, keys) {
      if (keys.length === 0) return new Map();
      const rows = await sql.query<{ computer_id: string; lane: string; epoch: string; position: unknown }>(
        READ,
        columnsOf(keys),
      );
      return new Map(
        rows.map(({ computer_id: computerId, lane, epoch, position }) => [
          laneKeyText({ computerId, lane, epoch }),
          Number(position),
        ]),
      );
    },
    async advance(sql, positions) {
      if (positions.length === 0) return;
      await sql.query(ADVANCE, [
        ...columnsOf(positions),
        positions.map(({ position }) => position),
        positions.map(({ namedAt }) => namedAt),
      ]);
    },
    async touch(sql, keys, namedAt) {
      if (keys.length > 0) await sql.query(TOUCH, [...columnsOf(keys), namedAt]);
    },
  };
}

function columnsOf(keys: readonly LaneKey[]): unknown[] {
  return [keys.map(({ computerId }) => computerId), keys.map(({ lane }) => lane), keys.map(({ epoch }) => epoch)];
}
