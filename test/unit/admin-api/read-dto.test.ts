import { Type } from 'class-transformer';
import { IsArray, ValidateNested } from 'class-validator';
import { expect } from 'chai';
import { FIELDS_NAMED_BYTES, Problem, type FieldError } from '../../../lib/problem.js';
import { Integer, OneOf, Optional, OptionalOrNull, QueryInteger, Text, Uuid } from '../../../server/admin-api/dto.js';
import { PageQuery } from '../../../server/admin-api/page.js';
import { judgeData, readDto } from '../../../server/admin-api/read-dto.js';

class Inner {
  @Integer(1, 9)
  n!: number;
}

class Outer {
  @Text({ min: 1, max: 3 })
  name!: string;

  @Optional()
  @OneOf('a', 'b')
  choice?: string;

  @OptionalOrNull()
  @Uuid()
  id?: string | null;

  @Optional()
  @IsArray({ message: 'must be an array' })
  @ValidateNested({ each: true })
  @Type(() => Inner)
  inner?: Inner[];
}

class Query extends PageQuery {
  @Optional()
  @QueryInteger(0, 5)
  depth?: number;
}

function errorsOf(action: () => unknown): readonly FieldError[] {
  try {
    action();
  } catch (error) {
    if (error instanceof Problem && error.code === 'request-invalid') return error.facts.errors ?? [];
    throw error;
  }
  return [];
}

describe('reading a DTO', () => {
  it('answers an instance with exactly what was sent', () => {
    const sent = { name: 'x', id: null, inner: [{ n: 1 }] };
    const read = readDto(Outer, sent);
    expect(read).to.be.instanceOf(Outer);
    expect(read.inner?.[0]).to.be.instanceOf(Inner);
    expect({ ...read, inner: [{ ...read.inner?.[0] }] }).to.deep.equal(sent);
  });

  it('keeps the defaults of what is absent and reads numbers of a query', () => {
    expect({ ...readDto(Query, { depth: '5' }) }).to.deep.equal({ limit: 50, depth: 5 });
  });

  const refused: readonly (readonly [string, unknown, FieldError])[] = [
    ['an absent member', {}, { pointer: '#/name', detail: 'is required' }],
    [
      'a nested member',
      { name: 'x', inner: [{ n: 1 }, { n: 10 }] },
      { pointer: '#/inner/1/n', detail: 'must be an integer from 1 to 9' },
    ],
    [
      'an unknown nested member',
      { name: 'x', inner: [{ n: 1, m: 2 }] },
      { pointer: '#/inner/0/m', detail: 'is not known here' },
    ],
    ['a nested value that is no object', { name: 'x', inner: [7] }, { pointer: '#/inner/0', detail: '' }],
    [
      'null for an optional member',
      { name: 'x', choice: null },
      { pointer: '#/choice', detail: 'must be one of a, b' },
    ],
    ['an upper-case UUID', { name: 'x', id: 'A'.repeat(36) }, { pointer: '#/id', detail: 'must be a lower-case UUID' }],
  ];
  for (const [name, value, { pointer, detail }] of refused) {
    it(`names ${name}`, () => {
      const errors = errorsOf(() => readDto(Outer, value));
      expect(errors.map((error) => error.pointer)).to.include(pointer);
      if (detail !== '') expect(errors.find((error) => error.pointer === pointer)?.detail).to.equal(detail);
    });
  }

  it('looks for bad members no further than they are told, for a long path comes with each of them', () => {
    const isIn = (value: unknown): object => ({ ['k'.repeat(256)]: value });
    const deep = Array.from({ length: 60 }).reduce<unknown>(isIn, '\0'.repeat(1000).split(''));
    const { errors } = judgeData({ name: 'a', inner: deep });
    const characters = errors.reduce((sum, { pointer }) => sum + pointer.length, 0);
    expect(characters).to.be.within(FIELDS_NAMED_BYTES, FIELDS_NAMED_BYTES + 20_000);
  });

  it('says what is known where something is not', () => {
    expect(errorsOf(() => readDto(Outer, { name: 'x', nam: 1 }))).to.deep.equal([
      { pointer: '#/nam', detail: 'is not known here; known are choice, id, inner, name' },
    ]);
  });
});
