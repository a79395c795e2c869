import { toRfc3339 } from '../../lib/clock.js';
import { Problem } from '../../lib/problem.js';
import { pageSchemaOf } from '../admin-api/dto-schemas.js';
import { mapPage, parsePage } from '../admin-api/page.js';
import { defineRoute, type RouteDefinition } from '../admin-api/route.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { CommandDto, CommandsQuery, QueueCommandBody } from './command-dto.js';
import { findFiles, readFile, type CommandFile } from './command-files.js';
import { COMMAND_ORDER, findCommand, listCommands } from './command-list-query.js';
import { timeFaults } from './command-request.js';
import { createCommandService, type CommandServiceDeps } from './command-service.js';
import { deliveryTo, findTarget, type CommandTarget, type DeliveryDeps } from './command-target.js';
import type { Command } from './command.js';

const tag = 'commands';

export interface CommandRoutesDeps extends CommandServiceDeps, DeliveryDeps {
  readonly sql: Sql;
  readonly clock: CommandServiceDeps['clock'];
}

/** Commands of one computer. */
export function commandRoutes(deps: CommandRoutesDeps): RouteDefinition[] {
  return [...computerCommandRoutes(deps), ...oneCommandRoutes(deps)];
}

function computerCommandRoutes(deps: CommandRoutesDeps): RouteDefinition[] {
  const commands = createCommandService(deps);
  const path = '/computers/:id/commands';
  return [
    defineRoute({
      method: 'post',
      path,
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: "Queue a command for a computer's agent; says when it will be delivered",
      body: QueueCommandBody,
      reply: { status: 201, body: CommandDto },
      check: ({ body, isSound }) => timeFaults(body, { now: wallNow(deps.clock), pointer: '#', isSound }),
      async handle({ actor, scope, params, body }) {
        const { command, target, isNew } = await commands.queue({ actor, scope }, params['id'] ?? '', body);
        return { status: isNew ? 201 : 200, body: await show(deps, command, target) };
      },
    }),
    defineRoute({
      method: 'get',
      path,
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'List the commands of a computer, the newest first',
      query: CommandsQuery,
      list: COMMAND_ORDER,
      reply: { status: 200, body: pageSchemaOf(CommandDto) },
      async handle({ scope, params, query }) {
        const target = await findTarget(deps.sql, scope, params['id'] ?? '');
        if (!target) throw new Problem('computer-not-found');
        const { state: states = [], type } = query;
        const asked = { page: parsePage(query, COMMAND_ORDER), filters: { states, type } };
        const page = await listCommands(deps.sql, target.computerId, asked);
        const ids = page.items.map(({ id }) => id);
        const files = await findFiles(deps.sql, ids);
        return { body: mapPage(page, (command) => toDto(deps, command, { target, file: files.get(command.id) })) };
      },
    }),
  ];
}

function oneCommandRoutes(deps: CommandRoutesDeps): RouteDefinition[] {
  const commands = createCommandService(deps);
  const get = async (scope: Scope, id: string): Promise<Command> => {
    const command = await findCommand(deps.sql, scope, id);
    if (!command) throw new Problem('command-not-found');
    return command;
  };
  return [
    defineRoute({
      method: 'get',
      path: '/commands/:id',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Read a command with its result',
      reply: { status: 200, body: CommandDto },
      async handle({ scope, params }) {
        const command = await get(scope, params['id'] ?? '');
        return { body: await show(deps, command, await findTarget(deps.sql, scope, command.computerId)) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/commands/:id/file',
      permission: 'auditor',
      reach: 'scope',
      tag,
      summary: 'Download the file that a command brought: diagnostics or logs',
      reply: { status: 200, body: FILE_SCHEMA, alsoAs: ['application/x-ndjson'] },
      async handle({ scope, params }) {
        const { id, type } = await get(scope, params['id'] ?? '');
        const { text, contentType } = await readFile(deps.sql, id);
        const name = `${type}-${id}.${contentType === 'application/json' ? 'json' : 'ndjson'}`;
        const headers = { 'Content-Type': contentType, 'Content-Disposition': `attachment; filename="${name}"` };
        return { stream: pieces(text), headers };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/commands/:id/cancel',
      permission: 'operator',
      reach: 'scope',
      tag,
      summary: 'Cancel a command that was not delivered yet',
      reply: { status: 200, body: CommandDto },
      async handle({ actor, scope, params }) {
        const command = await commands.cancel({ actor, scope }, params['id'] ?? '');
        return { body: await show(deps, command, undefined) };
      },
    }),
  ];
}

function wallNow(clock: CommandRoutesDeps['clock']): number {
  return clock.toWall(clock.fleet());
}

const FILE_SCHEMA = { free: { description: 'what the agent gathered, redacted by itself' } };
const PIECE = 65_536;

async function* pieces(text: string): AsyncGenerator<string> {
  for (let from = 0; from < text.length; from += PIECE) yield text.slice(from, from + PIECE);
}

async function show(deps: CommandRoutesDeps, command: Command, target: CommandTarget | undefined): Promise<CommandDto> {
  const files = await findFiles(deps.sql, [command.id]);
  return toDto(deps, command, { target, file: files.get(command.id) });
}

interface Surroundings {
  readonly target: CommandTarget | undefined;
  readonly file: CommandFile | undefined;
}

function toDto(deps: CommandRoutesDeps, command: Command, { target, file }: Surroundings): CommandDto {
  const shown = (at: number): string => toRfc3339(deps.clock.toWall(at));
  const shownOrNull = (at: number | null): string | null => (at === null ? null : shown(at));
  const { id, computerId, number, type, args, priority, state, reason, detail, result } = command;
  const { idempotencyKey, operationId, createdBy } = command;
  return {
    id,
    computerId,
    number,
    type,
    args,
    priority,
    state,
    reason,
    detail,
    result,
    file: file ?? null,
    delivery: target ? deliveryTo(target, command, deps) : null,
    idempotencyKey,
    operationId,
    createdBy,
    queuedAt: shown(command.queuedAt),
    notBefore: shownOrNull(command.notBefore),
    expiresAt: shown(command.expiresAt),
    deliveredAt: shownOrNull(command.deliveredAt),
    acknowledgedAt: shownOrNull(command.acknowledgedAt),
    startedAt: shownOrNull(command.startedAt),
    endedAt: shownOrNull(command.endedAt),
  };
}
