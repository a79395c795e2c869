import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import fc from 'fast-check';
import { lineageOf, type PolicyNode } from '../../../policies/resolve-settings.js';
import { isLockable } from '../../../policies/settings-catalogue.js';
import type { LockMode } from '../../../policies/setting-values.js';
import { Problem } from '../../../lib/problem.js';
import { Scope } from '../../../server/access/scope.js';
import { createSettingsCache } from '../../../server/policies/cached-settings.js';
import { PolicyEntity, PolicyRevisionEntity } from '../../../server/policies/policy-entity.js';
import { createPolicyService, type PolicyService } from '../../../server/policies/policy-service.js';
import {
  createPolicySettingsService,
  type PolicySettingsService,
} from '../../../server/policies/policy-settings-service.js';
import { useDatabase } from '../../support/database.js';
import { ADA, startForest, type ForestWorld } from '../../support/domain-world.js';
import { overrides, VARIED_KEYS } from '../../unit/policies/forest-arbitrary.js';
import { referenceSetting } from '../../unit/policies/reference-resolver.js';

const CALLER = { actor: ADA, scope: Scope.all };
const EXPECTED_REFUSALS = ['setting-locked', 'policy-cycle', 'name-taken', 'in-use'];

const policy = fc.nat(9);
const step = fc.oneof(
  fc.record({ do: fc.constant('create' as const), below: policy, settings: overrides }),
  fc.record({ do: fc.constant('edit' as const), policy, settings: overrides, unset: overrides }),
  fc.record({
    do: fc.constant('lock' as const),
    policy,
    key: fc.constantFrom(...VARIED_KEYS),
    mode: fc.constantFrom<LockMode | null>('locked', 'tightenOnly', null),
  }),
  fc.record({ do: fc.constant('move' as const), policy, to: fc.nat(10) }),
  fc.record({ do: fc.constant('roll back' as const), policy, back: fc.nat(4) }),
  fc.record({ do: fc.constant('delete' as const), policy, to: fc.option(policy) }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What the forest must hold, kept without the product. */
interface Model {
  readonly nodes: Map<string, PolicyNode>;
  readonly history: Map<string, Pick<PolicyNode, 'settings' | 'locks'>[]>;
}

describe('a forest after any sequence of edits, moves, locks, rollbacks and deletions', function () {
  this.timeout(120_000);
  const database = useDatabase({ entities: [PolicyEntity, PolicyRevisionEntity] });
  let world: ForestWorld;
  let policies: PolicyService;
  let settings: PolicySettingsService;
  let names = 0;
  const done = new Map<string, number>();

  before(async () => {
    world = await startForest(database);
    const deps = { ...world, dependents: [] };
    policies = createPolicyService(deps);
    settings = createPolicySettingsService(deps);
  });

  const pick = ({ nodes }: Model, index: number): PolicyNode | undefined =>
    nodes.size === 0 ? undefined : [...nodes.values()][index % nodes.size];

  const keep = (model: Model, node: PolicyNode): void => {
    const known = model.nodes.get(node.id);
    model.nodes.set(node.id, node);
    const isSame = known && isDeepStrictEqual(known, node);
    if (!isSame) model.history.set(node.id, [...(model.history.get(node.id) ?? []), node]);
  };

  const create = async (model: Model, { below, settings: set }: Extract<Step, { do: 'create' }>) => {
    const parentId = pick(model, below)?.id ?? null;
    const name = `policy ${(names += 1)}`;
    const asked = { name, parentId, description: '', settings: set, comment: '' };
    const { id } = await policies.create(CALLER, asked);
    keep(model, { id, name, parentId, settings: set, locks: {} });
  };

  const edit = async (model: Model, node: PolicyNode, asked: Extract<Step, { do: 'edit' }>) => {
    const patch = { ...Object.fromEntries(Object.keys(asked.unset).map((key) => [key, null])), ...asked.settings };
    await settings.edit(CALLER, node.id, { patch, ifMatch: undefined, comment: '' });
    const merged = Object.entries({ ...node.settings, ...patch }).filter(([, value]) => value !== null);
    keep(model, { ...node, settings: Object.fromEntries(merged) });
  };

  const lock = async (model: Model, node: PolicyNode, { key, mode }: Extract<Step, { do: 'lock' }>) => {
    if (mode !== null && !isLockable(key, mode)) return;
    await settings.lock(CALLER, node.id, { key, mode, ifMatch: undefined, comment: '' });
    const { [key]: _old, ...others } = node.locks;
    keep(model, { ...node, locks: mode === null ? others : { ...others, [key]: mode } });
  };

  const move = async (model: Model, node: PolicyNode, to: number) => {
    const parentId = to === 10 ? null : (pick(model, to)?.id ?? null);
    await policies.edit(CALLER, node.id, { changes: { parentId }, ifMatch: undefined });
    keep(model, { ...node, parentId });
  };

  const rollBack = async (model: Model, node: PolicyNode, back: number) => {
    const history = model.history.get(node.id)!;
    const revision = Math.max(1, history.length - back);
    await policies.rollback(CALLER, node.id, { revision, comment: undefined, ifMatch: history.length });
    const { settings: restored, locks } = history[revision - 1]!;
    keep(model, { ...node, settings: restored, locks });
  };

  const remove = async (model: Model, node: PolicyNode, to: number | null) => {
    const reassignTo = to === null ? undefined : pick(model, to)?.id;
    await policies.remove(CALLER, node.id, { reassignTo, comment: '', ifMatch: undefined });
    model.nodes.delete(node.id);
    const children = [...model.nodes.values()].filter(({ parentId }) => parentId === node.id);
    for (const child of children.toSorted((a, b) => (a.id < b.id ? -1 : 1)))
      keep(model, { ...child, parentId: reassignTo! });
  };

  const perform = async (model: Model, asked: Step): Promise<void> => {
    if (asked.do === 'create') return create(model, asked);
    const node = pick(model, asked.policy);
    if (!node) return;
    if (asked.do === 'edit') return edit(model, node, asked);
    if (asked.do === 'lock') return lock(model, node, asked);
    if (asked.do === 'move') return move(model, node, asked.to);
    if (asked.do === 'roll back') return rollBack(model, node, asked.back);
    return remove(model, node, asked.to);
  };

  const take = async (model: Model, asked: Step): Promise<void> => {
    try {
      await perform(model, asked);
      done.set(asked.do, (done.get(asked.do) ?? 0) + 1);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      expect(EXPECTED_REFUSALS).to.include(error.code);
      done.set(error.code, (done.get(error.code) ?? 0) + 1);
    }
  };

  const clear = () =>
    world.sql.query(
      'WITH gone AS (DELETE FROM policies WHERE NOT built_in RETURNING 1) UPDATE policy_forest SET counter = counter + 1',
    );

  const agree = async ({ nodes }: Model): Promise<void> => {
    const other = createSettingsCache({ sql: world.sql });
    await other.refresh();
    // What edits handed over, never read back, is what the tables hold.
    const [adopted, read] = [world.cache.pinned(), other.pinned()];
    expect(adopted.generation).to.deep.equal(read.generation);
    expect(adopted.policies).to.deep.equal(read.policies);
    expect(adopted.resolved).to.deep.equal(read.resolved);
    expect([...other.policies().keys()].filter((id) => !other.policies().get(id)!.builtIn)).to.have.members([
      ...nodes.keys(),
    ]);
    for (const node of nodes.values()) {
      const lineage = lineageOf(nodes, node.id);
      for (const key of VARIED_KEYS) {
        const expected = referenceSetting({ lineage }, key);
        // The cache of the node that edited, and one that has only read.
        expect(world.cache.resolvedOf(node.id)!.settings[key]).to.deep.equal(expected);
        expect(other.resolvedOf(node.id)!.settings[key]).to.deep.equal(expected);
      }
    }
  };

  it('resolves as the reference does, from what the steps should have left', async () => {
    const steps = fc.array(step, { minLength: 10, maxLength: 30, size: 'max' });
    const check = async (asked: readonly Step[]): Promise<void> => {
      await clear();
      await world.cache.refresh();
      const model: Model = { nodes: new Map(), history: new Map() };
      for (const one of asked) await take(model, one);
      await agree(model);
    };
    await fc.assert(fc.asyncProperty(steps, check), { numRuns: 60 });
    for (const kind of ['create', 'edit', 'lock', 'move', 'roll back', 'delete', 'setting-locked', 'policy-cycle'])
      expect(done.get(kind) ?? 0, kind).to.be.greaterThan(3);
  });
});
