import type { FieldError } from '../../lib/problem.js';
import type { Scope } from '../access/scope.js';
import type { Sql } from '../database/sql.js';
import { isPolicyVisible } from './policy-repository.js';

/** The members that name no policy of the scope, by member. Absent and null name none, and are not refused here. */
export async function policyFaults(
  sql: Sql,
  scope: Scope,
  named: Readonly<Record<string, string | null | undefined>>,
): Promise<readonly FieldError[]> {
  const faults: FieldError[] = [];
  for (const [member, policyId] of Object.entries(named)) {
    if (policyId === undefined || policyId === null || (await isPolicyVisible(sql, scope, policyId))) continue;
    faults.push({ pointer: `#/${member}`, detail: 'is not a policy' });
  }
  return faults;
}
