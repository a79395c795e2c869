import { expect } from 'chai';
import fc from 'fast-check';
import { Problem } from '../../../lib/problem.js';
import {
  containing,
  encodeCursor as encodePageCursor,
  keysetOf,
  pageOf,
  PageQuery,
  parsePage,
  type ListOrder,
  type RowKey,
} from '../../../server/admin-api/page.js';

const ORDER: ListOrder = {
  list: 'computers',
  keys: {
    name: { column: 'computers.name', type: 'text' },
    enrolledAt: { column: 'computers.enrolled_fleet_ms', type: 'integer', nullable: true },
    at: { column: 'audit_log.at', type: 'timestamptz' },
  },
  default: 'name',
  id: 'computers.id',
};
const ID = '7d2f6a52-3b6c-4d0e-9a59-2f0f5a1b2c3d';

const encodeCursor = (sort: string, key: RowKey, order = ORDER) => encodePageCursor({ order, sort }, key);

function query(members: Partial<PageQuery>): PageQuery {
  return Object.assign(new PageQuery(), members);
}

function pointerOf(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof Problem && error.code === 'request-invalid') return error.facts.errors?.[0]?.pointer;
    throw error;
  }
  return undefined;
}

describe('paging a list', () => {
  it('orders by the declared key and the id, from the first row on', () => {
    const keyset = keysetOf(parsePage(query({ sort: '-name' }), ORDER), 3);
    expect(keyset).to.deep.equal({
      condition: 'TRUE',
      orderBy: 'computers.name DESC, computers.id DESC',
      parameters: [],
    });
  });

  it('reads back every cursor it wrote', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 50 }), (name) => {
        fc.pre(name.isWellFormed() && !name.includes('\0'));
        const page = parsePage(query({ cursor: encodeCursor('name', [name, ID]) }), ORDER);
        expect(page.after).to.deep.equal([name, ID]);
      }),
    );
  });

  it('continues after a row', () => {
    const page = parsePage(query({ cursor: encodeCursor('name', ['web1', ID]) }), ORDER);
    expect(keysetOf(page, 2)).to.deep.equal({
      condition: '(computers.name, computers.id) > ($2::text, $3::uuid)',
      orderBy: 'computers.name ASC, computers.id ASC',
      parameters: ['web1', ID],
    });
  });

  it('goes on to rows without a value in ascending order, and from them in descending order', () => {
    const ascending = parsePage(query({ sort: 'enrolledAt', cursor: encodeCursor('enrolledAt', ['5', ID]) }), ORDER);
    expect(keysetOf(ascending, 1).condition).to.contain('OR computers.enrolled_fleet_ms IS NULL');
    const atNull = { sort: '-enrolledAt', cursor: encodeCursor('-enrolledAt', [null, ID]) };
    expect(keysetOf(parsePage(query(atNull), ORDER), 1)).to.deep.include({
      condition:
        '((computers.enrolled_fleet_ms IS NULL AND computers.id < $1::uuid) OR computers.enrolled_fleet_ms IS NOT NULL)',
      parameters: [ID],
    });
  });

  const tampered: readonly (readonly [string, Partial<PageQuery>])[] = [
    ['no base64url', { cursor: '%%%' }],
    ['no JSON', { cursor: Buffer.from('{').toString('base64url') }],
    ['no list', { cursor: Buffer.from('{"a":1}').toString('base64url') }],
    ['another list', { cursor: encodeCursor('name', ['a', ID], { ...ORDER, list: 'users' }) }],
    ['another sort', { cursor: encodeCursor('-name', ['a', ID]) }],
    ['an id that is none', { cursor: encodeCursor('name', ['a', '1; DROP TABLE users']) }],
    ['a null where none can be', { cursor: Buffer.from(`["computers","name",null,"${ID}"]`).toString('base64url') }],
    ['a NUL', { cursor: encodeCursor('name', ['a\0', ID]) }],
    ['a lone surrogate', { cursor: encodeCursor('name', ['a\ud800', ID]) }],
    ['no integer', { sort: 'enrolledAt', cursor: encodeCursor('enrolledAt', ['1e99', ID]) }],
    ['no instant', { sort: 'at', cursor: encodeCursor('at', ['2026-99-99T00:00:00.000Z', ID]) }],
    ['more members', { cursor: Buffer.from(`["computers","name","a","${ID}",1]`).toString('base64url') }],
  ];
  for (const [name, members] of tampered) {
    it(`refuses a cursor with ${name}`, () => {
      expect(pointerOf(() => parsePage(query(members), ORDER))).to.equal('#/cursor');
    });
  }

  for (const sort of ['constructor', '__proto__', 'name,id', '--name', '-']) {
    it(`refuses to sort by ${sort}`, () => {
      expect(pointerOf(() => parsePage(query({ sort }), ORDER))).to.equal('#/sort');
    });
  }

  it('names the next page only when a row too many was read', () => {
    const keyOf = (row: string) => [row, ID] as const;
    expect(pageOf(['a', 'b'], { limit: 2, sort: 'name', order: ORDER }, keyOf)).to.deep.equal({
      items: ['a', 'b'],
      next: null,
    });
    expect(pageOf(['a', 'b', 'c'], { limit: 2, sort: 'name', order: ORDER }, keyOf)).to.deep.equal({
      items: ['a', 'b'],
      next: encodeCursor('name', ['b', ID]),
    });
  });

  it('takes the wildcards of a search text literally', () => {
    expect(containing('50%_\\')).to.equal('%50\\%\\_\\\\%');
  });
});
