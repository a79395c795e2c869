import { expect } from 'chai';
import { DialFailure } from '../../../server/dials/dial-failure.js';
import type { DialOutcome } from '../../../server/dials/dial-transport.js';
import { afterFarewell, isFarewellOver } from '../../../server/dials/farewell-rules.js';

const DAY_MS = 86_400_000;
const failed = (told?: string): DialOutcome => ({
  kind: 'failed',
  hostUp: true,
  failure: new DialFailure('refused', 'nobody listens'),
  ...(told === undefined ? {} : { told }),
});
const after = (outcome: DialOutcome, attempts: number) => afterFarewell(outcome, { orderedAt: 0, attempts }, 1000);

describe('After an attempt to say farewell', () => {
  it('ends when the agent took the refusal that says so, and with no other', () => {
    for (const code of ['computer-removed', 'computer-revoked'])
      expect(after(failed(code), 1)).to.deep.equal({ kind: 'told', code });
    expect(after(failed('protocol-version-unsupported'), 1).kind).to.equal('again');
  });

  it('tries six times in about half an hour, ever more rarely, and then leaves the agent alone', () => {
    const waits: number[] = [];
    for (let attempts = 1; ; attempts += 1) {
      const step = after(failed(), attempts);
      if (step.kind !== 'again') {
        expect(step).to.deep.equal({ kind: 'given-up', why: 'refused: nobody listens' });
        break;
      }
      expect(step.isCounted).to.equal(true);
      waits.push(step.dueAt - 1000);
    }
    expect(waits).to.deep.equal([5000, 20_000, 80_000, 320_000, 1_280_000]);
  });

  it('does not count what was nobody’s fault', () => {
    expect(after({ kind: 'busy' }, 6)).to.deep.equal({ kind: 'again', dueAt: 3000, isCounted: false });
    expect(after({ kind: 'own', retryAfterMs: 700 }, 6)).to.deep.equal({
      kind: 'again',
      dueAt: 1700,
      isCounted: false,
    });
    expect(after({ kind: 'answered', isNews: true }, 1).kind).to.equal('given-up');
  });

  it('is over a day after it was ordered', () => {
    expect(isFarewellOver({ orderedAt: 5, attempts: 0 }, DAY_MS + 4)).to.equal(false);
    expect(isFarewellOver({ orderedAt: 5, attempts: 0 }, DAY_MS + 5)).to.equal(true);
  });
});
