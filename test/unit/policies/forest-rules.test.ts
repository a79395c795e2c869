import { expect } from 'chai';
import fc from 'fast-check';
import { assertAcyclic, assertDepth, assertMove, subtreeOf } from '../../../policies/forest-rules.js';
import { problemOf } from './problem-of.js';

/** A chain p1 → p2 → … with p1 as the root. */
function chain(length: number, prefix = 'p'): Map<string, string | null> {
  const ids = Array.from({ length }, (_, index) => `${prefix}${index + 1}`);
  return new Map(ids.map((id, index) => [id, ids[index - 1] ?? null]));
}

describe('moving a policy', () => {
  const parents = chain(4);

  for (const parentId of ['p2', 'p3', 'p4']) {
    it(`refuses p2 below ${parentId} as a cycle`, () => {
      expect(problemOf(() => assertMove(parents, { id: 'p2', parentId })).code).to.equal('policy-cycle');
    });
  }

  it('refuses a new policy that is its own parent', () => {
    expect(problemOf(() => assertAcyclic(parents, { id: 'x', parentId: 'x' })).code).to.equal('policy-cycle');
    expect(problemOf(() => assertMove(parents, { id: 'x', parentId: 'x' })).code).to.equal('policy-cycle');
  });

  it('refuses a parent that does not exist', () => {
    expect(problemOf(() => assertMove(parents, { id: 'p4', parentId: 'x' })).code).to.equal('policy-not-found');
  });

  it('allows a move to the root, to where it stands and to an uncle', () => {
    for (const parentId of [null, 'p3', 'p2', 'p1'])
      expect(() => assertMove(parents, { id: 'p4', parentId })).not.to.throw();
  });

  it('allows 32 levels and refuses the 33rd, counting what hangs below', () => {
    const deep = new Map([...chain(31), ...chain(2, 'q')]);
    expect(() => assertDepth(deep, { id: 'new', parentId: 'p31' })).not.to.throw();
    expect(() => assertDepth(deep, { id: 'q1', parentId: 'p30' })).not.to.throw();
    expect(problemOf(() => assertDepth(deep, { id: 'q1', parentId: 'p31' })).code).to.equal('policy-too-deep');
    expect(problemOf(() => assertDepth(chain(32), { id: 'new', parentId: 'p32' })).code).to.equal('policy-too-deep');
  });

  it('answers in bounded time for 10,000 policies, even if the stored map has a cycle', () => {
    const wide = new Map<string, string | null>([['root', null]]);
    for (let index = 0; index < 10_000; index += 1) wide.set(`n${index}`, index < 100 ? 'root' : `n${index % 100}`);
    expect(() => assertMove(wide, { id: 'n5', parentId: 'n7' })).not.to.throw();
    expect(subtreeOf(wide, 'n5').size).to.equal(100);
    const ring = new Map([
      ['a', 'b'],
      ['b', 'a'],
    ]);
    expect(problemOf(() => assertMove(ring, { id: 'c', parentId: 'a' })).code).to.equal('policy-cycle');
    expect([...subtreeOf(ring, 'a')]).to.deep.equal(['a', 'b']);
  });

  it('agrees with walking up from every policy', () => {
    const parentList = fc.array(fc.nat(50), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(parentList, fc.nat(60), fc.nat(60), (above, from, to) => {
        const stored = new Map(
          above.map((parent, index) => [String(index), parent < index ? String(parent) : null] as const),
        );
        const id = String(from % above.length);
        const parentId = String(to % above.length);
        const below = [...stored.keys()].filter((member) => climb(stored, member).includes(id));
        expect([...subtreeOf(stored, id)].toSorted()).to.deep.equal(below.toSorted());
        const moved = new Map(stored).set(id, parentId);
        const depths = below.includes(parentId) ? [] : [...moved.keys()].map((member) => climb(moved, member).length);
        const expected = below.includes(parentId)
          ? 'policy-cycle'
          : Math.max(...below.map((member) => depths[Number(member)]!)) > 32
            ? 'policy-too-deep'
            : undefined;
        if (expected) expect(problemOf(() => assertMove(stored, { id, parentId })).code).to.equal(expected);
        else expect(() => assertMove(stored, { id, parentId })).not.to.throw();
      }),
    );
  });
});

function climb(parents: ReadonlyMap<string, string | null>, id: string): string[] {
  const above = parents.get(id) ?? null;
  return above === null ? [id] : [id, ...climb(parents, above)];
}
