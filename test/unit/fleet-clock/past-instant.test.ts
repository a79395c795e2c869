import { expect } from 'chai';
import { offsetAt, type ClockOffset } from '../../../server/fleet-clock/fleet-clock-rules.js';
import { fleetAtWall, wallBounds } from '../../../server/fleet-clock/past-instant.js';

const shown = (...offsets: readonly (readonly [fleetMs: number, offsetMs: number])[]) => {
  const all: ClockOffset[] = offsets.map(([fleetMs, offsetMs]) => ({ fleetMs, offsetMs }));
  return { toWall: (instant: number) => instant + offsetAt(all, instant) };
};
const NOW = 10_000;

describe('the fleet instant of a wall time that is past', () => {
  it('is found by the offset, also before the first one', () => {
    for (const offset of [0, 500_000, -500_000, 86_400_000])
      for (const instant of [-50_000, 0, 1, 999, 1000, NOW])
        expect(fleetAtWall(shown([1000, offset]), instant + offset, NOW)).to.equal(instant);
  });

  it('is now for what is not past', () => {
    expect(fleetAtWall(shown([0, 0]), NOW + 5, NOW)).to.equal(NOW);
  });

  it('is the step for a time that was never shown', () => {
    const clock = shown([0, 0], [5000, 3000]);
    expect(fleetAtWall(clock, 4000, NOW)).to.equal(4000);
    expect(fleetAtWall(clock, 6000, NOW)).to.equal(4999);
    expect(fleetAtWall(clock, 9000, NOW)).to.equal(6000);
  });

  it('is one of the instants at which a time was shown twice', () => {
    const clock = shown([0, 0], [5000, -3000]);
    expect(clock.toWall(fleetAtWall(clock, 3000, NOW))).to.equal(3000);
    expect(fleetAtWall(clock, 1000, NOW)).to.equal(1000);
    expect(fleetAtWall(clock, 6000, NOW)).to.equal(9000);
  });
});

describe('the wall times shown within a span', () => {
  it('are bounded by its ends and by the steps within it', () => {
    const clock = shown([0, 0], [5000, -3000], [8000, 100_000], [9000, 0]);
    const steps = [0, 5000, 8000, 9000];
    expect(wallBounds(clock, { from: 1000, until: 2000 }, steps)).to.deep.equal({ from: 1000, until: 2000 });
    expect(wallBounds(clock, { from: 4000, until: 6000 }, steps)).to.deep.equal({ from: 2000, until: 4999 });
    expect(wallBounds(clock, { from: 1000, until: 10_000 }, steps)).to.deep.equal({ from: 1000, until: 108_999 });
  });
});
