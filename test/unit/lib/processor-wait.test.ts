import { expect } from 'chai';
import { createPatience, parseSchedstat, readProcessorTime, stretchOf } from '../../../lib/processor-wait.js';

describe('the wait for a processor', () => {
  const ZERO = { ranMs: 0, waitedMs: 0 };

  const stretches: readonly [string, { readonly ranMs: number; readonly waitedMs: number }, number][] = [
    ['nothing waited', { ranMs: 500, waitedMs: 0 }, 1],
    ['noise beside little work', { ranMs: 1, waitedMs: 99 }, 1],
    ['as much waited as ran', { ranMs: 500, waitedMs: 500 }, 2],
    ['twice as much waited', { ranMs: 300, waitedMs: 600 }, 3],
    ['nearly all waited', { ranMs: 10, waitedMs: 990 }, 3],
    ['nothing ran', { ranMs: 0, waitedMs: 1000 }, 3],
  ];
  for (const [name, end, expected] of stretches)
    it(`stretches a second by ${expected}: ${name}`, () => {
      expect(stretchOf(ZERO, end, 1000)).to.equal(expected);
    });

  it('reads what the kernel counts, and nothing where it counts nothing', () => {
    expect(parseSchedstat('2000000 500000 42\n')).to.deep.equal({ ranMs: 2, waitedMs: 0.5 });
    for (const text of ['', 'ran waited', '17']) expect(parseSchedstat(text)).to.equal(undefined);
  });

  it('grows on the machine that this runs on, or is not there', () => {
    const before = readProcessorTime();
    const after = readProcessorTime();
    if (before && after) expect(after.ranMs).to.be.at.least(before.ranMs);
    else expect([before, after]).to.deep.equal([undefined, undefined]);
  });

  it('leaves of a limit what was not spent, stretched', () => {
    let now = 100;
    let time: typeof ZERO | undefined = ZERO;
    const begin = createPatience(
      () => now,
      () => time,
    );
    const left = begin(3000);
    now += 3000;
    time = { ranMs: 1000, waitedMs: 500 };
    expect(left()).to.equal(1500);
    now += 1500;
    time = { ranMs: 2500, waitedMs: 500 };
    expect(left()).to.equal(3000 * 1.2 - 4500);
  });

  it('stretches nothing where the kernel does not count', () => {
    let now = 0;
    const left = createPatience(
      () => now,
      () => undefined,
    )(3000);
    now = 3000;
    expect(left()).to.equal(0);
  });
});
