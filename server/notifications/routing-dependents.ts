import type { PolicyDependents } from '../policies/policy-dependents.js';

/** A route of a policy's computers keeps the policy from being deleted: it would fall silent unnoticed. */
export const routingDependents: PolicyDependents = {
  noun: 'notificationRoutes',
  async hold(sql, policyId) {
    await sql.query(
      `SELECT notification_routes.id FROM notification_routes WHERE notification_routes.policy_id = $1
       ORDER BY notification_routes.id FOR UPDATE`,
      [policyId],
    );
  },
  namesOf: (sql, policyId, limit) =>
    sql.query(
      `SELECT notification_routes.id, 'notification route ' || notification_routes.name AS name
       FROM notification_routes WHERE notification_routes.policy_id = $1
       ORDER BY notification_routes.id LIMIT $2`,
      [policyId, limit],
    ),
  async reassign(sql, { from, to }) {
    await sql.query(
      `WITH led AS (
         SELECT notification_routes.id FROM notification_routes WHERE notification_routes.policy_id = $1
         ORDER BY notification_routes.id FOR UPDATE)
       UPDATE notification_routes SET policy_id = $2, revision = revision + 1 FROM led
       WHERE notification_routes.id = led.id`,
      [from, to],
    );
  },
  async discard() {
    // Every route that names it keeps it.
  },
};
