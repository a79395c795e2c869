import { expect } from 'chai';
import { createLog } from '../../../lib/log.js';
import { Problem } from '../../../lib/problem.js';
import { createSystemRandom } from '../../../lib/random.js';
import { createChannelClosing } from '../../../server/channels/channel-closing.js';
import type { HeldChannels } from '../../../server/channels/held-channels.js';
import type { DrainPeriod } from '../../../server/system/drain.js';
import { FakeClock } from '../../support/fake-clock.js';

function makeClosing(period?: DrainPeriod) {
  return createChannelClosing({
    fleetClock: new FakeClock(),
    random: createSystemRandom(),
    log: createLog({ name: 'test', level: 'silent' }),
    drain: { period: () => period },
    held: { all: () => [], open: () => [] } as unknown as HeldChannels,
  });
}

/** The seconds that those are told who want a channel. */
function toldSeconds(closing: ReturnType<typeof makeClosing>): number[] {
  return Array.from({ length: 200 }, () => {
    try {
      closing.assertRoom();
    } catch (error) {
      return (error as Problem).facts.retryAfterSeconds ?? Number.NaN;
    }
    return 0;
  });
}

describe('a manager that takes no channels', () => {
  it('takes them while it works', () => {
    expect(toldSeconds(makeClosing()).every((seconds) => seconds === 0)).to.equal(true);
  });

  it('has them wait for its next life as those whose channels it ended, where it stops', () => {
    const closing = makeClosing();
    closing.endAll();
    const told = toldSeconds(closing);
    expect([Math.min(...told), Math.max(...told)]).to.deep.equal([3, 12]);
  });

  it('has them wait longer while it drains', () => {
    const told = toldSeconds(makeClosing({ since: 0, endsAt: 60_000, spreadMs: 60_000, resumesAt: null } as DrainPeriod));
    expect([Math.min(...told), Math.max(...told)]).to.deep.equal([20, 60]);
  });
});
