import type { EntityManager } from 'typeorm';
import type { Scope } from '../access/scope.js';
import { containing, keysetOf, pageOf, type ListOrder, type Page, type PageRequest } from '../admin-api/page.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetInstant } from '../fleet-clock/fleet-clock.js';
import {
  PolicyEntity,
  PolicyRevisionEntity,
  toPolicy,
  toPolicyRow,
  type PolicyRevisionRow,
  type PolicyRow,
} from './policy-entity.js';
import type { Policy, PolicyRevision } from './policy.js';

export const POLICY_ORDER: ListOrder = {
  list: 'policies',
  keys: {
    name: { column: 'policies.name', type: 'text' },
    createdAt: { column: 'policies.created_at', type: 'timestamptz' },
  },
  default: 'name',
  id: 'policies.id',
};

export const REVISION_ORDER: ListOrder = {
  list: 'policies/revisions',
  keys: { revision: { column: 'policy_revisions.revision', type: 'integer' } },
  default: '-revision',
  id: 'policy_revisions.policy_id',
};

export interface PolicyRepository {
  /** Whether the scope holds the policy; null asks for the roots of the whole forest. */
  isVisible(scope: Scope, policyId: string | null): Promise<boolean>;
  find(scope: Scope, policyId: string): Promise<Policy | undefined>;
  list(scope: Scope, page: PageRequest, q: string | undefined): Promise<Page<Policy>>;
  listAll(scope: Scope): Promise<Policy[]>;
  insert(policy: Policy): Promise<void>;
  update(policy: Policy): Promise<void>;
  remove(policyId: string): Promise<void>;
  /** These policies are judged by other rules from `at` on. */
  markRulesChanged(policyIds: readonly string[], at: FleetInstant): Promise<void>;
  appendRevision(row: PolicyRevisionRow): Promise<void>;
  /** Up to `limit + 1` revisions and the one before the last of them, newest or oldest first as the page says. */
  listRevisions(policyId: string, page: PageRequest): Promise<Page<PolicyRevision>>;
  findRevisions(policyId: string, revisions: readonly number[]): Promise<PolicyRevision[]>;
}

export function createPolicyRepository(manager: EntityManager): PolicyRepository {
  const rows = () => manager.getRepository(PolicyEntity);
  const sql = sqlOfManager(manager);
  return {
    isVisible: (scope, policyId) => isPolicyVisible(sql, scope, policyId),
    async find(scope, policyId) {
      if (!(await isPolicyVisible(sql, scope, policyId))) return undefined;
      const row = await rows().findOne({ where: { id: policyId } });
      return row ? toPolicy(row) : undefined;
    },
    list: (scope, page, q) => list(manager, scope, { page, q }),
    async listAll(scope) {
      const visible = scope.predicate('policies.id', 1);
      const found = await sql.query<{ id: string }>(
        `SELECT policies.id FROM policies WHERE ${visible.sql} ORDER BY policies.id`,
        visible.parameters,
      );
      return byIds(manager, found);
    },
    insert: async (policy) => void (await rows().insert(toPolicyRow(policy))),
    update: async (policy) => void (await rows().update({ id: policy.id }, toPolicyRow(policy))),
    remove: async (policyId) => void (await rows().delete({ id: policyId })),
    async markRulesChanged(policyIds, at) {
      const ids = `{${policyIds.join(',')}}`;
      await sql.query('UPDATE policies SET verdict_rules_fleet_ms = $1 WHERE id = ANY($2::uuid[])', [at, ids]);
    },
    appendRevision: async (row) => void (await manager.getRepository(PolicyRevisionEntity).insert(row)),
    listRevisions: (policyId, page) => listRevisions(sql, policyId, page),
    findRevisions: (policyId, revisions) => findRevisions(sql, policyId, revisions),
  };
}

/** Whether the scope holds the policy; null asks for the roots of the whole forest. */
export async function isPolicyVisible(sql: Sql, scope: Scope, policyId: string | null): Promise<boolean> {
  const visible = scope.predicate('asked.id', 2);
  const found = await sql.query(`SELECT 1 AS yes FROM (SELECT $1::uuid AS id) AS asked WHERE ${visible.sql}`, [
    policyId,
    ...visible.parameters,
  ]);
  return found.length > 0;
}

interface ListQuestion {
  readonly page: PageRequest;
  readonly q: string | undefined;
}

async function list(manager: EntityManager, scope: Scope, { page, q }: ListQuestion): Promise<Page<Policy>> {
  const pattern = q === undefined ? null : containing(q);
  const visible = scope.predicate('policies.id', 3);
  const keyset = keysetOf(page, 3 + visible.parameters.length);
  const found = await sqlOfManager(manager).query<{ id: string }>(
    `SELECT policies.id FROM policies
     WHERE ($2::text IS NULL OR policies.name ILIKE $2 ESCAPE '\\') AND ${visible.sql} AND ${keyset.condition}
     ORDER BY ${keyset.orderBy} LIMIT $1`,
    [page.limit + 1, pattern, ...visible.parameters, ...keyset.parameters],
  );
  const policies = await byIds(manager, found);
  const isByName = page.sort.endsWith('name');
  return pageOf(policies, page, (policy) => [isByName ? policy.name : policy.createdAt.toISOString(), policy.id]);
}

/** The policies of these ids, in their order. */
async function byIds(manager: EntityManager, ids: readonly { readonly id: string }[]): Promise<Policy[]> {
  const rows: PolicyRow[] = await manager
    .createQueryBuilder(PolicyEntity, 'policy')
    .where('policy.id = ANY(:ids)', { ids: ids.map(({ id }) => id) })
    .getMany();
  const byId = new Map(rows.map((row) => [row.id, toPolicy(row)]));
  return ids.flatMap(({ id }) => byId.get(id) ?? []);
}

const REVISION_COLUMNS = `policy_revisions.revision, policy_revisions.changed_at AS "changedAt",
  policy_revisions.actor_id AS "actorId", policy_revisions.actor_name AS "actorName", policy_revisions.comment,
  policy_revisions.name, policy_revisions.parent_id AS "parentId", policy_revisions.settings, policy_revisions.locks`;

async function listRevisions(sql: Sql, policyId: string, page: PageRequest): Promise<Page<PolicyRevision>> {
  const keyset = keysetOf(page, 3);
  const rows = await sql.query<PolicyRevision>(
    `SELECT ${REVISION_COLUMNS} FROM policy_revisions
     WHERE policy_revisions.policy_id = $2 AND ${keyset.condition} ORDER BY ${keyset.orderBy} LIMIT $1`,
    [page.limit + 1, policyId, ...keyset.parameters],
  );
  return pageOf(rows, page, ({ revision }) => [revision, policyId]);
}

async function findRevisions(sql: Sql, policyId: string, revisions: readonly number[]): Promise<PolicyRevision[]> {
  return sql.query<PolicyRevision>(
    `SELECT ${REVISION_COLUMNS} FROM policy_revisions
     WHERE policy_revisions.policy_id = $1 AND policy_revisions.revision = ANY($2::integer[])
     ORDER BY policy_revisions.revision`,
    [policyId, revisions],
  );
}
