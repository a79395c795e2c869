import { expect } from 'chai';

import { runChild } from '../../../agent/collectors/run-child.js';

describe('a child of the agent', () => {
  it('is read in whole characters, though their bytes come one by one', async () => {
    const script = `const bytes = Buffer.from('ä€😀');
      const next = (at) => at < bytes.length && process.stdout.write(bytes.subarray(at, at + 1), () => setTimeout(next, 5, at + 1));
      next(0); process.stderr.write('ö');`;
    const call = { command: process.execPath, args: ['-e', script], maxOutput: 100, absent: 'no node' };
    const ran = await runChild(call, new AbortController().signal);
    expect(ran).to.deep.equal({ stdout: 'ä€😀', stderr: 'ö' });
  });
});
