import { resolveForest, type ResolvedSettings } from '../../policies/resolve-settings.js';
import type { ParentMap } from '../../policies/forest-rules.js';
import { Problem } from '../../lib/problem.js';
import type { Actor } from '../access/actor.js';
import type { Scope } from '../access/scope.js';
import type { AuditLog } from '../audit/audit.js';
import type { UnitOfWork } from '../database/in-transaction.js';
import { sqlOfManager, type Sql } from '../database/sql.js';
import type { FleetClock, FleetInstant } from '../fleet-clock/fleet-clock.js';
import { changesVerdictRules } from './computer-settings.js';
import { advanceForest, lockForest, readForest } from './forest-repository.js';
import { createPolicyRepository, type PolicyRepository } from './policy-repository.js';
import type { Policy } from './policy.js';
import type { AdoptedForest, PolicySettingsCache } from './cached-settings.js';

/** Who asks, and what part of the forest he may touch. */
export interface Caller {
  readonly actor: Actor;
  readonly scope: Scope;
}

export interface EditInstant {
  readonly fleet: FleetInstant;
  readonly wall: Date;
}

/** TypeORM's EntityManager of one transaction. */
export type TransactionManager = Parameters<Parameters<UnitOfWork>[0]>[0];

/** One edit of the forest inside its transaction; the caller holds the forest's row. */
export interface ForestEdit {
  readonly manager: TransactionManager;
  readonly sql: Sql;
  readonly at: EditInstant;
  readonly repository: PolicyRepository;
  /** Every policy as this edit has left it so far. */
  readonly policies: ReadonlyMap<string, Policy>;
  parents(): ParentMap;
  /** What every policy resolved to before the edit. */
  resolvedBefore(): ReadonlyMap<string, ResolvedSettings>;
  /** What every policy resolves to after what was stored so far. */
  resolvedNow(): ReadonlyMap<string, ResolvedSettings>;
  /** A policy of the scope; throws `policy-not-found`. */
  get(scope: Scope, policyId: string): Promise<Policy>;
  insert(policy: Policy, by: EditNote): Promise<void>;
  /** Stores the next revision of a policy: the given one counts as the stored one's successor. */
  update(policy: Policy, by: EditNote): Promise<Policy>;
  remove(policyId: string): Promise<void>;
  /** Computers were moved or their overrides changed: the generation advances though no policy did. */
  touch(): void;
}

export interface EditNote {
  readonly actor: Actor;
  readonly comment: string;
}

export interface ForestEditDeps {
  readonly clock: FleetClock;
  readonly inTransaction: UnitOfWork;
  readonly audit: AuditLog;
  readonly cache: Pick<PolicySettingsCache, 'pinned' | 'adopt' | 'refresh'>;
}

/**
 * Runs one edit of the forest: (1) lock the forest's row, (2) read every policy, unless this node's cache is of that
 * very generation, (3) do the work, (4) mark what is judged by other rules now, (5) advance the generation and tell it.
 * After the commit this node's cache is at least that new. An edit that stores nothing advances nothing.
 */
export async function editForest<T>(deps: ForestEditDeps, work: (edit: ForestEdit) => Promise<T>): Promise<T> {
  let stored: AdoptedForest | undefined;
  const result = await deps.inTransaction(async (manager) => {
    const sql = sqlOfManager(manager);
    const before = await lockedForest(deps, sql);
    const at = { fleet: Math.floor(deps.clock.fleet()), wall: new Date(deps.clock.wall()) };
    const running = createForestEdit({ manager, at, before });
    const answer = await work(running.edit);
    const after = await running.settle();
    stored = after && { ...after, generation: await advanceForest(sql) };
    return answer;
  });
  if (stored) deps.cache.adopt(stored);
  return result;
}

/** Locks the forest's row, so that what is pinned under that generation is what the tables hold. */
async function lockedForest({ cache }: ForestEditDeps, sql: Sql): Promise<ForestBefore> {
  const { epoch, counter } = await lockForest(sql);
  const { generation, policies, resolved } = cache.pinned();
  if (generation.epoch === epoch && generation.counter === counter) return { policies, resolved };
  const read = await readForest(sql);
  return { policies: read.policies, resolved: resolveForest(read.policies.values()) };
}

type ForestBefore = Omit<AdoptedForest, 'generation'>;

interface EditStart {
  readonly manager: TransactionManager;
  readonly at: EditInstant;
  readonly before: ForestBefore;
}

interface RunningEdit {
  readonly edit: ForestEdit;
  /** Marks changed verdict rules; answers the forest as it is stored now, undefined where nothing was. */
  settle(): Promise<ForestBefore | undefined>;
}

function createForestEdit({ manager, at, before }: EditStart): RunningEdit {
  const policies = new Map(before.policies);
  const repository = createPolicyRepository(manager);
  let isDirty = false;
  const known = { nodes: before.policies, resolved: before.resolved };
  const edit: ForestEdit = {
    manager,
    sql: sqlOfManager(manager),
    at,
    repository,
    policies,
    parents: () => new Map([...policies.values()].map(({ id, parentId }) => [id, parentId])),
    resolvedBefore: () => before.resolved,
    resolvedNow: () => (isDirty ? resolveForest(policies.values(), known) : before.resolved),
    async get(scope, policyId) {
      const policy = policies.get(policyId);
      if (!policy || !(await repository.isVisible(scope, policyId))) throw new Problem('policy-not-found');
      return policy;
    },
    async insert(policy, by) {
      isDirty = true;
      policies.set(policy.id, policy);
      await repository.insert(policy);
      await repository.appendRevision(revisionOf(policy, by, at));
    },
    async update(policy, by) {
      isDirty = true;
      const next = { ...policy, revision: policy.revision + 1, updatedAt: at.wall };
      policies.set(next.id, next);
      await repository.update(next);
      await repository.appendRevision(revisionOf(next, by, at));
      return next;
    },
    async remove(policyId) {
      isDirty = true;
      policies.delete(policyId);
      await repository.remove(policyId);
    },
    touch() {
      isDirty = true;
    },
  };
  const settle = async (): Promise<ForestBefore | undefined> => {
    if (!isDirty) return undefined;
    const resolved = edit.resolvedNow();
    const changed = changedRules(before.resolved, resolved);
    if (changed.length > 0) await repository.markRulesChanged(changed, at.fleet);
    for (const id of changed) {
      const policy = policies.get(id);
      if (policy) policies.set(id, { ...policy, rulesSince: at.fleet });
    }
    return { policies, resolved };
  };
  return { edit, settle };
}

type Resolutions = ReadonlyMap<string, ResolvedSettings>;

function changedRules(before: Resolutions, after: Resolutions): string[] {
  const changed: string[] = [];
  for (const [id, now] of after) {
    const then = before.get(id);
    if (then && then !== now && changesVerdictRules(then, now)) changed.push(id);
  }
  return changed.toSorted();
}

function revisionOf(policy: Policy, { actor, comment }: EditNote, at: EditInstant) {
  const { revision, name, parentId, settings, locks } = policy;
  return {
    policyId: policy.id,
    revision,
    changedAt: at.wall,
    changedFleetMs: at.fleet,
    actorId: actor.id,
    actorName: actor.name,
    comment,
    name,
    parentId,
    settings,
    locks,
  };
}
