import type { FieldError } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { policyFaults } from '../policies/index.js';
import type { OperationFilter } from './operation.js';

/** The ids of a filter that name nothing of the scope: whoever acts on what is not there has not meant that. */
export async function filterFaults(
  sql: Sql,
  scope: Scope,
  { policyId, computerIds = [] }: Pick<OperationFilter, 'policyId' | 'computerIds'>,
): Promise<readonly FieldError[]> {
  const known = await knownComputers(sql, scope, computerIds);
  const missing = [...computerIds.entries()].filter(([, id]) => !known.has(id));
  return [
    ...(await policyFaults(sql, scope, { 'filter/policyId': policyId })),
    ...missing.map(([index]) => ({ pointer: `#/filter/computerIds/${index}`, detail: 'is not a computer' })),
  ];
}

async function knownComputers(sql: Sql, scope: Scope, ids: readonly string[]): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const visible = scope.predicate('computers.policy_id', 2);
  const found = await sql.query<{ id: string }>(
    `SELECT computers.id FROM computers WHERE computers.id = ANY($1::uuid[]) AND ${visible.sql} ORDER BY computers.id`,
    [ids, ...visible.parameters],
  );
  return new Set(found.map(({ id }) => id));
}
