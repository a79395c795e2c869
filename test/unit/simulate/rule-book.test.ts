import { expect } from 'chai';
import { RuleBook } from '../../../scripts/simulate/oracle/rule-book.js';

const base = (settings: object) => ({ id: 'base', parent_id: null, settings: { ...settings } });
const child = (settings: object) => ({ id: 'child', parent_id: 'base', settings: { ...settings } });

describe('the rules of a policy', () => {
  it('are its own, its parents’, or the defaults, key by key', () => {
    const book = new RuleBook();
    book.read([base({ heartbeatsMissedAllowed: 1 }), child({ heartbeatGraceSeconds: 9 })], 0);
    expect(book.present('child')?.rules).to.deep.equal({ missedAllowed: 1, graceMs: 9000 });
    expect(book.present('base')?.rules).to.deep.equal({ missedAllowed: 1, graceMs: 5000 });
    book.read([base({ heartbeatsMissedAllowed: 'unlimited' }), child({})], 1);
    expect(book.present('child')?.rules).to.deep.equal({ missedAllowed: null, graceMs: 5000 });
  });

  it('begin when an edit is stored, and those before hold for what was under way', () => {
    const book = new RuleBook();
    book.read([base({ heartbeatsMissedAllowed: 3 })], 0);
    book.read([base({ heartbeatsMissedAllowed: 3 })], 50_000);
    book.read([base({ heartbeatsMissedAllowed: 1 })], 100_000);
    expect(book.present('base')?.from).to.equal(100_000);
    const allowed = (at: number) => book.applicable('base', at).map(({ missedAllowed }) => missedAllowed);
    expect(allowed(105_000)).to.deep.equal([3, 1]);
    expect(allowed(111_000)).to.deep.equal([1]);
  });
});
