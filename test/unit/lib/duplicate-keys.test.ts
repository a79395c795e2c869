import { expect } from 'chai';
import fc from 'fast-check';
import { parseBoundedJson } from '../../../lib/bounded-json.js';
import { repeatedMembers } from '../../../lib/duplicate-keys.js';
import { FIELDS_NAMED_BYTES, Problem } from '../../../lib/problem.js';

const found = (text: string) => repeatedMembers(text, JSON.parse(text)).map(({ pointer }) => pointer);

describe('members that a body names twice', () => {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ['{"a":1,"b":2}', []],
    ['{"a":1,"a":2}', ['#/a']],
    ['{"a":1,"a":1,"a":1}', ['#/a', '#/a']],
    [String.raw`{"a":1,"\u0061":2}`, ['#/a']],
    ['{ "a" : 1 , "a" : 2 }', ['#/a']],
    ['{"a"\n:1,"a":2}', ['#/a']],
    [String.raw`{"a":1,"a":2,"b\\":3}`, ['#/a']],
    [String.raw`{"b\\":3,"b\\":4}`, [String.raw`#/b\ `.trim()]],
    [String.raw`{"a":"\"x\":1,\"x\":2"}`, []],
    [String.raw`{"a":"x\"","a":"{\"a\":"}`, ['#/a']],
    ['{"a":{"b":[1,{"c":1,"c":2}]},"c":3}', ['#/a/b/1/c']],
    ['[{"a":1},{"a":2},{"a":3,"a":4}]', ['#/2/a']],
    ['{"a/b":1,"a/b":2,"~":1,"~":1}', ['#/a~1b', '#/~0']],
    ['{"":1,"":2}', ['#/']],
    ['{"1":1,"1":2,"a":"b : c"}', ['#/1']],
    ['{"a":[],"b":{},"a":[[],[]]}', ['#/a']],
    ['"a\\":"', []],
    ['7', []],
    ['null', []],
    ['{"a":null,"b":[null,{"c":null}]}', []],
  ];
  for (const [text, pointers] of rows)
    it(`are ${pointers.join(' ') || 'none'} in ${JSON.stringify(text)}`, () =>
      expect(found(text)).to.deep.equal(pointers));

  it('are none in what JSON.stringify writes, and the one that is written again', () => {
    const value = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 4 }), { minKeys: 1 });
    fc.assert(
      fc.property(value, fc.nat(2), fc.nat(20), (members, indent, which) => {
        const text = JSON.stringify(members, null, indent);
        if (Object.hasOwn(JSON.parse(text) as object, '__proto__')) return;
        expect(found(text)).to.deep.equal([]);
        const keys = Object.keys(members);
        const key = JSON.stringify(keys[which % keys.length]);
        const doubled = `{${key}:0,${text.slice(1)}`;
        expect(repeatedMembers(doubled, JSON.parse(doubled))).to.have.length(1);
      }),
    );
  });

  it('are told by their pointers, and no more than a thousand of them', () => {
    const refused = (text: string) => {
      try {
        parseBoundedJson(Buffer.from(text));
      } catch (error) {
        if (error instanceof Problem) return error.facts.errors ?? [];
        throw error;
      }
      return [];
    };
    expect(refused('{"a":1,"b":{"c":1,"c":2},"a":2}')).to.deep.equal([
      { pointer: '#/b/c', detail: 'must be given once' },
      { pointer: '#/a', detail: 'must be given once' },
    ]);
    expect(refused(`{"a":0${',"a":1'.repeat(100_000)}}`)).to.deep.equal([
      { pointer: '#/a', detail: 'must be given once' },
    ]);
    const many = Array.from({ length: 5000 }, (_, index) => `"k${index}":1,"k${index}":2`).join(',');
    expect(refused(`{${many}}`)).to.have.length(1000);
  });

  it('are looked for no further than they are told, for a long path comes with each of them', () => {
    const repeats = Array.from({ length: 1000 }, (_, index) => `"k${index}":1,"k${index}":2`).join(',');
    const text = `{"${'k'.repeat(FIELDS_NAMED_BYTES / 8)}":{${repeats}}}`;
    expect(repeatedMembers(text, JSON.parse(text))).to.have.length(8);
  });
});
