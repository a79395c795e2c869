import { expect } from 'chai';
import { isSettingsPendingDue, nextPendingContacts, settingsState } from '../../../policies/settings-state.js';

describe('the state of settings', () => {
  for (const [desired, applied, failed, state] of [
    ['a', 'a', null, 'applied'],
    ['a', 'a', 'a', 'applied'],
    ['a', 'b', null, 'pending'],
    ['a', null, null, 'pending'],
    ['a', 'b', 'a', 'failed'],
    ['a', 'b', 'b', 'pending'],
  ] as const) {
    it(`is ${state} for desired ${desired}, applied ${applied}, failed ${failed}`, () =>
      expect(settingsState({ desired, applied, failed })).to.equal(state));
  }

  it('raises settings-pending at the contact after those allowed', () => {
    expect([0, 1, 2, 3].map((contacts) => isSettingsPendingDue(contacts, 2))).to.deep.equal([
      false,
      false,
      false,
      true,
    ]);
    expect(isSettingsPendingDue(1, 0)).to.equal(true);
    expect(isSettingsPendingDue(0, 0)).to.equal(false);
  });

  it('counts only contacts after a delivery of what is desired', () => {
    const count = (applied: string, delivered: string | null): number =>
      nextPendingContacts({ desired: 'a', applied, delivered, pendingContacts: 2 });
    expect(count('b', 'a')).to.equal(3);
    expect(count('a', 'a')).to.equal(0);
    expect(count('b', null)).to.equal(0);
    expect(count('b', 'older')).to.equal(0);
  });
});
