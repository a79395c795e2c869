import { invalidFields, Problem } from '../../lib/problem.js';
import type { Random } from '../../lib/random.js';
import { checkRequest, digestOf, type CommandRequest } from '../agent-commands/index.js';
import type { AuditLog } from '../audit/audit.js';
import { uniqueViolation } from '../database/database-errors.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock } from '../fleet-clock/fleet-clock.js';
import type { Caller } from '../policies/forest-edit.js';
import { filterFaults } from './operation-references.js';
import {
  countMatching,
  findOperation,
  findOperationByKey,
  insertOperation,
  lockOperation,
  setOperationState,
  type NewOperation,
  type StoredOperation,
} from './operation-repository.js';
import type { Operation, OperationFilter } from './operation.js';

/** Computers of one operation. */
export const MOST_TARGETS = 100_000;
const DEFAULT_PER_SECOND = 50;

export interface OperationServiceDeps {
  readonly clock: FleetClock;
  readonly random: Random;
  readonly sql: Sql;
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
}

export interface OperationRequest {
  readonly filter: OperationFilter;
  readonly command: CommandRequest;
  readonly perSecond?: number | undefined;
  readonly idempotencyKey?: string | undefined;
}

export interface Rehearsed {
  readonly matched: number;
  readonly sample: readonly { readonly id: string; readonly name: string }[];
}

export interface OperationService {
  /** What `begin` would be for; throws what it would throw for the request itself. */
  rehearse(caller: Caller, request: OperationRequest): Promise<Rehearsed>;
  /** For the computers that match now. Throws `request-invalid` and `idempotency-key-reused`. */
  begin(caller: Caller, request: OperationRequest): Promise<{ readonly operation: Operation; readonly isNew: boolean }>;
  /** No further commands are queued; those that are queued are left to themselves. Throws `operation-not-found`. */
  cancel(caller: Caller, id: string): Promise<Operation>;
}

export function createOperationService(deps: OperationServiceDeps): OperationService {
  return {
    async rehearse({ scope }, { filter, command }) {
      checkRequest(command, deps.clock, { pointer: POINTER, beside: await filterFaults(deps.sql, scope, filter) });
      const { count, sample } = await countMatching(deps.sql, scope, filter);
      return { matched: count, sample };
    },
    begin(caller, request) {
      const begin = () =>
        deps.inTransaction((manager) => beginOperation(deps, sqlOfManager(manager), { caller, request }));
      return begin().catch((error: unknown) => {
        if (uniqueViolation(error) === undefined) throw error;
        // The same key was used at the same moment: now it is found.
        return begin();
      });
    },
    cancel: (caller, id) =>
      deps.inTransaction(async (manager) => {
        const sql = sqlOfManager(manager);
        const before = await lockOperation(sql, caller.scope, id);
        if (!before) throw new Problem('operation-not-found');
        if (before.state !== 'queueing') return before;
        await setOperationState(sql, id, { state: 'cancelled', at: deps.clock.fleet() });
        await deps.audit.append(sql, {
          ...subjectOf(caller, id),
          action: 'operation.cancelled',
          before: audited(before),
        });
        return (await findOperation(sql, caller.scope, id)) ?? before;
      }),
  };
}

const POINTER = '#/action/command';

async function beginOperation(
  deps: OperationServiceDeps,
  sql: Sql,
  { caller, request }: { readonly caller: Caller; readonly request: OperationRequest },
): Promise<{ readonly operation: Operation; readonly isNew: boolean }> {
  const { idempotencyKey = null, filter, command, perSecond = DEFAULT_PER_SECOND } = request;
  const requestDigest = digestOf({ filter, command, perSecond });
  const policyId = caller.scope.bindingFor(undefined);
  const known = idempotencyKey === null ? undefined : await findOperationByKey(sql, policyId, idempotencyKey);
  if (known) return { operation: assertSame(known, requestDigest), isNew: false };
  const beside = await filterFaults(sql, caller.scope, filter);
  const { priority, notBefore, expiresAt } = checkRequest(command, deps.clock, { pointer: POINTER, beside });
  const operation: NewOperation = {
    id: deps.random.uuid(),
    filter,
    action: { command: { ...command, priority }, notBefore, expiresAt },
    perSecond,
    createdAt: Math.floor(deps.clock.fleet()),
    createdBy: caller.actor,
    policyId,
    requestDigest,
    idempotencyKey,
  };
  const matched = await insertOperation(sql, caller.scope, { operation, most: MOST_TARGETS + 1 });
  if (matched > MOST_TARGETS)
    throw invalidFields([{ pointer: '#/filter', detail: `must match at most ${MOST_TARGETS} computers` }]);
  const after = audited({ ...operation, matched });
  await deps.audit.append(sql, { ...subjectOf(caller, operation.id), action: 'operation.begun', after });
  const stored = await findOperation(sql, caller.scope, operation.id);
  if (!stored) throw new Error('An operation was not inserted');
  return { operation: stored, isNew: true };
}

function assertSame(known: StoredOperation, digest: Buffer): Operation {
  if (known.requestDigest.equals(digest)) return known;
  const detail = `The key was used for operation ${known.id}, which asks for something else.`;
  throw new Problem('idempotency-key-reused', { detail, members: { operationId: known.id } });
}

function subjectOf({ actor }: Caller, id: string) {
  return { actor, subjectType: 'operation', subjectId: id };
}

function audited({
  filter,
  action,
  perSecond,
  matched,
}: Pick<Operation, 'filter' | 'action' | 'perSecond' | 'matched'>) {
  return { filter, command: action.command, perSecond, matched };
}
