import { Problem, type FieldError } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';

/** The members that name no policy of the scope, by member. Absent and null name none, and are not refused here. */
export async function policyFaults(
  sql: Sql,
  scope: Scope,
  named: Readonly<Record<string, string | null | undefined>>,
): Promise<readonly FieldError[]> {
  const ids = Object.values(named).filter((id) => typeof id === 'string');
  if (ids.length === 0) return [];
  const visible = scope.predicate('policies.id', 2);
  const found = await sql.query<{ id: string }>(
    `SELECT policies.id FROM policies WHERE policies.id = ANY($1::uuid[]) AND ${visible.sql} ORDER BY policies.id`,
    [ids, ...visible.parameters],
  );
  const known = new Set(found.map(({ id }) => id));
  return Object.entries(named)
    .filter(([, id]) => typeof id === 'string' && !known.has(id))
    .map(([member]) => ({ pointer: `#/${member}`, detail: 'is not a policy' }));
}

/** Throws `policy-not-found` unless the scope holds the policy, which then stays until the transaction ends; null passes. */
export async function assertBindable(sql: Sql, scope: Scope, policyId: string | null): Promise<void> {
  if (policyId === null) return;
  const visible = scope.predicate('policies.id', 2);
  const text = `SELECT 1 AS yes FROM policies WHERE policies.id = $1 AND ${visible.sql} FOR KEY SHARE`;
  if ((await sql.query(text, [policyId, ...visible.parameters])).length > 0) return;
  throw new Problem('policy-not-found', { detail: 'The policy named in policyId does not exist.' });
}
