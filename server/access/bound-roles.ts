import { Problem } from '../../lib/problem.js';
import type { PolicyDependents } from '../policies/policy-dependents.js';

const NAMED_MAX = 20;

export interface BoundRoles {
  /** The member of the `in-use` problem that names them. */
  readonly noun: string;
  /** Has `id`, `name` and `policy_id`. */
  readonly table: 'users' | 'api_keys';
  /** What stands before each name. */
  readonly called: string;
}

/**
 * Whoever has a role that is bound to a policy keeps it: to bind it to the one that takes the rest would give it other
 * computers than whoever bound it meant.
 */
export function boundRoles({ noun, table, called }: BoundRoles): PolicyDependents {
  const bound = `FROM ${table} WHERE ${table}.policy_id = $1 ORDER BY ${table}.id`;
  const namesOf: PolicyDependents['namesOf'] = (sql, policyId, limit) =>
    sql.query(`SELECT ${table}.id, $3 || ' ' || ${table}.name AS name ${bound} LIMIT $2`, [policyId, limit, called]);
  return {
    noun,
    namesOf,
    async hold(sql, policyId) {
      await sql.query(`SELECT ${table}.id ${bound} FOR UPDATE`, [policyId]);
    },
    async reassign(sql, { from }) {
      const roles = await namesOf(sql, from, NAMED_MAX);
      if (roles.length === 0) return;
      const names = roles.map(({ name }) => name).join(', ');
      const detail = `Roles are bound to the policy: ${names}. Bind them to another one or remove them first.`;
      throw new Problem('in-use', { detail, members: { [noun]: roles } });
    },
    async discard() {
      // Each of them keeps it.
    },
  };
}
