import type { PolicyDependents } from '../policies/policy-dependents.js';
import { reattachComputers } from './computer-repository.js';

/** Computers keep the policy that they are attached to from being deleted, and move with `?reassignTo=`. */
export const computerDependents: PolicyDependents = {
  noun: 'computers',
  hold: async () => undefined,
  namesOf: (sql, policyId, limit) =>
    sql.query(
      `SELECT computers.id, computers.name FROM computers WHERE computers.policy_id = $1
       ORDER BY computers.id LIMIT $2`,
      [policyId, limit],
    ),
  reassign: (sql, { from, to, at, caller, rulesSince }) =>
    reattachComputers(sql, { from, to, at, actor: caller.actor, rulesSince }),
  discard: async () => undefined,
};
