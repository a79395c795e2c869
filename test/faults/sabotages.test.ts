import { expect } from 'chai';
import { SABOTAGES } from '../../scripts/simulate/sabotage.js';
import { simulate } from '../support/simulation.js';

describe('the simulation of a broken product', function () {
  this.timeout(300_000);

  for (const sabotage of SABOTAGES)
    it(`finds the product broken by ${sabotage}`, async () => {
      const { code, summary } = await simulate('--seeds', '200', '--agents', '8', '--sabotage', sabotage);
      expect(code).to.equal(1);
      expect(summary.violations).to.be.above(0);
      expect(summary.failingSeeds).to.have.length(1);
      expect(summary.seeds).to.be.at.most(200);
    });
});
