import fc from 'fast-check';
import { isLockable, SETTING_KEYS } from '../../../policies/settings-catalogue.js';
import type { ComputerNode, PolicyLocks, PolicyNode } from '../../../policies/resolve-settings.js';
import type { LockMode, SettingKey, SettingOverrides, SettingValue } from '../../../policies/setting-values.js';

/** A few values of every kind of order, so that overrides often meet, equal and exceed each other. */
const VALUES: Partial<Record<SettingKey, readonly SettingValue[]>> = {
  heartbeatIntervalSeconds: [30, 60, 600],
  heartbeatsMissedAllowed: [0, 2, 9, 'unlimited'],
  offlineAlertForStoppedVm: [true, false],
  certificateExpiryAlertDays: [1, 7, 30],
  communicationDirection: ['bidirectional', 'agentInitiated', 'managerInitiated'],
  managerUrls: [[], ['https://a.example'], ['https://b.example', 'https://a.example']],
  cleanupAfterDays: [30, 'unlimited'],
};
export const VARIED_KEYS = Object.keys(VALUES) as SettingKey[];

export const overrides: fc.Arbitrary<SettingOverrides> = fc.record(
  Object.fromEntries(VARIED_KEYS.map((key) => [key, fc.constantFrom(...VALUES[key]!)])),
  { requiredKeys: [] },
) as fc.Arbitrary<SettingOverrides>;

const locks: fc.Arbitrary<PolicyLocks> = fc
  .dictionary(fc.constantFrom(...SETTING_KEYS), fc.constantFrom<LockMode>('locked', 'tightenOnly'), { maxKeys: 4 })
  .map((wanted) =>
    Object.fromEntries(Object.entries(wanted).filter(([key, mode]) => isLockable(key as SettingKey, mode))),
  );
const someLocks = fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: locks });

/** A forest of up to `max` policies: each is a root or a child of an earlier one. */
export function forest(max: number): fc.Arbitrary<PolicyNode[]> {
  const node = fc.record({ settings: overrides, locks: someLocks, above: fc.nat(max) });
  return fc.array(node, { minLength: 1, maxLength: max }).map((nodes) =>
    nodes.map(({ settings, locks: own, above }, index) => ({
      id: `p${index}`,
      name: `Policy ${index}`,
      parentId: index === 0 || above > index ? (index % 5 === 0 ? null : `p${index - 1}`) : `p${above % index}`,
      settings,
      locks: own,
    })),
  );
}

export const computer: fc.Arbitrary<ComputerNode> = fc.record({
  id: fc.constant('c1'),
  name: fc.constant('web1'),
  kind: fc.constantFrom('agent', 'appliance'),
  overrides,
});

export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) deepFreeze(member);
    Object.freeze(value);
  }
  return value;
}
