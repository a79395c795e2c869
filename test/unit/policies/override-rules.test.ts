import { expect } from 'chai';
import fc from 'fast-check';
import { Problem } from '../../../lib/problem.js';
import { assertLockable, assertOverridesCount, checkOverrides } from '../../../policies/override-rules.js';
import { DEFAULT_SETTINGS, extendWithComputer, resolveSettings } from '../../../policies/resolve-settings.js';
import { SETTING_KEYS, SETTINGS_CATALOGUE } from '../../../policies/settings-catalogue.js';
import type { SettingOverrides } from '../../../policies/setting-values.js';
import { computer, forest } from './forest-arbitrary.js';
import { problemOf } from './problem-of.js';
import { runs } from '../../support/property-runs.js';

const locking = {
  id: 'a',
  name: 'Servers',
  parentId: null,
  settings: { heartbeatIntervalSeconds: 60 },
  locks: { heartbeatIntervalSeconds: 'tightenOnly', connectionMode: 'locked' },
} as const;

describe('checking overrides that are newly set', () => {
  const above = resolveSettings({ lineage: [locking] });

  it('refuses what a lock above voids, with the locking policy', () => {
    const set = { heartbeatIntervalSeconds: 61, connectionMode: 'held', heartbeatGraceSeconds: 9 } as const;
    const refused = { code: 'setting-locked', policy: { id: 'a', name: 'Servers' } };
    expect(checkOverrides({ above, set })).to.deep.equal([
      {
        key: 'heartbeatIntervalSeconds',
        ...refused,
        detail: 'heartbeatIntervalSeconds must be 60 or less while the policy "Servers" locks it "tightenOnly".',
      },
      {
        key: 'connectionMode',
        ...refused,
        detail: 'connectionMode is locked by the policy "Servers": leave it inherited (null), or unlock it there.',
      },
    ]);
    const problem = problemOf(() => assertOverridesCount({ above, set }));
    expect(problem.code).to.equal('setting-locked');
    expect(problem.facts.members).to.deep.equal({ policy: { id: 'a', name: 'Servers' } });
    expect(problem.facts.errors).to.have.length(2);
  });

  it('says what a key of every order must be', () => {
    const locked = (settings: SettingOverrides) => {
      const locks = Object.fromEntries(Object.keys(settings).map((key) => [key, 'tightenOnly' as const]));
      return resolveSettings({ lineage: [{ ...locking, settings, locks }] });
    };
    for (const key of SETTING_KEYS) {
      const { stricter, default: value } = SETTINGS_CATALOGUE[key];
      if (stricter === null) continue;
      const bound = stricter === 'true' ? true : value;
      const looser = stricter === 'true' ? false : Number(bound) + (stricter === 'less' ? 1 : -1);
      const [refusal] = checkOverrides({ above: locked({ [key]: bound }), set: { [key]: looser } });
      const how = { less: `${bound} or less`, more: `${bound} or more`, true: 'true' }[stricter];
      expect(refusal?.detail).to.equal(`${key} must be ${how} while the policy "Servers" locks it "tightenOnly".`);
    }
  });

  it('accepts what is as strict as the locking policy', () => {
    expect(checkOverrides({ above, set: { heartbeatIntervalSeconds: 60 } })).to.deep.equal([]);
  });

  it('refuses another direction on an appliance, and only there', () => {
    const set = { communicationDirection: 'agentInitiated' } as const;
    expect(checkOverrides({ above: DEFAULT_SETTINGS, set, kind: 'appliance' })).to.deep.equal([
      {
        key: 'communicationDirection',
        code: 'forced-by-kind',
        policy: null,
        detail:
          'communicationDirection is forced to "bidirectional" by the kind of computer: leave it inherited (null).',
      },
    ]);
    expect(checkOverrides({ above: DEFAULT_SETTINGS, set, kind: 'agent' })).to.deep.equal([]);
    expect(checkOverrides({ above: DEFAULT_SETTINGS, set })).to.deep.equal([]);
    expect(problemOf(() => assertOverridesCount({ above, set, kind: 'appliance' })).code).to.equal('forced-by-kind');
  });

  it('refuses exactly the overrides that the resolver would void', () => {
    fc.assert(
      fc.property(forest(5), computer, (nodes, below) => {
        const lineage = nodes.map((node, index) => ({ ...node, parentId: nodes[index - 1]?.id ?? null }));
        const policy = resolveSettings({ lineage });
        const refused = checkOverrides({ above: policy, set: below.overrides, kind: below.kind });
        const resolved = extendWithComputer(policy, below).settings;
        const voided = SETTING_KEYS.filter((key) => resolved[key].void.some(({ kind }) => kind === 'computer'));
        expect(refused.map(({ key }) => key)).to.deep.equal(voided);
      }),
      runs(1000),
    );
  });
});

describe('locking a setting', () => {
  it('takes tightenOnly only for a setting with an order', () => {
    expect(() => assertLockable('heartbeatIntervalSeconds', 'tightenOnly')).not.to.throw();
    expect(() => assertLockable('communicationDirection', 'locked')).not.to.throw();
    expect(() => assertLockable('communicationDirection', 'tightenOnly')).to.throw(Problem);
  });
});
