import { expect } from 'chai';
import { createGate } from '../../../lib/gate.js';
import { Problem } from '../../../lib/problem.js';

describe('a gate', () => {
  const REFUSED = new Problem('too-many-requests');
  const open = () => createGate({ width: 2, length: 3, refusal: () => REFUSED });

  it('lets as many run as it is wide, the others in their order, and refuses whoever finds the line full', async () => {
    const gate = open();
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const act = (which: number) =>
      gate(async () => {
        begun.push(which);
        await new Promise<void>((resolve) => ends.push(resolve));
        return which;
      });
    const admitted = [0, 1, 2, 3, 4].map(act);
    expect(begun).to.deep.equal([0, 1]);
    expect(await act(5).catch((error: unknown) => error)).to.equal(REFUSED);
    for (let ended = 0; ended < admitted.length; ended += 1) {
      ends[ended]?.();
      expect(await admitted[ended]).to.equal(ended);
      expect(begun).to.deep.equal([0, 1, 2, 3, 4].slice(0, ended + 3));
    }
  });

  it('gives the place of an action that failed to the next one', async () => {
    const gate = open();
    const failed = new Error('failed');
    const answers = await Promise.allSettled([0, 1, 2, 3, 4].map(() => gate(() => Promise.reject(failed))));
    expect(answers.map((answer) => (answer as PromiseRejectedResult).reason)).to.deep.equal(
      [0, 1, 2, 3, 4].map(() => failed),
    );
    expect(await gate(async () => 'again')).to.equal('again');
  });
});
