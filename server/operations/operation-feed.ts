import type { Random } from '../../lib/random.js';
import {
  auditEntryOf,
  countOpen,
  digestOf,
  insertCommands,
  lockLiveRows,
  MOST_OPEN,
  refreshFlags,
  type Command,
} from '../agent-commands/index.js';
import { Scope } from '../access/scope.js';
import type { AuditLog } from '../audit/audit.js';
import type { Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import {
  lockNextQueueing,
  nextTargets,
  setOperationState,
  settleTargets,
  type SettledTarget,
} from './operation-repository.js';
import type { Operation } from './operation.js';

export interface FeedDeps {
  readonly clock: Pick<FleetClock, 'fleet'>;
  readonly random: Random;
  readonly audit: AuditLog;
}

/**
 * Queues the next commands of the operation whose turn it is: as many as it may per second, for it is called once a
 * second. Answers the computers. One operation at a time, so that what all of them do together has a pace too; and none
 * before its `notBefore`, or all of its commands would come due at once.
 */
export function createOperationFeed(deps: FeedDeps): (sql: Sql) => Promise<readonly string[]> {
  return async (sql) => {
    const now = Math.floor(deps.clock.fleet());
    const operation = await lockNextQueueing(sql, now);
    if (!operation) return [];
    const asked = await nextTargets(sql, operation.id, operation.perSecond);
    const queued = asked.length > 0 ? await queueFor(deps, sql, { operation, asked, now }) : [];
    if (asked.length < operation.perSecond) await setOperationState(sql, operation.id, { state: 'queued', at: now });
    return queued;
  };
}

interface Feeding {
  readonly operation: Operation;
  readonly asked: readonly string[];
  readonly now: FleetInstant;
}

async function queueFor(deps: FeedDeps, sql: Sql, { operation, asked, now }: Feeding): Promise<readonly string[]> {
  const there = new Set(await lockLiveRows(sql, asked));
  const revoked = await findRevoked(sql, asked);
  const open = await countOpen(sql, asked);
  const reachable = await findReachable(sql, Scope.of(operation.policyId), asked);
  const reasonOf = (id: string): string | null => {
    if (!there.has(id)) return 'computer-removed';
    if (revoked.has(id)) return 'computer-revoked';
    if (!reachable.has(id)) return 'beyond-scope';
    if (operation.action.expiresAt <= now) return 'expired';
    return (open.get(id) ?? 0) >= MOST_OPEN ? 'command-queue-full' : null;
  };
  const commands = await insertFor(deps, sql, { operation, now, asked: asked.filter((id) => reasonOf(id) === null) });
  const byComputer = new Map(commands.map((command) => [command.computerId, command]));
  const settled = asked.map((computerId): SettledTarget => {
    const command = byComputer.get(computerId);
    const reason = reasonOf(computerId);
    return { computerId, state: command ? 'queued' : 'skipped', reason, commandId: command?.id ?? null };
  });
  await settleTargets(sql, operation.id, settled);
  await refreshFlags(sql, [...byComputer.keys()], now);
  const entries = commands.map((after) =>
    auditEntryOf({ actor: operation.createdBy, action: 'command.queued', after }),
  );
  await deps.audit.appendAll(sql, entries);
  return [...byComputer.keys()];
}

async function insertFor({ random }: FeedDeps, sql: Sql, { operation, asked, now }: Feeding): Promise<Command[]> {
  if (asked.length === 0) return [];
  const { command, notBefore, expiresAt } = operation.action;
  const { type, args = {}, priority } = command;
  const wanted = { type, args, priority, notBefore, expiresAt, queuedAt: now };
  const origin = { operationId: operation.id, createdBy: operation.createdBy.name, idempotencyKey: null };
  const targets = asked.map((computerId) => ({ id: random.uuid(), computerId }));
  return insertCommands(sql, { ...wanted, ...origin, requestDigest: digestOf(command) }, targets);
}

/** Those that were not moved away meanwhile from whoever began the operation. */
async function findReachable(sql: Sql, scope: Scope, computerIds: readonly string[]): Promise<ReadonlySet<string>> {
  const reached = scope.predicate('computers.policy_id', 2);
  const rows = await sql.query<{ id: string }>(
    `SELECT computers.id FROM computers WHERE computers.id = ANY($1::uuid[]) AND ${reached.sql}`,
    [computerIds, ...reached.parameters],
  );
  return new Set(rows.map(({ id }) => id));
}

async function findRevoked(sql: Sql, computerIds: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await sql.query<{ computer_id: string }>(
    `SELECT computer_status.computer_id FROM computer_status
     WHERE computer_status.computer_id = ANY($1::uuid[]) AND computer_status.status = 'revoked'`,
    [computerIds],
  );
  return new Set(rows.map(({ computer_id: id }) => id));
}
