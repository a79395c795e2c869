import { settingsPatchFaults } from '../../policies/settings-patch.js';
import { CheckedParts, Shown } from '../admin-api/shown.js';

/** A member that holds a JSON Merge Patch of settings. */
export function SettingsPatchMember(schema: Readonly<Record<string, unknown>> = {}): PropertyDecorator {
  const check = CheckedParts('isSettingsPatch', settingsPatchFaults);
  return (target, member) => {
    check(target, member);
    Shown({ type: 'object', additionalProperties: true, ...schema })(target, member);
  };
}
