import { expect } from 'chai';
import { withDeadline } from '../../../lib/deadline.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('work with a deadline', () => {
  interface Begun {
    readonly signal?: AbortSignal;
    readonly more?: () => number;
  }

  function begin(clock: FakeClock, begun: Begun = {}) {
    const seen = { abortedAt: Number.NaN, why: '' };
    let finish = (): void => undefined;
    const work = (limited: AbortSignal): Promise<void> =>
      new Promise((resolve, reject) => {
        finish = resolve;
        limited.addEventListener('abort', () => {
          seen.abortedAt = clock.monotonic();
          seen.why = (limited.reason as Error).message;
          reject(limited.reason as Error);
        });
      });
    const reason = (ms: number) => new Error(`too late after ${ms}`);
    const done = withDeadline({ clock, milliseconds: 3000, reason, ...begun }, work);
    return { seen, done: done.catch(() => undefined), finish: () => finish() };
  }

  it('is aborted at its deadline, with the reason', async () => {
    const clock = new FakeClock();
    const { seen, done } = begin(clock);
    await clock.advance(2999);
    expect(seen.why).to.equal('');
    await clock.advance(1);
    await done;
    expect(seen).to.deep.equal({ abortedAt: clock.monotonic(), why: 'too late after 3000' });
    expect(clock.sleeping).to.equal(0);
  });

  it('gets more time for as long as there is more', async () => {
    const clock = new FakeClock();
    const rest = [500, 250, -1];
    const { seen, done } = begin(clock, { more: () => rest.shift() ?? Number.NaN });
    await clock.advance(3749);
    expect(seen.why).to.equal('');
    await clock.advance(1);
    await done;
    expect(seen.why).to.equal('too late after 3750');
    expect(rest).to.deep.equal([]);
  });

  it('asks for no more when only its timer was early', async () => {
    const clock = new FakeClock();
    const { seen, done } = begin(clock, { more: () => 0.6 });
    await clock.advance(3000);
    await done;
    expect(seen.why).to.equal('too late after 3000');
    expect(clock.sleeping).to.equal(0);
  });

  it('leaves no timer when it is done first', async () => {
    const clock = new FakeClock();
    const { seen, done, finish } = begin(clock);
    finish();
    await done;
    expect(clock.sleeping).to.equal(0);
    expect(seen.why).to.equal('');
  });

  it('is aborted with the outer signal', async () => {
    const clock = new FakeClock();
    const outer = new AbortController();
    const { seen, done } = begin(clock, { signal: outer.signal });
    await clock.advance(10);
    outer.abort(new Error('stopping'));
    await done;
    expect(seen.why).to.equal('stopping');
    expect(clock.sleeping).to.equal(0);
  });
});
