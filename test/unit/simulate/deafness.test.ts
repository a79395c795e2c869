import { expect } from 'chai';
import { TrueDeafness } from '../../../scripts/simulate/oracle/deafness.js';

describe('when the manager was really deaf', () => {
  it('is certain only for what lasted long enough, and possible around all of it', () => {
    const deafness = new TrueDeafness(1000);
    deafness.begin('paused', 10_000);
    deafness.end('paused', 12_000, 3001);
    deafness.begin('down', 50_000);
    deafness.end('down', 60_000, 0);
    expect(deafness.deafness()).to.deep.equal({
      certain: [{ from: 50_000, until: 60_000 }],
      possible: [
        { from: 7000, until: 17_000 },
        { from: 47_000, until: 65_000 },
      ],
    });
  });

  it('has no end while it goes on, and begins once', () => {
    const deafness = new TrueDeafness(1000);
    deafness.begin('down', 10_000);
    deafness.begin('down', 11_000);
    expect(deafness.deafness().possible).to.deep.equal([{ from: 7000, until: Number.POSITIVE_INFINITY }]);
    deafness.end('down', 20_000, 0);
    expect(deafness.deafness().certain).to.deep.equal([{ from: 10_000, until: 20_000 }]);
    expect(deafness.deafness().possible).to.have.length(1);
  });

  it('takes hiccups that follow one another for one', () => {
    const deafness = new TrueDeafness(1000);
    for (const at of [10_000, 11_000, 30_000]) deafness.hiccup(at);
    expect(deafness.deafness().possible).to.deep.equal([
      { from: 7000, until: 16_000 },
      { from: 27_000, until: 35_000 },
    ]);
  });
});
