import { expect } from 'chai';
import { cpuBetween, cpuOf, parseProcessStat, readProcessMs } from '../../../scripts/bench/cpu-meter.js';

const STAT =
  '4242 (post) gres (x) S 4200 4242 4242 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 1 0 12345 1000 10 18446744073709551615';

describe('the CPU meter of the benches', () => {
  it('reads a stat line whose process name holds brackets and blanks', () => {
    expect(parseProcessStat(STAT)).to.deep.equal({ pid: 4242, parent: 4200, ownMs: 2000, endedChildrenMs: 500 });
  });

  it('sums the manager apart from everything below it, with the children that ended', () => {
    const processes = [
      { pid: 10, parent: 1, ownMs: 700, endedChildrenMs: 9 },
      { pid: 20, parent: 10, ownMs: 100, endedChildrenMs: 40 },
      { pid: 21, parent: 20, ownMs: 30, endedChildrenMs: 0 },
      { pid: 22, parent: 20, ownMs: 5, endedChildrenMs: 0 },
      { pid: 99, parent: 1, ownMs: 5000, endedChildrenMs: 5000 },
    ];
    expect(cpuOf(10, processes)).to.deep.equal({ manager: 700, database: 175 });
    expect(cpuBetween({ manager: 600, database: 100 }, cpuOf(10, processes))).to.deep.equal({
      manager: 100,
      database: 75,
    });
  });

  it('reads a process that lives', () => {
    expect(readProcessMs(process.pid)).to.be.greaterThan(0);
  });
});
