import type { Clock } from '../../lib/clock.js';
import type { PolicyDependents } from '../policies/policy-dependents.js';

/** Tokens that can still be used keep their policy from being deleted; those that cannot go with it. */
export function createTokenDependents({ clock }: { readonly clock: Clock }): PolicyDependents {
  return {
    noun: 'enrollmentTokens',
    async hold(sql, policyId) {
      await sql.query(
        `SELECT enrollment_tokens.id FROM enrollment_tokens WHERE enrollment_tokens.policy_id = $1
         ORDER BY enrollment_tokens.id FOR UPDATE`,
        [policyId],
      );
    },
    namesOf: (sql, policyId, limit) =>
      sql.query(
        `SELECT enrollment_tokens.id, 'enrollment token ' || enrollment_tokens.id AS name FROM enrollment_tokens
         WHERE enrollment_tokens.policy_id = $1 AND enrollment_tokens.used < enrollment_tokens.uses
           AND enrollment_tokens.expires_at > $3
         ORDER BY enrollment_tokens.id LIMIT $2`,
        [policyId, limit, new Date(clock.wall())],
      ),
    async reassign(sql, { from, to }) {
      await sql.query('UPDATE enrollment_tokens SET policy_id = $2 WHERE policy_id = $1', [from, to]);
    },
    async discard(sql, policyId) {
      await sql.query('DELETE FROM enrollment_tokens WHERE policy_id = $1', [policyId]);
    },
  };
}
