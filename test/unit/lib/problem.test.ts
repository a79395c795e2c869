import { expect } from 'chai';
import { PROBLEM_CODES, type ProblemCode } from '../../../lib/problem-codes.js';
import { Problem, toProblemDocument } from '../../../lib/problem.js';

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

  it('tell nothing of what failed inside', () => {
    const cause = new Error('password of the database');
    const problem = new Problem('internal', { detail: 'SELECT 1', members: { table: 'users' } }, cause);
    expect(JSON.stringify(toProblemDocument(problem, 'urn:uuid:x'))).not.to.match(/SELECT|users|password/);
  });
});
