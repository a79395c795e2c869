import type { Scope } from '../access/scope.js';
import type { Actor } from '../access/actor.js';
import { keysetOf, pageOf, type ListOrder, type Page, type PageRequest } from '../admin-api/page.js';
import { computerConditions, parseFilters } from '../computers/index.js';
import type { Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import {
  TARGET_STATES,
  type Operation,
  type OperationAction,
  type OperationFilter,
  type OperationProgress,
  type StoredOperationState,
  type TargetState,
} from './operation.js';

export const OPERATION_ORDER: ListOrder = {
  list: 'operations',
  keys: { createdAt: { column: 'operations.created_fleet_ms', type: 'integer' } },
  default: '-createdAt',
  id: 'operations.id',
};

export const TARGET_ORDER: ListOrder = {
  list: 'operation-targets',
  keys: { computerId: { column: 'operation_targets.computer_id', type: 'uuid' } },
  default: 'computerId',
  id: 'operation_targets.computer_id',
};

const COLUMNS = `operations.id, operations.state, operations.filter, operations.action, operations.per_second,
  operations.matched, operations.created_fleet_ms, operations.created_by, operations.queued_fleet_ms,
  operations.request_digest, operations.policy_id`;

interface OperationRow {
  readonly id: string;
  readonly state: StoredOperationState;
  readonly filter: OperationFilter;
  readonly action: OperationAction;
  readonly per_second: number;
  readonly matched: number;
  readonly created_fleet_ms: string | number;
  readonly created_by: Actor;
  readonly queued_fleet_ms: string | number | null;
  readonly request_digest: Buffer;
  readonly policy_id: string | null;
}

export interface StoredOperation extends Operation {
  readonly requestDigest: Buffer;
}

function toOperation(row: OperationRow): StoredOperation {
  const { id, state, filter, action, matched } = row;
  return {
    id,
    state,
    filter,
    action,
    matched,
    perSecond: row.per_second,
    createdAt: Number(row.created_fleet_ms),
    createdBy: row.created_by,
    queuedAt: row.queued_fleet_ms === null ? null : Number(row.queued_fleet_ms),
    requestDigest: row.request_digest,
    policyId: row.policy_id,
  };
}

/** Computers that enrolled or may, of the scope; revoked ones are never meant. */
function matching(scope: Scope, { computerIds, ...asked }: OperationFilter) {
  const where = computerConditions(scope, parseFilters(asked));
  where.add(`computer_status.status <> 'revoked'`);
  if (computerIds) where.add(`computers.id = ANY($${where.next}::uuid[])`, computerIds);
  return where;
}

const MATCHED = 'computers JOIN computer_status ON computer_status.computer_id = computers.id';

/** How many computers an operation would be for, and the first of them by name. */
export async function countMatching(
  sql: Sql,
  scope: Scope,
  filter: OperationFilter,
): Promise<{ readonly count: number; readonly sample: readonly { readonly id: string; readonly name: string }[] }> {
  const where = matching(scope, filter);
  const [counted] = await sql.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM ${MATCHED} WHERE ${where.toSql()}`,
    where.parameters,
  );
  const sample = await sql.query<{ id: string; name: string }>(
    `SELECT computers.id, computers.name FROM ${MATCHED} WHERE ${where.toSql()} ORDER BY computers.name, computers.id LIMIT 10`,
    where.parameters,
  );
  return { count: counted?.count ?? 0, sample };
}

export interface NewOperation extends Omit<Operation, 'state' | 'matched' | 'queuedAt'> {
  readonly requestDigest: Buffer;
  readonly idempotencyKey: string | null;
}

/** Stores the operation with the computers that match now, at most `most` of them; answers how many. */
export async function insertOperation(
  sql: Sql,
  scope: Scope,
  { operation, most }: { readonly operation: NewOperation; readonly most: number },
): Promise<number> {
  const where = matching(scope, operation.filter);
  const first = where.next;
  const targets = await sql.query(
    `INSERT INTO operation_targets (operation_id, computer_id, computer_name, state)
     SELECT $${first}::uuid, computers.id, computers.name, 'waiting' FROM ${MATCHED} WHERE ${where.toSql()}
     ORDER BY computers.id LIMIT $${first + 1}::integer
     RETURNING operation_targets.computer_id`,
    [...where.parameters, operation.id, most],
  );
  const state: StoredOperationState = targets.length > 0 ? 'queueing' : 'queued';
  await sql.query(
    `INSERT INTO operations (id, state, filter, action, per_second, idempotency_key, request_digest, matched,
       created_fleet_ms, created_by, queued_fleet_ms, policy_id)
     VALUES ($1, $2, $3::jsonb, $4::jsonb, $5, $6, $7, $8, $9, $10::jsonb, $11, $12)`,
    [
      operation.id,
      state,
      JSON.stringify(operation.filter),
      JSON.stringify(operation.action),
      operation.perSecond,
      operation.idempotencyKey,
      operation.requestDigest,
      targets.length,
      operation.createdAt,
      JSON.stringify(operation.createdBy),
      targets.length > 0 ? null : operation.createdAt,
      operation.policyId,
    ],
  );
  return targets.length;
}

/** One that was begun by somebody who is bound to a policy of the scope. */
export async function findOperation(sql: Sql, scope: Scope, id: string): Promise<StoredOperation | undefined> {
  return readOperation(sql, scope, { id, lock: '' });
}

/** The same, locked until the transaction ends. */
export async function lockOperation(sql: Sql, scope: Scope, id: string): Promise<StoredOperation | undefined> {
  return readOperation(sql, scope, { id, lock: 'FOR UPDATE' });
}

async function readOperation(
  sql: Sql,
  scope: Scope,
  { id, lock }: { readonly id: string; readonly lock: string },
): Promise<StoredOperation | undefined> {
  const visible = scope.predicate('operations.policy_id', 2);
  const [row] = await sql.query<OperationRow>(
    `SELECT ${COLUMNS} FROM operations WHERE operations.id = $1 AND ${visible.sql} ${lock}`,
    [id, ...visible.parameters],
  );
  return row && toOperation(row);
}

/** Whoever is bound to another policy has keys of his own. */
export async function findOperationByKey(
  sql: Sql,
  policyId: string | null,
  key: string,
): Promise<StoredOperation | undefined> {
  const [row] = await sql.query<OperationRow>(
    `SELECT ${COLUMNS} FROM operations
     WHERE operations.idempotency_key = $1 AND operations.policy_id IS NOT DISTINCT FROM $2::uuid`,
    [key, policyId],
  );
  return row && toOperation(row);
}

export async function listOperations(sql: Sql, scope: Scope, page: PageRequest): Promise<Page<StoredOperation>> {
  const visible = scope.predicate('operations.policy_id', 1);
  const keyset = keysetOf(page, visible.parameters.length + 1);
  const parameters = [...visible.parameters, ...keyset.parameters, page.limit + 1];
  const rows = await sql.query<OperationRow>(
    `SELECT ${COLUMNS} FROM operations WHERE ${visible.sql} AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $${parameters.length}`,
    parameters,
  );
  return pageOf(rows.map(toOperation), page, ({ createdAt, id }) => [createdAt, id]);
}

const TARGET_STATE = 'coalesce(commands.state, operation_targets.state)';
const TARGETS = `operation_targets LEFT JOIN commands ON commands.id = operation_targets.command_id
  LEFT JOIN computers ON computers.id = operation_targets.computer_id`;

/** A target either has a command or a state of its own; both are counted by their indexes alone. */
function countTargets(scope: Scope): { readonly text: string; readonly parameters: readonly unknown[] } {
  const { sql, parameters } = scope.predicate('computers.policy_id', 2);
  const seen = (table: string): string =>
    scope.isAll ? '' : `JOIN computers ON computers.id = ${table}.computer_id AND ${sql}`;
  const text = `
SELECT commands.operation_id, commands.state, count(*)::integer AS count FROM commands ${seen('commands')}
WHERE commands.operation_id = ANY($1::uuid[]) GROUP BY commands.operation_id, commands.state
UNION ALL
SELECT operation_targets.operation_id, operation_targets.state, count(*)::integer AS count
FROM operation_targets ${seen('operation_targets')}
WHERE operation_targets.operation_id = ANY($1::uuid[]) AND operation_targets.state <> 'queued'
GROUP BY operation_targets.operation_id, operation_targets.state
ORDER BY operation_id, state`;
  return { text, parameters };
}

/** How far these operations are, by id: on computers that the scope holds by now. */
export async function readProgress(
  sql: Sql,
  scope: Scope,
  operationIds: readonly string[],
): Promise<ReadonlyMap<string, OperationProgress>> {
  const { text, parameters } = countTargets(scope);
  const rows = await sql.query<{ operation_id: string; state: TargetState; count: number }>(text, [
    operationIds,
    ...parameters,
  ]);
  const nothing = Object.fromEntries(TARGET_STATES.map((state) => [state, 0])) as unknown as OperationProgress;
  const progress = new Map(operationIds.map((id) => [id, nothing]));
  for (const { operation_id: id, state, count } of rows)
    progress.set(id, { ...(progress.get(id) ?? nothing), [state]: count });
  return progress;
}

export interface TargetRow {
  readonly computer_id: string;
  readonly computer_name: string;
  readonly state: TargetState;
  readonly reason: string | null;
  readonly detail: string | null;
  readonly command_id: string | null;
  readonly result: unknown;
  readonly ended_fleet_ms: string | number | null;
}

export interface TargetsAsked {
  readonly operationId: string;
  readonly page: PageRequest;
  readonly states: readonly TargetState[];
}

/** Those that the scope holds by now. */
export async function listTargets(
  sql: Sql,
  scope: Scope,
  { operationId, page, states }: TargetsAsked,
): Promise<Page<TargetRow>> {
  const visible = scope.predicate('computers.policy_id', 3);
  const keyset = keysetOf(page, visible.parameters.length + 3);
  const parameters = [operationId, states, ...visible.parameters, ...keyset.parameters, page.limit + 1];
  const rows = await sql.query<TargetRow>(
    `SELECT operation_targets.computer_id, operation_targets.computer_name, ${TARGET_STATE} AS state,
       coalesce(commands.reason, operation_targets.reason) AS reason, commands.detail, operation_targets.command_id,
       commands.result, commands.ended_fleet_ms
     FROM ${TARGETS}
     WHERE operation_targets.operation_id = $1 AND ${visible.sql}
       AND (cardinality($2::text[]) = 0 OR ${TARGET_STATE} = ANY($2::text[])) AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $${parameters.length}`,
    parameters,
  );
  return pageOf(rows, page, ({ computer_id: id }) => [id, id]);
}

/**
 * The operation whose turn it is: of those with targets to queue and nothing to wait for, the one of the highest priority,
 * then the oldest.
 */
export async function lockNextQueueing(sql: Sql, now: FleetInstant): Promise<StoredOperation | undefined> {
  const [row] = await sql.query<OperationRow>(
    `SELECT ${COLUMNS} FROM operations
     WHERE operations.state = 'queueing' AND coalesce((operations.action ->> 'notBefore')::bigint, 0) <= $1
     ORDER BY (operations.action -> 'command' ->> 'priority')::integer DESC, operations.created_fleet_ms, operations.id
     LIMIT 1 FOR UPDATE`,
    [Math.floor(now)],
  );
  return row && toOperation(row);
}

export async function nextTargets(sql: Sql, operationId: string, limit: number): Promise<string[]> {
  const rows = await sql.query<{ computer_id: string }>(
    `SELECT operation_targets.computer_id FROM operation_targets
     WHERE operation_targets.operation_id = $1 AND operation_targets.state = 'waiting'
     ORDER BY operation_targets.computer_id LIMIT $2`,
    [operationId, limit],
  );
  return rows.map(({ computer_id: id }) => id);
}

export interface SettledTarget {
  readonly computerId: string;
  readonly state: 'queued' | 'skipped';
  readonly reason: string | null;
  readonly commandId: string | null;
}

export async function settleTargets(sql: Sql, operationId: string, targets: readonly SettledTarget[]): Promise<void> {
  await sql.query(
    `UPDATE operation_targets SET state = input.state, reason = input.reason, command_id = input.command_id
     FROM unnest($2::uuid[], $3::text[], $4::text[], $5::uuid[]) AS input (computer_id, state, reason, command_id)
     WHERE operation_targets.operation_id = $1 AND operation_targets.computer_id = input.computer_id`,
    [
      operationId,
      targets.map(({ computerId }) => computerId),
      targets.map(({ state }) => state),
      targets.map(({ reason }) => reason),
      targets.map(({ commandId }) => commandId),
    ],
  );
}

export async function setOperationState(
  sql: Sql,
  id: string,
  { state, at }: { readonly state: StoredOperationState; readonly at: FleetInstant },
): Promise<void> {
  await sql.query('UPDATE operations SET state = $2, queued_fleet_ms = $3 WHERE id = $1', [id, state, Math.floor(at)]);
  if (state === 'cancelled')
    await sql.query(
      `UPDATE operation_targets SET state = 'skipped', reason = 'operation-cancelled'
       WHERE operation_id = $1 AND state = 'waiting'`,
      [id],
    );
}
