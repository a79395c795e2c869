import { expect } from 'chai';
import { escapeUnseen, withPriority } from '../../../lib/log.js';

describe('log lines', () => {
  it('show marks that a terminal would obey, and say the same', () => {
    const text = 'a\u202eb\u2028c\u0085d\u009b31me\ufeff\u2066 \u00e4\u4e2d';
    const line = escapeUnseen(JSON.stringify({ text }));
    // oxlint-disable-next-line no-control-regex -- the point of the test
    expect(line).not.to.match(/[\u007f-\u009f\u2028-\u202e\u2066\ufeff]/);
    expect(line).to.contain('\u00e4\u4e2d');
    expect(JSON.parse(line)).to.deep.equal({ text });
  });

  it('begin with their priority for the journal', () => {
    const priorityOf = (level: number) => withPriority(JSON.stringify({ level, msg: 'x' })).slice(0, 3);
    expect([10, 20, 30, 40, 50, 60].map(priorityOf)).to.deep.equal(['<7>', '<7>', '<6>', '<4>', '<3>', '<2>']);
    expect(withPriority('{"level":30,"msg":"x"}')).to.equal('<6>{"level":30,"msg":"x"}');
  });
});
