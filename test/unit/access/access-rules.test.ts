import { expect } from 'chai';
import { owedBy, SECOND_FACTOR_FOR } from '../../../server/access/access-rules.js';
import { ROLES } from '../../../server/access/actor.js';

describe('what a user owes before anything else', () => {
  it('is his password first, whatever else', () => {
    for (const role of ROLES)
      for (const demanded of SECOND_FACTOR_FOR)
        for (const hasSecondFactor of [true, false])
          expect(owedBy({ role, mustChangePassword: true, hasSecondFactor }, demanded)).to.equal('password');
  });

  for (const [demanded, role, hasSecondFactor, owed] of [
    ['nobody', 'administrator', false, undefined],
    ['administrators', 'operator', false, undefined],
    ['administrators', 'administrator', false, 'second-factor'],
    ['administrators', 'administrator', true, undefined],
    ['everyone', 'auditor', false, 'second-factor'],
    ['everyone', 'auditor', true, undefined],
  ] as const)
    it(`is ${owed ?? 'nothing'} for ${role} with${hasSecondFactor ? '' : 'out'} one, demanded of ${demanded}`, () => {
      expect(owedBy({ role, mustChangePassword: false, hasSecondFactor }, demanded)).to.equal(owed);
    });
});
