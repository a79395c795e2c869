import { expect } from 'chai';
import { readBenchFlags } from '../../../scripts/bench/bench-flags.js';

const DEFAULTS = { seconds: 15, agents: 200, cases: ['new', 'kept-https'] };

describe('the flags of a bench', () => {
  it('has defaults', () => {
    expect(readBenchFlags([], DEFAULTS)).to.deep.equal({
      json: false,
      check: false,
      seconds: 15,
      agents: 200,
      cases: [],
      profileDir: undefined,
    });
  });

  it('reads all of them', () => {
    const argv = ['--json', '--check', '--seconds', '3', '--agents', '20', '--case', 'new', '--profile', 'p'];
    expect(readBenchFlags(argv, DEFAULTS)).to.deep.equal({
      json: true,
      check: true,
      seconds: 3,
      agents: 20,
      cases: ['new'],
      profileDir: 'p',
    });
  });

  it('names every fault', () => {
    const argv = ['--seconds', '0', '--agents', '1.5', '--case', 'old', '--fast'];
    expect(readBenchFlags(argv, DEFAULTS)).to.have.length(4);
  });
});
