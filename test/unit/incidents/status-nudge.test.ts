import { expect } from 'chai';
import { createStatusNudge, nudging } from '../../../server/incidents/index.js';
import type { StatusTransition, StatusWriter } from '../../../server/statuses/status.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('nudging who follows the statuses', () => {
  const begin = () => {
    const clock = new FakeClock();
    const nudge = createStatusNudge(clock);
    const stopping = new AbortController();
    let fired = 0;
    const ended = nudge.wakeUps(stopping.signal, async () => void (fired += 1));
    const stop = async () => {
      stopping.abort();
      await ended;
    };
    return { clock, nudge, fired: () => fired, stop };
  };

  it('fires a moment after nudges, once for many, and not without', async () => {
    const { clock, nudge, fired, stop } = begin();
    await clock.advance(200_000);
    expect(fired()).to.equal(0);
    nudge.nudge();
    nudge.nudge();
    await clock.advance(199);
    nudge.nudge();
    expect(fired()).to.equal(0);
    await clock.advance(1);
    expect(fired()).to.equal(1);
    await clock.advance(60_000);
    expect(fired()).to.equal(1);
    nudge.nudge();
    await clock.advance(200);
    expect(fired()).to.equal(2);
    await stop();
  });

  it('is done by a writer that stores transitions, and by no other call', async () => {
    const applied: number[] = [];
    const writer: StatusWriter = {
      apply: async (_sql, transitions) => void applied.push(transitions.length),
      setFlags: async () => {},
      setGoodbyes: async () => {},
    };
    let nudges = 0;
    const statuses = nudging(writer, { nudge: () => void (nudges += 1) });
    const sql = { query: async () => [] };
    const transition: StatusTransition = {
      computerId: 'c',
      from: 'online',
      to: 'late',
      reason: 'heartbeat-missed',
      since: 1,
      offlineAt: null,
      offlineAlert: null,
    };
    await statuses.apply(sql, [], 1);
    await statuses.setFlags(sql, []);
    await statuses.setGoodbyes(sql, []);
    expect(nudges).to.equal(0);
    await statuses.apply(sql, [transition], 1);
    expect([nudges, ...applied]).to.deep.equal([1, 0, 1]);
  });
});
