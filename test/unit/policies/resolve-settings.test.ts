import { expect } from 'chai';
import fc from 'fast-check';
import { assertMove, type ParentMap } from '../../../policies/forest-rules.js';
import {
  computerValue,
  DEFAULT_SETTINGS,
  effectiveValues,
  extendResolution,
  extendWithComputer,
  lineageOf,
  resolveForest,
  resolveSettings,
  type PolicyNode,
} from '../../../policies/resolve-settings.js';
import { catalogueDefaults, SETTING_KEYS } from '../../../policies/settings-catalogue.js';
import { computer, deepFreeze, forest, VARIED_KEYS } from './forest-arbitrary.js';
import { referenceSetting } from './reference-resolver.js';
import { runs } from '../../support/property-runs.js';

function policy(id: string, parts: Partial<PolicyNode> = {}): PolicyNode {
  return { id, name: id.toUpperCase(), parentId: null, settings: {}, locks: {}, ...parts };
}

const web1 = { id: 'c1', name: 'web1', kind: 'agent', overrides: {} } as const;

describe('resolving settings', () => {
  it('gives the catalogue defaults to a root without overrides', () => {
    const resolved = resolveSettings({ lineage: [policy('a')] });
    expect(effectiveValues(resolved)).to.deep.equal(catalogueDefaults());
    expect(resolved.settings.heartbeatIntervalSeconds).to.deep.equal({
      value: 60,
      inherited: true,
      source: { kind: 'default' },
      shadows: [],
      void: [],
      lock: null,
    });
  });

  it('shows an inherited value with its source and what it shadows, nearest first', () => {
    const lineage = [
      policy('a', { settings: { heartbeatIntervalSeconds: 120 } }),
      policy('b', { settings: { heartbeatIntervalSeconds: 600 } }),
    ];
    const resolved = resolveSettings({ lineage, computer: web1 });
    expect(resolved.settings.heartbeatIntervalSeconds).to.deep.equal({
      value: 600,
      inherited: true,
      source: { kind: 'policy', id: 'b', name: 'B' },
      shadows: [
        { kind: 'policy', id: 'a', name: 'A', value: 120 },
        { kind: 'default', value: 60 },
      ],
      void: [],
      lock: null,
    });
  });

  it('does not inherit where the own override counts, and replaces a list whole', () => {
    const lineage = [
      policy('a', { settings: { managerUrls: ['https://a.example'] } }),
      policy('b', { settings: { managerUrls: [] } }),
    ];
    const { managerUrls } = resolveSettings({ lineage }).settings;
    expect(managerUrls.value).to.deep.equal([]);
    expect(managerUrls.inherited).to.equal(false);
  });

  it('voids what a lock above refuses, by the name of the locking policy, and lets its own override count', () => {
    const lineage = [
      policy('a', { settings: { heartbeatIntervalSeconds: 120 }, locks: { heartbeatIntervalSeconds: 'locked' } }),
      policy('b', { settings: { heartbeatIntervalSeconds: 30 } }),
    ];
    const { heartbeatIntervalSeconds: setting } = resolveSettings({ lineage }).settings;
    expect(setting.value).to.equal(120);
    expect(setting.inherited).to.equal(true);
    expect(setting.void).to.deep.equal([
      { kind: 'policy', id: 'b', name: 'B', value: 30, reason: 'locked', by: { id: 'a', name: 'A' } },
    ]);
    expect(setting.lock).to.deep.equal({ mode: 'locked', policy: { id: 'a', name: 'A' } });
    expect(resolveSettings({ lineage: lineage.slice(0, 1) }).settings.heartbeatIntervalSeconds.inherited).to.equal(
      false,
    );
  });

  for (const [value, effective] of [
    [1, 1],
    [2, 2],
    [3, 2],
    ['unlimited', 2],
  ] as const) {
    it(`lets ${value} missed heartbeats below tightenOnly at 2 give ${effective}`, () => {
      const lineage = [
        policy('a', { locks: { heartbeatsMissedAllowed: 'tightenOnly' } }),
        policy('b', { settings: { heartbeatsMissedAllowed: value } }),
      ];
      expect(resolveSettings({ lineage }).settings.heartbeatsMissedAllowed.value).to.equal(effective);
    });
  }

  it('holds an override to every lock above it, not only to the nearest', () => {
    const lineage = [
      policy('a', { settings: { heartbeatIntervalSeconds: 60 }, locks: { heartbeatIntervalSeconds: 'tightenOnly' } }),
      policy('b', { settings: { heartbeatIntervalSeconds: 30 }, locks: { heartbeatIntervalSeconds: 'tightenOnly' } }),
      policy('c', { settings: { heartbeatIntervalSeconds: 45 } }),
    ];
    const { heartbeatIntervalSeconds: setting } = resolveSettings({ lineage }).settings;
    expect(setting.value).to.equal(30);
    expect(setting.void[0]?.by).to.deep.equal({ id: 'b', name: 'B' });
    expect(setting.lock?.policy?.id).to.equal('a');
  });

  it('forces an appliance to be bidirectional and says so', () => {
    const lineage = [policy('a', { settings: { communicationDirection: 'agentInitiated' } })];
    const resolved = resolveSettings({ lineage, computer: { ...web1, kind: 'appliance' } });
    expect(resolved.settings.communicationDirection).to.deep.equal({
      value: 'bidirectional',
      inherited: true,
      source: { kind: 'forced' },
      shadows: [{ kind: 'default', value: 'bidirectional' }],
      void: [{ kind: 'policy', id: 'a', name: 'A', value: 'agentInitiated', reason: 'forced by kind', by: null }],
      lock: null,
    });
  });

  it('ignores a stored key that the catalogue does not know', () => {
    const settings = { retiredSetting: 1 } as unknown as PolicyNode['settings'];
    expect(effectiveValues(resolveSettings({ lineage: [policy('a', { settings })] }))).to.deep.equal(
      catalogueDefaults(),
    );
  });
});

describe('the resolver against the reference', () => {
  it('agrees for every key of every policy and of a computer below it, and changes nothing it was given', () => {
    fc.assert(
      fc.property(forest(8), computer, (nodes, below) => {
        deepFreeze([nodes, below]);
        const byId = new Map(nodes.map((node) => [node.id, node]));
        const resolved = resolveForest(nodes);
        for (const node of nodes) {
          const lineage = lineageOf(byId, node.id);
          const whole = resolveSettings({ lineage, computer: below });
          expect(resolved.get(node.id)).to.deep.equal(resolveSettings({ lineage }));
          for (const key of VARIED_KEYS) {
            expect(resolved.get(node.id)!.settings[key]).to.deep.equal(referenceSetting({ lineage }, key));
            expect(whole.settings[key]).to.deep.equal(referenceSetting({ lineage, computer: below }, key));
          }
        }
      }),
      runs(1000),
    );
  }).timeout(60_000);

  it('agrees after every allowed move, which deletes no override', () => {
    const moves = fc.array(fc.tuple(fc.nat(9), fc.option(fc.nat(9))), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(forest(8), moves, (nodes, wanted) => {
        let present = nodes;
        for (const [which, where] of wanted) {
          const moved = present[which % present.length]!;
          const parentId = where === null ? null : present[where % present.length]!.id;
          const parents: ParentMap = new Map(present.map((node) => [node.id, node.parentId]));
          if (!isAllowed(parents, { id: moved.id, parentId })) continue;
          present = present.map((node) => (node === moved ? { ...node, parentId } : node));
        }
        const byId = new Map(present.map((node) => [node.id, node]));
        for (const [id, { settings }] of resolveForest(present))
          for (const key of SETTING_KEYS) {
            const lineage = lineageOf(byId, id);
            expect(settings[key]).to.deep.equal(referenceSetting({ lineage }, key));
            const overriding = lineage.filter((node) => node.settings[key] !== undefined).length;
            // The default is shadowed, or it is the source.
            expect(settings[key].shadows.length + settings[key].void.length).to.equal(overriding);
          }
      }),
      runs(500),
    );
  }).timeout(60_000);

  it('extends a parent to the same as resolving the whole lineage, and leaves the parent as it was', () => {
    fc.assert(
      fc.property(forest(6), computer, (nodes, below) => {
        const lineage = lineageOf(new Map(nodes.map((node) => [node.id, node])), nodes.at(-1)!.id);
        let resolved = DEFAULT_SETTINGS;
        for (const [index, node] of lineage.entries()) {
          deepFreeze(resolved);
          resolved = extendResolution(resolved, node);
          expect(resolved).to.deep.equal(resolveSettings({ lineage: lineage.slice(0, index + 1) }));
        }
        deepFreeze(resolved);
        const ofComputer = extendWithComputer(resolved, below);
        expect(ofComputer).to.deep.equal(resolveSettings({ lineage, computer: below }));
        const bare = SETTING_KEYS.map((key) => [key, computerValue(resolved, below, key)]);
        expect(Object.fromEntries(bare)).to.deep.equal(effectiveValues(ofComputer));
      }),
      runs(1000),
    );
  }).timeout(60_000);
});

function isAllowed(parents: ParentMap, move: { id: string; parentId: string | null }): boolean {
  try {
    assertMove(parents, move);
    return true;
  } catch {
    return false;
  }
}

describe('resolving a forest', () => {
  it('resolves 10,000 policies once each, whatever order they come in', () => {
    const nodes = Array.from({ length: 10_000 }, (_, index) =>
      policy(`p${index}`, { parentId: index < 10 ? null : `p${Math.floor(index / 4)}` }),
    ).toReversed();
    expect(resolveForest(nodes).size).to.equal(10_000);
  });

  it('refuses a cycle and a missing parent loudly', () => {
    expect(() => resolveForest([policy('a', { parentId: 'b' }), policy('b', { parentId: 'a' })])).to.throw(/cycle/);
    expect(() => resolveForest([policy('a', { parentId: 'x' })])).to.throw(/does not exist/);
  });
});
