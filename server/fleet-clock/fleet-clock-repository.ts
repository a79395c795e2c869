import type { Sql } from '../database/sql.js';
import type { Anchor, ClockOffset } from './fleet-clock-rules.js';

export interface StoredAnchor extends Anchor {
  readonly restoreEpoch: string;
}

interface AnchorRow {
  readonly anchor_fleet_ms: number;
  readonly wall_ms: number;
  readonly boot_id: string;
  readonly boot_ms: number;
  readonly restore_epoch: string;
}

/** Reads and locks the anchor; undefined before the first start. */
export async function lockAnchor(sql: Sql): Promise<StoredAnchor | undefined> {
  const [row] = await sql.query<AnchorRow>('SELECT * FROM fleet_clock WHERE id = 1 FOR UPDATE');
  return (
    row && {
      fleetMs: row.anchor_fleet_ms,
      wallMs: row.wall_ms,
      bootId: row.boot_id,
      bootMs: row.boot_ms,
      restoreEpoch: row.restore_epoch,
    }
  );
}

/** Makes the anchor; a process that started at the same moment may have made it already. */
export async function insertAnchor(sql: Sql, { restoreEpoch, ...anchor }: StoredAnchor): Promise<void> {
  await sql.query(
    `INSERT INTO fleet_clock (id, anchor_fleet_ms, wall_ms, boot_id, boot_ms, restore_epoch)
     VALUES (1, $1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`,
    [anchor.fleetMs, anchor.wallMs, anchor.bootId, anchor.bootMs, restoreEpoch],
  );
}

/** Moves the anchor forward, never back; answers the fleet instant it stands at. */
export async function moveAnchor(sql: Sql, anchor: Anchor): Promise<number> {
  const moved = await sql.query(
    `UPDATE fleet_clock SET anchor_fleet_ms = $1, wall_ms = $2, boot_id = $3, boot_ms = $4
     WHERE id = 1 AND anchor_fleet_ms <= $1 RETURNING id`,
    [anchor.fleetMs, anchor.wallMs, anchor.bootId, anchor.bootMs],
  );
  if (moved.length > 0) return anchor.fleetMs;
  const [row] = await sql.query<AnchorRow>('SELECT * FROM fleet_clock WHERE id = 1');
  return row?.anchor_fleet_ms ?? anchor.fleetMs;
}

/** Leases reach into the future by this; the instant at which one was stored is that much earlier. */
const LONGEST_LEASE_MS = 10_000;

/** The greatest fleet instant that anything stored proves to have passed. */
export async function readGreatestStored(sql: Sql): Promise<number> {
  const [row] = await sql.query<{ greatest: number | null }>(
    `SELECT GREATEST(
       (SELECT max(last_seen_fleet_ms) FROM computer_live),
       (SELECT max(listened_until_fleet_ms) FROM listeners),
       (SELECT max(until_fleet_ms) FROM deaf_spans),
       (SELECT max(fleet_ms) FROM clock_offsets),
       (SELECT max(lease_until_fleet_ms) - $1 FROM verdict_shards),
       (SELECT max(lease_until_fleet_ms) - $1 FROM jobs)) AS greatest`,
    [LONGEST_LEASE_MS],
  );
  return row?.greatest ?? 0;
}

export async function listOffsetsAfter(sql: Sql, fleetMs: number): Promise<ClockOffset[]> {
  const rows = await sql.query<{ fleet_ms: number; offset_ms: number }>(
    'SELECT fleet_ms, offset_ms FROM clock_offsets WHERE fleet_ms > $1 ORDER BY fleet_ms',
    [fleetMs],
  );
  return rows.map((row) => ({ fleetMs: row.fleet_ms, offsetMs: row.offset_ms }));
}

export async function insertOffset(sql: Sql, { fleetMs, offsetMs }: ClockOffset): Promise<void> {
  await sql.query('INSERT INTO clock_offsets (fleet_ms, offset_ms) VALUES ($1, $2) ON CONFLICT (fleet_ms) DO NOTHING', [
    fleetMs,
    offsetMs,
  ]);
}
