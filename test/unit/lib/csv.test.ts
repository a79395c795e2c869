import { expect } from 'chai';
import fc from 'fast-check';
import { csvRecord } from '../../../lib/csv.js';

/** Reads one record as RFC 4180 says. */
function readRecord(text: string): string[] {
  expect(text.endsWith('\r\n')).to.equal(true);
  const cells: string[] = [];
  let rest = text.slice(0, -2);
  for (;;) {
    const [whole = '', quoted, plain] = /^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(?=,|$)/.exec(rest) ?? [];
    cells.push(quoted?.replaceAll('""', '"') ?? plain ?? '');
    rest = rest.slice(whole.length);
    if (rest === '') return cells;
    expect(rest[0]).to.equal(',');
    rest = rest.slice(1);
  }
}

describe('a record of CSV', () => {
  const table: readonly (readonly [string | number | null, string])[] = [
    ['web1', 'web1'],
    [-1.5, '-1.5'],
    [null, ''],
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['two\nlines', '"two\nlines"'],
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\t=1"],
    ['\r=1', '"\'\r=1"'],
    ['  =cmd|x', "'  =cmd|x"],
    ['=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"'],
    ['a=b', 'a=b'],
  ];
  for (const [cell, field] of table)
    it(`writes ${JSON.stringify(cell)} as ${JSON.stringify(field)}`, () =>
      expect(csvRecord([cell, 'z'])).to.equal(`${field},z\r\n`));

  it('reads back as what was written, and begins no formula', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 2, maxLength: 5 }), (cells) => {
        const read = readRecord(csvRecord(cells));
        expect(read.map((cell) => cell.replace(/^'(?=\s*[=+\-@\t\r])/, ''))).to.deep.equal(
          cells.map((cell) => cell.replace(/^'(?=\s*[=+\-@\t\r])/, '')),
        );
        for (const cell of read) expect(cell).to.not.match(/^\s*[=+\-@]/);
      }),
    );
  });
});
