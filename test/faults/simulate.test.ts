import { expect } from 'chai';
import { simulate } from '../support/simulation.js';

describe('the simulation', function () {
  this.timeout(300_000);

  it('does the same for the same seed, and something else for another', async () => {
    const runs = await Promise.all(
      [11, 11, 12].map((seed) => simulate('--seeds', '1', '--seed', `${seed}`, '--agents', '4')),
    );
    const [first, second, third] = runs.map(({ summary }) => summary);
    for (const { code, told } of runs) expect(code, told).to.equal(0);
    expect(first!.heartbeats).to.be.above(50);
    expect(first!.traceSha256).to.equal(second!.traceSha256);
    expect(first!.traceSha256).not.to.equal(third!.traceSha256);
  });

  it('refuses flags that it does not know', async () => {
    const { code, told } = await simulate('--sabotage', 'everything');
    expect(code).to.equal(2);
    expect(told).to.include('--sabotage must be one of');
  });
});
