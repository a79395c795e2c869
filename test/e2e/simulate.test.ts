import { spawn } from 'node:child_process';
import { expect } from 'chai';
import { SABOTAGES } from '../../scripts/simulate/sabotage.js';

interface Summary {
  readonly seeds: number;
  readonly heartbeats: number;
  readonly violations: number;
  readonly failingSeeds: readonly number[];
  readonly traceSha256: string;
}

/** Runs the simulation as `npm run simulate` does, without building it again. */
function simulate(...flags: string[]): Promise<{ code: number | null; summary: Summary; told: string }> {
  const child = spawn(process.execPath, ['dist/scripts/simulate/simulate.js', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { out: '', told: '' };
  child.stdout.on('data', (chunk) => (said.out += chunk));
  child.stderr.on('data', (chunk) => (said.told += chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      const last = said.out.trim().split('\n').at(-1) ?? '';
      resolve({ code, summary: (last === '' ? {} : JSON.parse(last)) as Summary, told: said.told });
    });
  });
}

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

  for (const sabotage of SABOTAGES)
    it(`finds the product broken by ${sabotage}`, async () => {
      const { code, summary } = await simulate('--seeds', '200', '--agents', '8', '--sabotage', sabotage);
      expect(code).to.equal(1);
      expect(summary.violations).to.be.above(0);
      expect(summary.failingSeeds).to.have.length(1);
      expect(summary.seeds).to.be.at.most(200);
    });

  it('refuses flags that it does not know', async () => {
    const { code, told } = await simulate('--sabotage', 'everything');
    expect(code).to.equal(2);
    expect(told).to.include('--sabotage must be one of');
  });
});
