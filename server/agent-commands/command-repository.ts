import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import type { Command, CommandState } from './command.js';
import { NO_RESULT, NO_RESULT_MS, NOT_DELIVERED } from './command-rules.js';

interface CommandRow {
  readonly id: string;
  readonly computer_id: string;
  readonly number: number;
  readonly type: string;
  readonly args: unknown;
  readonly priority: number;
  readonly state: CommandState;
  readonly is_due: boolean;
  readonly idempotency_key: string | null;
  readonly request_digest: Buffer;
  readonly operation_id: string | null;
  readonly created_by: string;
  readonly queued_fleet_ms: string | number;
  readonly not_before_fleet_ms: string | number | null;
  readonly expires_fleet_ms: string | number;
  readonly delivered_fleet_ms: string | number | null;
  readonly acknowledged_fleet_ms: string | number | null;
  readonly started_fleet_ms: string | number | null;
  readonly ended_fleet_ms: string | number | null;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly result: unknown;
}

export const COMMAND_COLUMNS = `commands.id, commands.computer_id, commands.number, commands.type, commands.args,
  commands.priority, commands.state, commands.is_due, commands.idempotency_key, commands.request_digest,
  commands.operation_id, commands.created_by, commands.queued_fleet_ms, commands.not_before_fleet_ms,
  commands.expires_fleet_ms, commands.delivered_fleet_ms, commands.acknowledged_fleet_ms, commands.started_fleet_ms,
  commands.ended_fleet_ms, commands.reason, commands.detail, commands.result`;

const OPEN = `commands.state IN ('queued', 'delivered', 'running')`;

const at = (value: string | number | null): FleetInstant | null => (value === null ? null : Number(value));

export function toCommand(row: object): Command {
  const read = row as CommandRow;
  return {
    id: read.id,
    computerId: read.computer_id,
    number: read.number,
    type: read.type,
    args: read.args,
    priority: read.priority,
    state: read.state,
    isDue: read.is_due,
    idempotencyKey: read.idempotency_key,
    requestDigest: read.request_digest,
    operationId: read.operation_id,
    createdBy: read.created_by,
    queuedAt: Number(read.queued_fleet_ms),
    notBefore: at(read.not_before_fleet_ms),
    expiresAt: Number(read.expires_fleet_ms),
    deliveredAt: at(read.delivered_fleet_ms),
    acknowledgedAt: at(read.acknowledged_fleet_ms),
    startedAt: at(read.started_fleet_ms),
    endedAt: at(read.ended_fleet_ms),
    reason: read.reason,
    detail: read.detail,
    result: read.result,
  };
}

/** Locks live rows in id order; answers the computers that still exist. */
export async function lockLiveRows(sql: Sql, computerIds: readonly string[]): Promise<string[]> {
  const rows = await sql.query<{ computer_id: string }>(
    `SELECT computer_live.computer_id FROM computer_live WHERE computer_live.computer_id = ANY($1::uuid[])
     ORDER BY computer_live.computer_id FOR NO KEY UPDATE`,
    [computerIds],
  );
  return rows.map(({ computer_id: id }) => id);
}

/** The open commands of these computers that are due, and of these computers those with the given ids. */
export async function readForReports(
  sql: Sql,
  asked: { readonly computerIds: readonly string[]; readonly commandIds: readonly string[] },
): Promise<Command[]> {
  const rows = await sql.query(
    `SELECT ${COMMAND_COLUMNS} FROM commands
     WHERE commands.computer_id = ANY($1::uuid[]) AND ${OPEN} AND commands.is_due
     UNION
     SELECT ${COMMAND_COLUMNS} FROM commands
     WHERE commands.id = ANY($2::uuid[]) AND commands.computer_id = ANY($1::uuid[])`,
    [asked.computerIds, asked.commandIds],
  );
  return rows.map(toCommand);
}

const STORE = `
UPDATE commands SET state = input.state, delivered_fleet_ms = input.delivered, acknowledged_fleet_ms = input.acknowledged,
  started_fleet_ms = input.started, ended_fleet_ms = input.ended, reason = input.reason, detail = input.detail,
  result = input.result::jsonb
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
  $9::text[]) AS input (id, state, delivered, acknowledged, started, ended, reason, detail, result)
WHERE commands.id = input.id`;

/** Stores what exchanges made of commands; under the locks of the live rows. */
export async function storeProgress(sql: Sql, commands: readonly Command[]): Promise<void> {
  if (commands.length === 0) return;
  await sql.query(STORE, [
    commands.map(({ id }) => id),
    commands.map(({ state }) => state),
    commands.map(({ deliveredAt }) => whole(deliveredAt)),
    commands.map(({ acknowledgedAt }) => whole(acknowledgedAt)),
    commands.map(({ startedAt }) => whole(startedAt)),
    commands.map(({ endedAt }) => whole(endedAt)),
    commands.map(({ reason }) => reason),
    commands.map(({ detail }) => detail),
    commands.map(({ result }) => (result === null || result === undefined ? null : JSON.stringify(result))),
  ]);
}

const whole = (instant: FleetInstant | null): number | null => (instant === null ? null : Math.floor(instant));

/** Brings the live rows' flags to what their commands say; under the rows' locks. */
export async function refreshFlags(sql: Sql, computerIds: readonly string[], now: FleetInstant): Promise<void> {
  if (computerIds.length === 0) return;
  await sql.query(
    `UPDATE computer_live SET has_commands = open.has_commands, awaits_results = open.awaits_results
     FROM (
       SELECT asked.id,
         coalesce(bool_or(commands.is_due AND commands.acknowledged_fleet_ms IS NULL
           AND (commands.state = 'delivered' OR (commands.state = 'queued' AND commands.expires_fleet_ms > $2::bigint))),
           false) AS has_commands,
         coalesce(bool_or(commands.acknowledged_fleet_ms IS NOT NULL), false) AS awaits_results
       FROM unnest($1::uuid[]) AS asked (id)
       LEFT JOIN commands ON commands.computer_id = asked.id AND ${OPEN}
       GROUP BY asked.id
     ) AS open
     WHERE computer_live.computer_id = open.id
       AND (computer_live.has_commands, computer_live.awaits_results)
         IS DISTINCT FROM (open.has_commands, open.awaits_results)`,
    [computerIds, Math.floor(now)],
  );
}

/** What is queued for each of many computers. */
export interface NewCommand {
  readonly type: string;
  readonly args: unknown;
  readonly priority: number;
  readonly idempotencyKey: string | null;
  readonly requestDigest: Buffer;
  readonly operationId: string | null;
  readonly createdBy: string;
  readonly queuedAt: FleetInstant;
  readonly notBefore: FleetInstant | null;
  readonly expiresAt: FleetInstant;
}

export interface NewTarget {
  readonly id: string;
  readonly computerId: string;
}

/** Inserts one for each target, each of another computer whose live row is locked; in id order. */
export async function insertCommands(sql: Sql, command: NewCommand, targets: readonly NewTarget[]): Promise<Command[]> {
  const isDue = command.notBefore === null || command.notBefore <= command.queuedAt;
  const rows = await sql.query(
    `INSERT INTO commands (id, computer_id, number, type, args, priority, state, is_due, idempotency_key, request_digest,
       operation_id, created_by, queued_fleet_ms, not_before_fleet_ms, expires_fleet_ms)
     SELECT input.id, input.computer_id,
       coalesce((SELECT max(former.number) FROM commands AS former WHERE former.computer_id = input.computer_id), 0) + 1,
       $3::text, $4::jsonb, $5::smallint, 'queued', $6::boolean, $7::text, $8::bytea, $9::uuid, $10::text, $11::bigint,
       $12::bigint, $13::bigint
     FROM unnest($1::uuid[], $2::uuid[]) AS input (id, computer_id) ORDER BY input.computer_id
     RETURNING ${COMMAND_COLUMNS}`,
    [
      targets.map(({ id }) => id),
      targets.map(({ computerId }) => computerId),
      command.type,
      JSON.stringify(command.args),
      command.priority,
      isDue,
      command.idempotencyKey,
      command.requestDigest,
      command.operationId,
      command.createdBy,
      Math.floor(command.queuedAt),
      whole(command.notBefore),
      Math.floor(command.expiresAt),
    ],
  );
  return rows.map(toCommand);
}

/** How many open commands these computers have; under the locks of their live rows. */
export async function countOpen(sql: Sql, computerIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const rows = await sql.query<{ computer_id: string; count: number }>(
    `SELECT commands.computer_id, count(*)::integer AS count FROM commands
     WHERE commands.computer_id = ANY($1::uuid[]) AND ${OPEN} GROUP BY commands.computer_id`,
    [computerIds],
  );
  return new Map(rows.map(({ computer_id: id, count }) => [id, count]));
}

export async function findByIdempotencyKey(sql: Sql, computerId: string, key: string): Promise<Command | undefined> {
  const rows = await sql.query(
    `SELECT ${COMMAND_COLUMNS} FROM commands WHERE commands.computer_id = $1 AND commands.idempotency_key = $2`,
    [computerId, key],
  );
  return rows[0] && toCommand(rows[0]);
}

/** Commands that time alone changes: whose `notBefore` has come, that expired, or of which nothing was heard. */
export async function findTimely(sql: Sql, now: FleetInstant, limit: number): Promise<string[]> {
  const rows = await sql.query<{ computer_id: string }>(
    `SELECT DISTINCT timely.computer_id FROM (
       (SELECT commands.computer_id FROM commands
        WHERE commands.state = 'queued' AND NOT commands.is_due AND commands.not_before_fleet_ms <= $1::bigint
        ORDER BY commands.not_before_fleet_ms, commands.id LIMIT $2)
       UNION ALL
       (SELECT commands.computer_id FROM commands
        WHERE ${OPEN} AND commands.expires_fleet_ms <= $1::bigint
          AND (commands.state = 'queued' OR commands.expires_fleet_ms <= $3::bigint)
        ORDER BY commands.expires_fleet_ms, commands.id LIMIT $2)
     ) AS timely ORDER BY timely.computer_id`,
    [Math.floor(now), limit, Math.floor(now) - NO_RESULT_MS],
  );
  return rows.map(({ computer_id: id }) => id);
}

/** Does what time has brought about to the commands of these computers; under the locks of their live rows. */
export async function passTime(sql: Sql, computerIds: readonly string[], now: FleetInstant): Promise<void> {
  const instant = Math.floor(now);
  await sql.query(
    `UPDATE commands SET state = 'expired', ended_fleet_ms = $2::bigint,
       reason = CASE WHEN commands.state = 'queued' THEN $4 ELSE $5 END
     WHERE commands.computer_id = ANY($1::uuid[]) AND ${OPEN} AND commands.expires_fleet_ms <= $2::bigint
       AND (commands.state = 'queued' OR commands.expires_fleet_ms <= $3::bigint)`,
    [computerIds, instant, instant - NO_RESULT_MS, NOT_DELIVERED, NO_RESULT],
  );
  await sql.query(
    `UPDATE commands SET is_due = true
     WHERE commands.computer_id = ANY($1::uuid[]) AND commands.state = 'queued' AND NOT commands.is_due
       AND commands.not_before_fleet_ms <= $2::bigint`,
    [computerIds, instant],
  );
  await refreshFlags(sql, computerIds, now);
}

/** Nobody will run them any more: the computer is revoked or removed, under the lock of its live row. */
export async function endCommandsOf(
  sql: Sql,
  computerId: string,
  { reason, at: now }: { readonly reason: string; readonly at: FleetInstant },
): Promise<void> {
  await sql.query(
    `UPDATE commands SET state = 'cancelled', ended_fleet_ms = $2::bigint, reason = $3
     WHERE commands.computer_id = $1 AND ${OPEN}`,
    [computerId, Math.floor(now), reason],
  );
  await refreshFlags(sql, [computerId], now);
}

/** Those of these computers that have commands to be delivered now. */
export async function findWaiting(sql: Sql, computerIds: readonly string[]): Promise<string[]> {
  const rows = await sql.query<{ computer_id: string }>(
    `SELECT computer_live.computer_id FROM computer_live
     WHERE computer_live.computer_id = ANY($1::uuid[]) AND computer_live.has_commands ORDER BY computer_live.computer_id`,
    [computerIds],
  );
  return rows.map(({ computer_id: id }) => id);
}
