import { refuseBoundRoles } from '../access/bound-roles.js';
import type { PolicyDependents } from '../policies/policy-dependents.js';

/** A role that is bound to a policy keeps it: it would count nowhere, or somewhere else. */
export const userDependents: PolicyDependents = {
  noun: 'users',
  async hold(sql, policyId) {
    await sql.query('SELECT users.id FROM users WHERE users.policy_id = $1 ORDER BY users.id FOR UPDATE', [policyId]);
  },
  namesOf: (sql, policyId, limit) =>
    sql.query(
      `SELECT users.id, 'user ' || users.name AS name FROM users WHERE users.policy_id = $1 ORDER BY users.id LIMIT $2`,
      [policyId, limit],
    ),
  reassign: (sql, { from }) => refuseBoundRoles(userDependents, sql, from),
  async discard() {
    // Every role that is bound to it keeps it.
  },
};
