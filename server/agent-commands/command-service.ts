import { Problem } from '../../lib/problem.js';
import { toRfc3339 } from '../../lib/clock.js';
import type { Random } from '../../lib/random.js';
import type { Actor } from '../access/actor.js';
import type { AuditEntry, AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { Caller } from '../policies/forest-edit.js';
import { findCommand } from './command-list-query.js';
import {
  countOpen,
  findByIdempotencyKey,
  insertCommands,
  lockLiveRows,
  refreshFlags,
  storeProgress,
} from './command-repository.js';
import { checkRequest, digestOf, type CommandRequest } from './command-request.js';
import { findTarget, type CommandTarget } from './command-target.js';
import type { Command } from './command.js';

/** Open commands of one computer. */
export const MOST_OPEN = 100;

/** Asks the agents of these computers to come for their commands at once. A hint that may be lost. */
export type Wake = (computerIds: readonly string[]) => void;

export interface CommandServiceDeps {
  readonly clock: FleetClock;
  readonly random: Random;
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
  readonly wake: Wake;
}

export interface Queued {
  readonly command: Command;
  readonly target: CommandTarget;
  /** False where the idempotency key found one that was there. */
  readonly isNew: boolean;
}

export interface CommandService {
  /** Throws `request-invalid`, `computer-not-found`, `computer-revoked`, `command-queue-full`, `idempotency-key-reused`. */
  queue(
    caller: Caller,
    computerId: string,
    request: CommandRequest & { readonly idempotencyKey?: string },
  ): Promise<Queued>;
  /** Throws `command-not-found` and, where the agent may have it, `command-not-cancellable`. A second time changes nothing. */
  cancel(caller: Caller, commandId: string): Promise<Command>;
}

export function createCommandService(deps: CommandServiceDeps): CommandService {
  return {
    async queue(caller, computerId, { idempotencyKey, ...request }) {
      const queued = await deps.inTransaction((manager) =>
        queueOne(deps, sqlOfManager(manager), { caller, computerId, request, idempotencyKey: idempotencyKey ?? null }),
      );
      if (queued.isNew && queued.command.isDue) deps.wake([computerId]);
      return queued;
    },
    cancel: (caller, commandId) =>
      deps.inTransaction((manager) => cancelOne(deps, sqlOfManager(manager), { caller, commandId })),
  };
}

interface Queueing {
  readonly caller: Caller;
  readonly computerId: string;
  readonly request: CommandRequest;
  readonly idempotencyKey: string | null;
}

async function queueOne(deps: CommandServiceDeps, sql: Sql, asked: Queueing): Promise<Queued> {
  const { caller, computerId, request, idempotencyKey } = asked;
  await lockLiveRows(sql, [computerId]);
  const target = await findTarget(sql, caller.scope, computerId);
  if (!target) throw new Problem('computer-not-found');
  const known = idempotencyKey === null ? undefined : await findByIdempotencyKey(sql, computerId, idempotencyKey);
  // Whoever asks again may do so when its time is over.
  if (known) return { command: assertSame(known, digestOf(request)), target, isNew: false };
  const { digest, ...wanted } = checkRequest(request, deps.clock);
  if (target.status === 'revoked')
    throw new Problem('computer-revoked', { detail: 'The computer is revoked: nothing is delivered to it any more.' });
  if (((await countOpen(sql, [computerId])).get(computerId) ?? 0) >= MOST_OPEN)
    throw new Problem('command-queue-full', { detail: `${MOST_OPEN} commands of the computer have not ended yet.` });
  const queuedAt = Math.floor(deps.clock.fleet());
  const shared = { requestDigest: digest, operationId: null, createdBy: caller.actor.name, queuedAt };
  const id = deps.random.uuid();
  const [command] = await insertCommands(sql, { ...wanted, ...shared, idempotencyKey }, [{ id, computerId }]);
  if (!command) throw new Error('A command was not inserted');
  await refreshFlags(sql, [computerId], queuedAt);
  await deps.audit.append(sql, auditEntryOf({ actor: caller.actor, action: 'command.queued', after: command }));
  return { command, target, isNew: true };
}

function assertSame(known: Command, digest: Buffer): Command {
  if (known.requestDigest.equals(digest)) return known;
  const detail = `The key was used for command ${known.id}, which asks for something else.`;
  throw new Problem('idempotency-key-reused', { detail, members: { commandId: known.id } });
}

async function cancelOne(
  deps: CommandServiceDeps,
  sql: Sql,
  { caller, commandId }: { readonly caller: Caller; readonly commandId: string },
): Promise<Command> {
  const seen = await findCommand(sql, caller.scope, commandId);
  if (!seen) throw new Problem('command-not-found');
  // Lock, then read again: an exchange may have delivered it meanwhile.
  await lockLiveRows(sql, [seen.computerId]);
  const before = await findCommand(sql, caller.scope, commandId);
  if (!before) throw new Problem('command-not-found');
  if (before.state === 'cancelled') return before;
  if (before.state !== 'queued') throw notCancellable(before, (at) => toRfc3339(deps.clock.toWall(at)));
  const at = Math.floor(deps.clock.fleet());
  const after: Command = { ...before, state: 'cancelled', endedAt: at };
  await storeProgress(sql, [after]);
  await refreshFlags(sql, [before.computerId], at);
  await deps.audit.append(sql, auditEntryOf({ actor: caller.actor, action: 'command.cancelled', before, after }));
  return after;
}

function notCancellable(command: Command, shown: (at: number) => string): Problem {
  const { state, deliveredAt, endedAt } = command;
  const detail =
    endedAt === null
      ? `It was delivered at ${shown(deliveredAt ?? command.queuedAt)}: the agent may be running it.`
      : `It ended at ${shown(endedAt)} as ${state}.`;
  return new Problem('command-not-cancellable', { detail, members: { state } });
}

export interface AuditedCommand {
  readonly actor: Actor;
  readonly action: 'command.queued' | 'command.cancelled';
  readonly before?: Command;
  readonly after: Command;
}

export function auditEntryOf({ actor, action, before, after }: AuditedCommand): AuditEntry {
  return {
    actor,
    action,
    subjectType: 'command',
    subjectId: after.id,
    ...(before ? { before: audited(before) } : {}),
    after: audited(after),
  };
}

function audited({ computerId, number, type, args, priority, state, operationId }: Command): object {
  return { computerId, number, type, args, priority, state, operationId };
}
