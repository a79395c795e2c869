import { expect } from 'chai';
import fc from 'fast-check';
import { Problem, type FieldError } from '../../../lib/problem.js';
import { parseBoundedJson } from '../../../lib/bounded-json.js';
import { array, integer, json, object, optional, readBy, record, string } from '../../../lib/schema.js';

function problemOf(action: () => unknown): Problem {
  try {
    action();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('reading untrusted data by a schema', () => {
  const schema = object({
    name: string({ min: 1, max: 5 }),
    ages: array(integer(0, 9), 3),
    note: optional(string({ max: 3 })),
  });

  it('names every rejected field with its pointer', () => {
    const problem = problemOf(() => readBy(schema, { name: '', ages: [1, 10, 'x'], note: 7 }));
    expect(problem.code).to.equal('request-invalid');
    expect(problem.facts.errors?.map(({ pointer }) => pointer)).to.deep.equal([
      '#/name',
      '#/ages/1',
      '#/ages/2',
      '#/note',
    ]);
  });

  it('ignores unknown members and keeps absent ones absent', () => {
    expect(readBy(schema, { name: 'a', ages: [], extra: 1 })).to.deep.equal({ name: 'a', ages: [] });
  });

  for (const [name, value] of [
    ['NUL', 'a\0b'],
    ['a lone surrogate', 'a\ud800'],
  ] as const) {
    it(`refuses a string with ${name}, in free JSON as well`, () => {
      expect(problemOf(() => readBy(string({ max: 9 }), value)).code).to.equal('request-invalid');
      expect(problemOf(() => readBy(json(100), { deep: [value] })).code).to.equal('request-invalid');
    });
  }

  it('accepts free JSON in which a backslash stands before a u', () => {
    expect(readBy(json(100), { path: 'C:\\udata\\u0000' })).to.deep.equal({ path: 'C:\\udata\\u0000' });
  });

  it('judges free JSON by its serialised size and strings, however it finds out', () => {
    const units = fc.array(fc.constantFrom(0, 0x1f, 0x22, 0x5c, 0x61, 0x75, 0xd800, 0xdc00, 0xe9), { maxLength: 8 });
    const text = units.map((codes) => String.fromCharCode(...codes));
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof({ maxDepth: 3 }, text, fc.double({ noNaN: true }), fc.constant(null), tie('list'), tie('map')),
      list: fc.array(tie('tree'), { maxLength: 4 }),
      map: fc.dictionary(text, tie('tree'), { maxKeys: 4 }),
    }));
    const isRight = (value: unknown, max: number): boolean => {
      const written = JSON.stringify(value);
      return written.length <= max && !/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i.test(written);
    };
    fc.assert(
      fc.property(tree, fc.integer({ min: 0, max: 300 }), (value, max) => {
        const errors: FieldError[] = [];
        json(max)(value, '#', errors);
        expect(errors.length === 0).to.equal(isRight(value, max));
      }),
      { numRuns: 2000 },
    );
  });

  it('keeps a map free of the prototype', () => {
    const map = readBy(record(integer(0, 9), 5), { constructor: 1 });
    expect(map['constructor']).to.equal(1);
    expect(map['toString']).to.equal(undefined);
  });
});

describe('parsing a bounded body', () => {
  const refused: readonly (readonly [string, Buffer])[] = [
    ['not JSON', Buffer.from('{"a":')],
    ['invalid UTF-8', Buffer.from([0x22, 0xc3, 0x28, 0x22])],
    ['nesting of 65', Buffer.from('['.repeat(65) + ']'.repeat(65))],
    ['a __proto__ key', Buffer.from('{"a":{"__proto__":{"x":1}}}')],
    ['an escaped __proto__ key', Buffer.from('{"\\u005f_proto__":{"x":1}}')],
    ['an empty body', Buffer.alloc(0)],
  ];
  for (const [name, body] of refused) {
    it(`refuses ${name}`, () => expect(problemOf(() => parseBoundedJson(body)).code).to.equal('request-invalid'));
  }

  it('names every __proto__ by its pointer, however it is written and wherever it stands', () => {
    const body = '{"args":{"__proto__":{"__proto__":1}},"a/b":[0,{"\\u005f_proto__":1}],"c":"\\u0041__proto__"}';
    const { facts } = problemOf(() => parseBoundedJson(Buffer.from(body)));
    expect(facts.errors?.map(({ pointer }) => pointer)).to.deep.equal(['#/args/__proto__', '#/a~1b/1/__proto__']);
    const many = `[${Array.from({ length: 3000 }, () => '{"__proto__":1}').join(',')}]`;
    expect(problemOf(() => parseBoundedJson(Buffer.from(many))).facts.errors).to.have.length(1000);
    expect(parseBoundedJson(Buffer.from('{"a":"__proto__","b":["\\u0041"]}'))).to.deep.equal({
      a: '__proto__',
      b: ['A'],
    });
  });

  it('finds nesting of 65 among many brackets in strings', () => {
    const many = `"${'[{'.repeat(50)}"`;
    const body = `[${many},${'['.repeat(64)}${']'.repeat(64)}]`;
    expect(problemOf(() => parseBoundedJson(Buffer.from(body))).code).to.equal('request-invalid');
    expect(parseBoundedJson(Buffer.from(`[${many},${'['.repeat(63)}${']'.repeat(63)}]`))).to.be.an('array');
  });

  it('accepts 64 levels and brackets inside strings', () => {
    expect(parseBoundedJson(Buffer.from('['.repeat(64) + ']'.repeat(64)))).to.be.an('array');
    expect(parseBoundedJson(Buffer.from(`{"a":"${'['.repeat(100)}\\""}`))).to.deep.equal({ a: '['.repeat(100) + '"' });
  });
});
