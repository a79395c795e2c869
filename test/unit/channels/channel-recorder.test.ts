import { expect } from 'chai';
import { createLog } from '../../../lib/log.js';
import { createChannelRecorder } from '../../../server/channels/channel-recorder.js';
import type { HotTransaction } from '../../../server/database/hot-transaction.js';
import { FakeClock } from '../../support/fake-clock.js';

const CHANGE = { computerId: '3b9a2f0e-6f6b-4a5e-9f39-0c0c0c0c0c0c', state: 'closed', at: 1, reason: 'gone' } as const;
const KEY = { node: 'n', listener: 'l', generation: 1 };
const LONGEST_PAUSE_MS = 60_000;

/** A recorder whose transactions wait until they are answered one by one. */
function makeRecorder() {
  const clock = new FakeClock();
  const waiting: { readonly store: () => void; readonly fail: () => void }[] = [];
  let asked = 0;
  const inTransaction = (() => {
    asked += 1;
    return new Promise<void>((resolve, reject) => {
      waiting.push({ store: () => resolve(), fail: () => reject(new Error('The database is away')) });
    });
  }) as HotTransaction;
  const log = createLog({ name: 'test', level: 'silent' });
  const recorder = createChannelRecorder({ clock, log, inTransaction, key: () => KEY });
  const answer = async (how: 'store' | 'fail'): Promise<void> => {
    waiting.shift()?.[how]();
    await clock.advance(0);
  };
  return { clock, recorder, answer, asked: () => asked };
}

describe('The record of which channels are open', () => {
  it('waits at the stop for what is being stored', async () => {
    const { clock, recorder, answer } = makeRecorder();
    recorder.note(CHANGE);
    await clock.advance(LONGEST_PAUSE_MS);
    let isStopped = false;
    const stopping = recorder.stop().then(() => (isStopped = true));
    await clock.advance(LONGEST_PAUSE_MS);
    expect(isStopped).to.equal(false);
    await answer('store');
    await stopping;
  });

  it('leaves no process running whose database went away while it stored', async () => {
    const { clock, recorder, answer, asked } = makeRecorder();
    recorder.note(CHANGE);
    await clock.advance(LONGEST_PAUSE_MS);
    const stopping = recorder.stop();
    for (let attempt = 0; attempt < 10; attempt += 1) await answer('fail');
    await stopping;
    const before = asked();
    recorder.note(CHANGE);
    await clock.advance(LONGEST_PAUSE_MS);
    expect(asked()).to.equal(before);
    expect(clock.sleeping).to.equal(0);
  });

  it('tries again while it runs', async () => {
    const { clock, recorder, answer, asked } = makeRecorder();
    recorder.note(CHANGE);
    await clock.advance(LONGEST_PAUSE_MS);
    await answer('fail');
    await clock.advance(LONGEST_PAUSE_MS);
    expect(asked()).to.equal(2);
    await answer('store');
    expect(clock.sleeping).to.equal(0);
  });
});
