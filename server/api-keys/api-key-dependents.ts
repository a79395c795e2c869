import { refuseBoundRoles } from '../access/bound-roles.js';
import type { PolicyDependents } from '../policies/policy-dependents.js';

/** A key that is bound to a policy keeps it: it would count nowhere, or somewhere else. */
export const apiKeyDependents: PolicyDependents = {
  noun: 'apiKeys',
  async hold(sql, policyId) {
    await sql.query('SELECT api_keys.id FROM api_keys WHERE api_keys.policy_id = $1 ORDER BY api_keys.id FOR UPDATE', [
      policyId,
    ]);
  },
  namesOf: (sql, policyId, limit) =>
    sql.query(
      `SELECT api_keys.id, 'API key ' || api_keys.name AS name FROM api_keys WHERE api_keys.policy_id = $1
       ORDER BY api_keys.id LIMIT $2`,
      [policyId, limit],
    ),
  reassign: (sql, { from }) => refuseBoundRoles(apiKeyDependents, sql, from),
  async discard() {
    // Every key that is bound to it keeps it.
  },
};
