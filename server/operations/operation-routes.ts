import { toRfc3339 } from '../../lib/clock.js';
import { timeFaults } from '../agent-commands/index.js';
import { Problem } from '../../lib/problem.js';
import { pageSchemaOf, refTo } from '../admin-api/dto-schemas.js';
import type { Scope } from '../access/scope.js';
import { mapPage, parsePage, PlainPageQuery } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import { BulkBody, OperationDto, OperationTargetDto, TargetsQuery } from './operation-dto.js';
import {
  findOperation,
  listOperations,
  listTargets,
  OPERATION_ORDER,
  readProgress,
  TARGET_ORDER,
  type TargetRow,
} from './operation-repository.js';
import { filterFaults } from './operation-references.js';
import { createOperationService, type OperationServiceDeps } from './operation-service.js';
import { operationStateOf, type Operation, type OperationProgress } from './operation.js';

const tag = 'operations';

/** Operations on many computers. */
export function operationRoutes(deps: OperationServiceDeps): RouteDefinition[] {
  return [...beginningRoutes(deps), ...readingRoutes(deps)];
}

const DRY_RUN = {
  type: 'object',
  required: ['matched', 'sample'],
  properties: {
    matched: { type: 'integer', minimum: 0 },
    sample: {
      type: 'array',
      maxItems: 10,
      items: { type: 'object', properties: { id: { type: 'string', format: 'uuid' }, name: { type: 'string' } } },
    },
  },
};
const BULK_ANSWER = { free: { oneOf: [refTo(OperationDto), { ...DRY_RUN, description: 'with dryRun' }] } };

function beginningRoutes(deps: OperationServiceDeps): RouteDefinition[] {
  const operations = createOperationService(deps);
  return [
    defineRoute({
      method: 'post',
      path: '/computers/bulk',
      permission: 'operator',
      reach: 'scope',
      proof: 'recent',
      tag,
      summary: 'Queue a command for every computer that a filter matches, at a pace; dryRun counts them',
      body: BulkBody,
      reply: { status: 202, body: BULK_ANSWER },
      check: async ({ scope, body: { filter, action }, isSound }) => {
        const now = deps.clock.toWall(deps.clock.fleet());
        return [
          ...(await filterFaults(deps.sql, scope, filter ?? {})),
          ...timeFaults(action?.command ?? {}, { now, pointer: '#/action/command', isSound }),
        ];
      },
      async handle({ actor, scope, body }) {
        const { filter, action, perSecond, idempotencyKey } = body;
        const request = { filter: { ...filter }, command: { ...action.command }, perSecond, idempotencyKey };
        const caller = { actor, scope };
        if (body.dryRun) return { status: 200, body: await operations.rehearse(caller, request) };
        const { operation, isNew } = await operations.begin(caller, request);
        return { status: isNew ? 202 : 200, body: await show(deps, scope, operation) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/operations/:id/cancel',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Queue no further commands of an operation; those that are queued go on',
      reply: { status: 200, body: OperationDto },
      async handle({ actor, scope, params }) {
        return { body: await show(deps, scope, await operations.cancel({ actor, scope }, params['id'] ?? '')) };
      },
    }),
  ];
}

function readingRoutes(deps: OperationServiceDeps): RouteDefinition[] {
  const { sql } = deps;
  const get = async (scope: Scope, id = ''): Promise<Operation> => {
    const operation = await findOperation(sql, scope, id);
    if (!operation) throw new Problem('operation-not-found');
    return operation;
  };
  return [
    defineRoute({
      method: 'get',
      path: '/operations',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'List operations, the newest first',
      query: PlainPageQuery,
      list: OPERATION_ORDER,
      reply: { status: 200, body: pageSchemaOf(OperationDto) },
      async handle({ scope, query }) {
        const page = await listOperations(sql, scope, parsePage(query, OPERATION_ORDER));
        const ids = page.items.map(({ id }) => id);
        const progress = await readProgress(sql, scope, ids);
        return { body: mapPage(page, (one) => toDto(deps, seenBy(scope, one, progressOf(progress, one.id)))) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/operations/:id',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'How far an operation is',
      reply: { status: 200, body: OperationDto },
      async handle({ scope, params }) {
        return { body: await show(deps, scope, await get(scope, params['id'])) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/operations/:id/targets',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'What became of it on each computer',
      query: TargetsQuery,
      list: TARGET_ORDER,
      reply: { status: 200, body: pageSchemaOf(OperationTargetDto) },
      async handle({ scope, params, query }) {
        const { id } = await get(scope, params['id']);
        const asked = { operationId: id, page: parsePage(query, TARGET_ORDER), states: query.state ?? [] };
        return { body: mapPage(await listTargets(sql, scope, asked), (row) => toTarget(deps, row)) };
      },
    }),
  ];
}

async function show(deps: OperationServiceDeps, scope: Scope, operation: Operation): Promise<OperationDto> {
  const progress = await readProgress(deps.sql, scope, [operation.id]);
  return toDto(deps, seenBy(scope, operation, progressOf(progress, operation.id)));
}

interface SeenOperation {
  readonly operation: Operation;
  readonly progress: OperationProgress;
}

/** Computers that were moved away are not counted. */
function seenBy(scope: Scope, operation: Operation, progress: OperationProgress): SeenOperation {
  if (scope.isAll) return { operation, progress };
  const matched = Object.values(progress).reduce((sum, count) => sum + count, 0);
  return { operation: { ...operation, matched }, progress };
}

function progressOf(all: ReadonlyMap<string, OperationProgress>, id: string): OperationProgress {
  const progress = all.get(id);
  if (!progress) throw new Error('The progress of an operation was not read');
  return progress;
}

function toDto({ clock }: OperationServiceDeps, { operation, progress }: SeenOperation): OperationDto {
  const shown = (at: number): string => toRfc3339(clock.toWall(at));
  const { id, filter, action, perSecond, matched, createdAt, createdBy, queuedAt } = operation;
  return {
    id,
    state: operationStateOf(operation, progress),
    filter,
    action: { command: action.command },
    perSecond,
    matched,
    progress,
    createdAt: shown(createdAt),
    createdBy: createdBy.name,
    queuedAt: queuedAt === null ? null : shown(queuedAt),
  };
}

function toTarget({ clock }: OperationServiceDeps, row: TargetRow): OperationTargetDto {
  const { state, reason, detail, result } = row;
  return {
    computerId: row.computer_id,
    computerName: row.computer_name,
    state,
    reason,
    detail,
    result,
    commandId: row.command_id,
    endedAt: row.ended_fleet_ms === null ? null : toRfc3339(clock.toWall(Number(row.ended_fleet_ms))),
  };
}
