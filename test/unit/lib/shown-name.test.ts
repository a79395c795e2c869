import { expect } from 'chai';
import fc from 'fast-check';
import { cleanName, lengthInCodePoints, nameFault } from '../../../lib/shown-name.js';

const LIMITS = { max: 20, fallback: 'computer' };

describe('names that people read', () => {
  for (const name of ['web1', 'Zoë', 'Сервер 1', '\u{1f6e1}', 'a-b_c.d'])
    it(`may be ${name}`, () => expect(nameFault(name)).to.equal(undefined));
  for (const name of ['a\u0000', 'a\u202a', '\u2066a', 'a\u200bb', ' a', 'a\u00a0', '\ufeffa', 'a\u2028b'])
    it(`may not be ${JSON.stringify(name)}`, () => expect(nameFault(name)).to.be.a('string'));

  it('are cleaned into ones without a fault, of a bounded length', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const cleaned = cleanName(name, LIMITS);
        expect(nameFault(cleaned)).to.equal(undefined);
        expect(lengthInCodePoints(cleaned)).to.be.within(1, LIMITS.max);
        if (nameFault(name) === undefined && lengthInCodePoints(name) <= LIMITS.max && name !== '')
          expect(cleaned).to.equal(name.toWellFormed());
      }),
    );
  });
});
