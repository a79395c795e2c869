import { expect } from 'chai';
import { PROBLEM_CODES, type ProblemCode } from '../../../lib/problem-codes.js';
import { FIELDS_NAMED_BYTES, invalidFields, Problem, toProblemDocument } from '../../../lib/problem.js';

describe('problem documents', () => {
  for (const code of Object.keys(PROBLEM_CODES) as ProblemCode[])
    it(`of ${code} have every member of the contract`, () => {
      const document = toProblemDocument(new Problem(code), 'urn:uuid:x');
      expect(document).to.have.all.keys('type', 'title', 'status', 'detail', 'instance');
      expect(document['detail']).to.be.a('string').that.is.not.empty;
    });

  for (const code of Object.keys(PROBLEM_CODES).filter((name) => name.endsWith('-not-found')) as ProblemCode[])
    it(`of ${code} tell more than their title`, () => {
      // Whoever throws these two tells it.
      if (code === 'route-not-found' || code === 'setting-not-found') return;
      const { title, detail } = toProblemDocument(new Problem(code), 'urn:uuid:x');
      expect(detail).to.not.equal(title);
      expect(toProblemDocument(new Problem(code, { detail: 'x' }), 'urn:uuid:x')).to.include({ detail: 'x' });
    });

  it('of rejected fields have a bounded length, however long a path is', () => {
    const documentOf = (count: number, pointer: string) =>
      toProblemDocument(
        invalidFields(Array.from({ length: count }, () => ({ pointer, detail: 'is bad' }))),
        'urn:uuid:x',
      );
    const lengthOf = (document: object) => Buffer.byteLength(JSON.stringify(document));
    // Three bytes each, and six where JSON escapes them.
    for (const sign of ['k', '\u20ac', '\u0001']) {
      const document = documentOf(1000, `#/${sign.repeat(2000)}`);
      expect(lengthOf(document), sign).to.be.within(FIELDS_NAMED_BYTES / 2, FIELDS_NAMED_BYTES + 1000);
      const { length } = document['errors'] as object[];
      expect(document['detail']).to.equal(`1000 fields were rejected; the first ${length} are named.`);
    }
    const tooLong = documentOf(2, `#/${'k'.repeat(FIELDS_NAMED_BYTES)}`);
    expect(tooLong['errors']).to.deep.equal([
      { pointer: '#', detail: 'has a field whose path is too long to be told' },
    ]);
    expect(documentOf(1000, '#/k')['errors']).to.have.length(1000);
  });

  it('tell nothing of what failed inside', () => {
    const cause = new Error('password of the database');
    const problem = new Problem('internal', { detail: 'SELECT 1', members: { table: 'users' } }, cause);
    expect(JSON.stringify(toProblemDocument(problem, 'urn:uuid:x'))).not.to.match(/SELECT|users|password/);
  });
});
