import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { quoteForShell } from '../../../lib/shell-quote.js';

describe('a word of a shell command', () => {
  it('stays as it is where a shell takes it literally', () => {
    expect(quoteForShell('data/enrollment-token')).to.equal('data/enrollment-token');
  });

  for (const word of ['a b', "it's", '$HOME', '', '`id`', 'a\nb', '-x;y', '"', '\\'])
    it(`means the same to a shell: ${JSON.stringify(word)}`, () => {
      expect(execFileSync('sh', ['-c', `printf %s ${quoteForShell(word)}`]).toString()).to.equal(word);
    });
});
