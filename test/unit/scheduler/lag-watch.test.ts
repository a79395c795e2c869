import { expect } from 'chai';
import { createLagWatch } from '../../../server/scheduler/lag-watch.js';

const MINUTE = 60_000;

describe('the lag of a job', () => {
  let now = 0;
  const watch = () => createLagWatch({ monotonic: () => now }, 1000);
  beforeEach(() => (now = 0));

  it('is none before the job is expected, and none of one that begins in time', () => {
    const lag = watch();
    now = 50_000;
    expect(lag.worstMs(MINUTE)).to.equal(0);
    lag.start();
    for (; now < 60_000; now += 1000) lag.began();
    expect(lag.worstMs(MINUTE)).to.equal(0);
  });

  it('grows while the job does not begin, and is remembered for a while', () => {
    const lag = watch();
    lag.start();
    now = 4000;
    expect(lag.worstMs(MINUTE)).to.equal(3000);
    now = 8500;
    lag.began();
    now = 9000;
    expect(lag.worstMs(MINUTE)).to.equal(7500);
    for (now = 9500; now < 8500 + MINUTE; now += 1000) lag.began();
    now = 8500 + MINUTE;
    lag.began();
    expect(lag.worstMs(MINUTE)).to.equal(0);
    expect(lag.worstMs(5 * MINUTE)).to.equal(7500);
  });

  it('keeps a smaller lag for the time after a greater one', () => {
    const lag = watch();
    lag.start();
    now = 10_000;
    lag.began();
    now = 40_000 - 30_000 + 4000;
    lag.began();
    expect([lag.worstMs(5 * MINUTE), lag.worstMs(2000)]).to.deep.equal([9000, 3000]);
  });
});
