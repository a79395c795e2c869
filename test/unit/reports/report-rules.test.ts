import { expect } from 'chai';
import { problemOf } from '../../support/domain-world.js';
import { DAY_MS, formatOf, groupFaults, keptFrom, rangeFaults, rollUp } from '../../../server/reports/report-rules.js';
import { createBudget, createTurnstile } from '../../../server/reports/report-budget.js';

const NOW = 1000 * DAY_MS;
const fields = (errors: readonly { readonly pointer: string }[]): string[] => errors.map(({ pointer }) => pointer);

describe('the range of a report', () => {
  const table: readonly (readonly [string, number, number, readonly string[]])[] = [
    ['up to now', NOW - DAY_MS, NOW, []],
    ['as long as it may be', NOW - 800 * DAY_MS, NOW, []],
    ['with an end in the future', NOW - DAY_MS, NOW + 1, ['#/to']],
    ['without length', NOW - 5, NOW - 5, ['#/from', '#/to']],
    ['turned round', NOW - 5, NOW - 6, ['#/from', '#/to']],
    ['wholly in the future', NOW, NOW + 1, ['#/from', '#/to']],
    ['of absurd length', NOW - 801 * DAY_MS, NOW, ['#/from', '#/to']],
    ['with every fault', NOW + 2, NOW + 1, ['#/from', '#/to', '#/from', '#/to']],
  ];
  for (const [name, from, to, faulty] of table)
    it(name, () => expect(fields(rangeFaults({ from, to }, NOW))).to.deep.equal(faulty));

  it('is covered from the first whole day that is kept', () => {
    expect(keptFrom(NOW, 400)).to.equal(600 * DAY_MS);
    expect(keptFrom(NOW + DAY_MS - 1, 400)).to.equal(600 * DAY_MS);
    expect(keptFrom(NOW - 1, 400)).to.equal(599 * DAY_MS);
  });
});

describe('the groups of a report', () => {
  const given = { key: undefined, cursor: undefined, sort: undefined };
  it('take what goes with them', () => {
    expect(fields(groupFaults({ ...given, groupBy: 'computer', cursor: 'x', sort: 'name' }))).to.deep.equal([]);
    expect(fields(groupFaults({ ...given, groupBy: 'label', key: 'site' }))).to.deep.equal([]);
    expect(fields(groupFaults({ ...given, groupBy: 'policy' }))).to.deep.equal([]);
  });

  it('name every field that does not', () => {
    expect(fields(groupFaults({ ...given, groupBy: 'label', cursor: 'x' }))).to.deep.equal(['#/key', '#/cursor']);
    const all = { key: 'k', cursor: 'c', sort: 's' };
    expect(fields(groupFaults({ ...all, groupBy: 'policy' }))).to.deep.equal(['#/key', '#/cursor', '#/sort']);
    expect(fields(groupFaults({ ...all, groupBy: 'computer' }))).to.deep.equal(['#/key']);
  });

  it('of policies hold what is below them, once', () => {
    const policies = [
      { id: 'root', parentId: 'hidden' },
      { id: 'a', parentId: 'root' },
      { id: 'b', parentId: 'a' },
      { id: 'empty', parentId: 'root' },
    ];
    const own = new Map([
      ['root', 1],
      ['a', 10],
      ['b', 100],
      ['elsewhere', 1000],
    ]);
    expect([...rollUp(policies, own, (one, other) => one + other)]).to.have.deep.members([
      ['root', 111],
      ['a', 110],
      ['b', 100],
    ]);
  });
});

describe('the format of a report', () => {
  const table: readonly (readonly [string | undefined, string | undefined, string])[] = [
    [undefined, undefined, 'json'],
    [undefined, '*/*', 'json'],
    [undefined, 'text/csv', 'csv'],
    [undefined, 'Text/CSV; charset=utf-8', 'csv'],
    [undefined, 'application/json, text/csv;q=0.1', 'json'],
    ['json', 'text/csv', 'json'],
    ['csv', 'application/json', 'csv'],
  ];
  for (const [format, accept, is] of table)
    it(`is ${is} for ${format ?? 'no format'} and Accept ${accept ?? 'absent'}`, () =>
      expect(formatOf(format, accept)).to.equal(is));
});

describe('the work on reports', () => {
  it('ends when its time is used up', async () => {
    let now = 0;
    const budget = createBudget({ monotonic: () => now }, 'ask for less');
    now = 30_000;
    budget.check();
    now += 1;
    const { code, detail } = await problemOf((async () => budget.check())());
    expect(code).to.equal('unavailable');
    expect(detail).to.contain('ask for less');
  });

  it('is done for few at once; a place is given back once', async () => {
    const turnstile = createTurnstile(1);
    const leave = turnstile.enter();
    expect((await problemOf((async () => turnstile.enter())())).code).to.equal('unavailable');
    leave();
    leave();
    const again = turnstile.enter();
    expect(() => turnstile.enter()).to.throw();
    again();
  });
});
