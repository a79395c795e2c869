import { expect } from 'chai';
import fc from 'fast-check';
import { concealSettings } from '../../../policies/conceal-settings.js';
import { checkOverrides } from '../../../policies/override-rules.js';
import { effectiveValues, resolveSettings, type PolicyNode } from '../../../policies/resolve-settings.js';
import { SETTING_KEYS } from '../../../policies/settings-catalogue.js';
import { overrides } from './forest-arbitrary.js';

const KEY = 'heartbeatIntervalSeconds';

function policy(id: string, facts: Partial<PolicyNode> = {}): PolicyNode {
  return { id, name: `the policy ${id}`, parentId: null, settings: {}, locks: {}, ...facts };
}

/** Of a chain from the root, as seen by whoever may see only those that are named `own…`. */
function seen(lineage: readonly PolicyNode[]) {
  return concealSettings(resolveSettings({ lineage }), (id) => id.startsWith('own'));
}

describe('settings for somebody who may not see where they come from', () => {
  it('say that a value comes from above, and nothing of what it shadows there', () => {
    const { [KEY]: setting } = seen([
      policy('a', { settings: { [KEY]: 10 } }),
      policy('b', { settings: { [KEY]: 20 } }),
      policy('own'),
    ]).settings;
    expect(setting).to.deep.include({ value: 20, inherited: true, source: { kind: 'above' }, lock: null });
    expect(setting.shadows).to.deep.equal([{ kind: 'default', value: 60 }]);
  });

  it('show what would count without the own override, whoever says it', () => {
    const { [KEY]: setting } = seen([
      policy('a', { settings: { [KEY]: 10 } }),
      policy('b', { settings: { [KEY]: 20 } }),
      policy('own', { settings: { [KEY]: 30 } }),
    ]).settings;
    expect(setting.source).to.deep.equal({ kind: 'policy', id: 'own', name: 'the policy own' });
    expect(setting.shadows).to.deep.equal([
      { kind: 'above', value: 20 },
      { kind: 'default', value: 60 },
    ]);
  });

  it('name no locking policy above, in the refusal of an override neither', () => {
    const lineage = [
      policy('a', { settings: { [KEY]: 10 }, locks: { [KEY]: 'locked' } }),
      policy('b', { settings: { [KEY]: 20 } }),
      policy('own', { settings: { [KEY]: 30 } }),
    ];
    const concealed = seen(lineage);
    const { [KEY]: setting } = concealed.settings;
    expect(setting.lock).to.deep.equal({ mode: 'locked', policy: null });
    expect(setting.void).to.deep.equal([
      { kind: 'policy', id: 'own', name: 'the policy own', value: 30, reason: 'locked', by: null },
    ]);
    const [refusal] = checkOverrides({ above: concealed, set: { [KEY]: 40 } });
    expect(refusal).to.deep.equal({
      key: KEY,
      code: 'setting-locked',
      policy: null,
      detail: `${KEY} is locked by a policy above those that you may see: leave it inherited (null), or unlock it there.`,
    });
  });

  it('stay as they are where everything may be seen', () => {
    const resolved = resolveSettings({
      lineage: [policy('own', { settings: { [KEY]: 10 }, locks: { [KEY]: 'locked' } })],
    });
    expect(concealSettings(resolved, () => true)).to.deep.equal(resolved);
  });

  it('keep every value and every verdict about an override, and name nobody hidden', () => {
    const chain = fc.array(fc.record({ settings: overrides, isLocked: fc.boolean() }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(chain, fc.nat(4), overrides, (nodes, hidden, set) => {
        const lineage = nodes.map(({ settings, isLocked }, place) =>
          policy(place < hidden ? `hidden-${place}` : `own-${place}`, {
            settings,
            locks: isLocked ? Object.fromEntries(Object.keys(settings).map((key) => [key, 'locked'])) : {},
          }),
        );
        const resolved = resolveSettings({ lineage });
        const concealed = seen(lineage);
        expect(effectiveValues(concealed)).to.deep.equal(effectiveValues(resolved));
        const keys = (above: typeof resolved) => checkOverrides({ above, set }).map(({ key, code }) => [key, code]);
        expect(keys(concealed)).to.deep.equal(keys(resolved));
        const told = JSON.stringify([concealed, checkOverrides({ above: concealed, set })]);
        expect(told).not.to.contain('hidden-');
        for (const key of SETTING_KEYS)
          expect(concealed.settings[key].shadows.filter(({ kind }) => kind === 'above').length).to.be.at.most(1);
      }),
    );
  });
});
