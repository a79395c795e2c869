import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { PROBLEM_CODES } from '../../../lib/problem-codes.js';

describe('docs/errors.md', () => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(/^\| `([a-z-]+)` \| (\d+) \| (.+) \| (.+) \|$/gm);
  const documented = new Map([...rows].map(([, code, status]) => [code, Number(status)]));

  it('lists every problem code with its status, and no other', () => {
    const coded = new Map(Object.entries(PROBLEM_CODES).map(([code, { status }]) => [code, status as number]));
    expect([...documented].sort()).to.deep.equal([...coded].sort());
  });
});
