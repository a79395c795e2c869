import { expect } from 'chai';
import { isSameStep, isTold, type FoundStep } from '../../../policies/clock-steps.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** Between two heartbeats a clock that was right was set forward by an hour. */
const FOUND: FoundStep = {
  stepMs: HOUR,
  withinMs: 2000,
  offsetAfterMs: HOUR,
  between: [10 * HOUR, 10 * HOUR + MINUTE],
};
const at = (occurredMs: number, stepMs = HOUR) => ({ stepMs, occurredMs: occurredMs + FOUND.offsetAfterMs });

describe('a step that is told and found', () => {
  for (const [name, told, is] of [
    ['told when it was made', at(10 * HOUR + 30_000), true],
    ['told a moment after the reading', at(10 * HOUR + MINUTE + 5000), true],
    ['of a size that the readings allow', at(10 * HOUR + 30_000, HOUR - 1500), true],
    ['of another size', at(10 * HOUR + 30_000, HOUR - 2500), false],
    ['the other way', at(10 * HOUR + 30_000, -HOUR), false],
    ['made before', at(9 * HOUR), false],
    ['made after', at(10 * HOUR + 3 * MINUTE), false],
  ] as const)
    it(`${name}: ${is ? 'is the same' : 'is another'}`, () => {
      expect(isSameStep(told, FOUND)).to.equal(is);
      expect(isTold(FOUND, [told])).to.equal(is);
    });

  it('is told by several that come to it together, and by no sum of others', () => {
    expect(isTold(FOUND, [at(0, 3 * HOUR), at(0, -2 * HOUR)])).to.equal(true);
    expect(isTold(FOUND, [at(0, 3 * HOUR), at(0, -HOUR)])).to.equal(false);
    expect(isTold(FOUND, [])).to.equal(false);
  });
});
