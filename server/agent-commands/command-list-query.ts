import type { Scope } from '../access/scope.js';
import { keysetOf, pageOf, type ListOrder, type Page, type PageRequest } from '../admin-api/page.js';
import type { Sql } from '../database/sql.js';
import { COMMAND_COLUMNS, toCommand } from './command-repository.js';
import type { Command, CommandState } from './command.js';

export const COMMAND_ORDER: ListOrder = {
  list: 'commands',
  keys: { number: { column: 'commands.number', type: 'integer' } },
  default: '-number',
  id: 'commands.id',
};

export interface CommandFilters {
  readonly states: readonly CommandState[];
  readonly type: string | undefined;
}

/** The commands of one computer that the caller may see. */
export async function listCommands(
  sql: Sql,
  computerId: string,
  { page, filters }: { readonly page: PageRequest; readonly filters: CommandFilters },
): Promise<Page<Command>> {
  const parameters: unknown[] = [computerId];
  const conditions = ['commands.computer_id = $1'];
  const add = (condition: string, value: unknown): void => {
    parameters.push(value);
    conditions.push(condition.replace('?', `$${parameters.length}`));
  };
  if (filters.states.length > 0) add('commands.state = ANY(?::text[])', filters.states);
  if (filters.type !== undefined) add('commands.type = ?', filters.type);
  const keyset = keysetOf(page, parameters.length + 1);
  parameters.push(...keyset.parameters, page.limit + 1);
  const rows = await sql.query(
    `SELECT ${COMMAND_COLUMNS} FROM commands WHERE ${conditions.join(' AND ')} AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $${parameters.length}`,
    parameters,
  );
  return pageOf(rows.map(toCommand), page, ({ number, id }) => [number, id]);
}

/** Those of a computer that was removed are for callers who see everything. */
export async function findCommand(sql: Sql, scope: Scope, commandId: string): Promise<Command | undefined> {
  const visible = scope.predicate('computers.policy_id', 2);
  const isOrphanShown = scope.isAll ? 'computers.id IS NULL' : 'FALSE';
  const [row] = await sql.query(
    `SELECT ${COMMAND_COLUMNS} FROM commands LEFT JOIN computers ON computers.id = commands.computer_id
     WHERE commands.id = $1 AND (${isOrphanShown} OR (${visible.sql}))`,
    [commandId, ...visible.parameters],
  );
  return row && toCommand(row);
}
