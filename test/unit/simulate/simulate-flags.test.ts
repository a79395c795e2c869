import { expect } from 'chai';
import { readSimulateFlags } from '../../../scripts/simulate/simulate-flags.js';

describe('the flags of the simulation', () => {
  it('have defaults', () => {
    expect(readSimulateFlags([])).to.deep.include({ seeds: 20, firstSeed: 1, agents: 20, sabotage: undefined });
  });

  it('name the seeds, the agents and the sabotage', () => {
    const flags = readSimulateFlags(['--seeds', '3', '--seed', '7', '--agents', '5', '--sabotage', 'lost-ack']);
    expect(flags).to.deep.include({ seeds: 3, firstSeed: 7, agents: 5, sabotage: 'lost-ack' });
  });

  it('tell every fault', () => {
    expect(readSimulateFlags(['--seeds', '0', '--agents', 'x', '--sabotage', 'all', '--fast'])).to.have.length(4);
  });
});
