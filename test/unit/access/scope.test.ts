import { expect } from 'chai';
import { Scope } from '../../../server/access/scope.js';
import { problemOf } from '../policies/problem-of.js';

const FOREST = new Map(
  Object.entries({ top: null, mine: 'top', below: 'mine', deeper: 'below', side: 'top', other: null }).map(
    ([id, parentId]) => [id, { parentId }],
  ),
);

describe('a scope', () => {
  const scope = Scope.of('mine');

  const held: readonly (readonly [string | null, boolean])[] = [
    ['mine', true],
    ['below', true],
    ['deeper', true],
    ['top', false],
    ['side', false],
    ['other', false],
    ['unknown', false],
    [null, false],
  ];
  for (const [policy, expected] of held)
    it(`of a policy ${expected ? 'holds' : 'does not hold'} ${policy}`, () => {
      expect(scope.holds(FOREST, policy)).to.equal(expected);
      expect(Scope.of(null).holds(FOREST, policy)).to.equal(true);
      expect(Scope.subtrees([]).holds(FOREST, policy)).to.equal(false);
    });

  it('does not hold a policy that is gone, and ends in a forest with a cycle', () => {
    expect(Scope.of('gone').holds(FOREST, 'gone')).to.equal(false);
    const ring = new Map([
      ['a', { parentId: 'b' }],
      ['b', { parentId: 'a' }],
    ]);
    expect(scope.holds(ring, 'a')).to.equal(false);
  });

  it('begins at its policy, and the whole forest at none', () => {
    expect(['mine', 'below', 'top'].map((id) => scope.beginsAt(id))).to.deep.equal([true, false, false]);
    expect(Scope.all.beginsAt('mine')).to.equal(false);
    expect([Scope.of(null).isAll, scope.isAll]).to.deep.equal([true, false]);
  });

  it('gives what is made its own binding unless another is asked for, and never the whole forest', () => {
    expect(scope.bindingFor(undefined)).to.equal('mine');
    expect(scope.bindingFor('below')).to.equal('below');
    expect(problemOf(() => scope.bindingFor(null)).code).to.equal('beyond-scope');
    // Of a scope that holds nothing nothing becomes everything.
    expect(problemOf(() => Scope.subtrees([]).bindingFor(undefined)).code).to.equal('beyond-scope');
    expect([undefined, null, 'below'].map((asked) => Scope.all.bindingFor(asked))).to.deep.equal([null, null, 'below']);
  });

  it('is a condition over a column, and TRUE for the whole forest', () => {
    expect(Scope.all.predicate('p', 3)).to.deep.equal({ sql: 'TRUE', parameters: [] });
    const { sql, parameters } = scope.predicate('p', 3);
    expect(sql)
      .to.match(/^p IN \(WITH RECURSIVE subtree/)
      .and.contain('$3::uuid[]');
    expect(parameters).to.deep.equal([['mine']]);
  });
});
