import { expect } from 'chai';

import type { Exchanger } from '../../../agent/exchange.js';
import { ExchangeLock } from '../../../agent/exchange-lock.js';
import { HeartbeatLoop, type LoopDeps } from '../../../agent/heartbeat-loop.js';
import { createLog } from '../../../lib/log.js';
import { createSystemRandom } from '../../../lib/random.js';
import { FakeClock } from '../../support/fake-clock.js';

/** A heartbeat loop on a clock that stands still, with exchanges that a test decides about. */
function loopOf(exchange: (signal: AbortSignal, number: number) => Promise<void>) {
  const clock = new FakeClock();
  const seen = { attempts: 0, rebuilds: 0, signs: 0, failures: [] as (string | undefined)[] };
  const run = async ({ signal }: { signal: AbortSignal }) => {
    seen.attempts += 1;
    await exchange(signal, seen.attempts);
    return { nextContactBoot: clock.boot() + 60_000 };
  };
  const deps = {
    clock,
    random: createSystemRandom(),
    log: createLog({ name: 'test', level: 'silent' }),
    exchanger: {
      run,
      answer: (_connection: unknown, options: { signal: AbortSignal }) => run(options),
    } as unknown as Exchanger,
    state: { progress: { sequence: 1 }, note: async () => undefined },
    transport: { rebuild: () => (seen.rebuilds += 1) },
    directions: {
      dialsByItself: true,
      settle: async () => undefined,
      nextDialBoot: ({ orderedBoot }: { orderedBoot: number }) => orderedBoot,
    },
    lock: new ExchangeLock(),
    bootId: 'boot',
    intervalSeconds: () => 60,
    hasNews: () => false,
    onProgress: () => (seen.signs += 1),
    onExchange: (failure: string | undefined) => seen.failures.push(failure),
  } as unknown as LoopDeps;
  return { clock, seen, loop: new HeartbeatLoop(deps) };
}

const never = () => new Promise<void>(() => undefined);

describe('the watch over the heartbeat loop', () => {
  it('gives up an exchange that stands still, makes the transport anew, and goes on', async () => {
    let aborted = false;
    const { clock, seen, loop } = loopOf((signal, number) => {
      signal.addEventListener('abort', () => (aborted = true));
      return number === 1 ? never() : Promise.resolve();
    });
    loop.start();
    await clock.advance(59_000);
    expect([seen.attempts, seen.rebuilds, aborted]).to.deep.equal([1, 0, false]);
    await clock.advance(5000);
    expect([seen.rebuilds, aborted, seen.failures[0]]).to.deep.equal([1, true, 'timeout']);
    await clock.advance(60_000);
    expect(seen.attempts).to.be.at.least(2);
    expect([loop.contact, seen.failures.slice(0, 2)]).to.deep.equal(['online', ['timeout', undefined]]);
    await loop.abort();
  });

  it('lets go of the lock where an exchange that the manager began stands still', async () => {
    let isFirst = true;
    const { clock, seen, loop } = loopOf(() => {
      if (!isFirst) return Promise.resolve();
      isFirst = false;
      return never();
    });
    const answered = loop.answer({} as never)?.catch((error: { code: string }) => error.code);
    loop.start();
    // Beginning to wait for the lock was a step of its own.
    await clock.advance(66_000);
    expect(await answered).to.equal('timeout');
    await clock.advance(1000);
    expect([seen.attempts, seen.rebuilds]).to.deep.equal([2, 1]);
    await loop.abort();
  });

  it('makes the transport anew after five failures in a row, again and again', async () => {
    const { clock, seen, loop } = loopOf(() => Promise.reject(new Error('no')));
    loop.start();
    while (seen.attempts < 11) await clock.advance(10_000);
    expect(seen.rebuilds).to.equal(2);
    await loop.abort();
  });

  it('gives signs of life while it waits, and none while it stands still', async () => {
    const { clock, seen, loop } = loopOf((_signal, number) => (number === 2 ? never() : Promise.resolve()));
    loop.start();
    await clock.advance(1000);
    const before = seen.signs;
    await clock.advance(58_000);
    expect(seen.signs - before).to.be.within(1, 4);
    await clock.advance(2000);
    const during = seen.signs;
    await clock.advance(55_000);
    expect(seen.signs).to.equal(during);
    await clock.advance(30_000);
    expect(seen.signs).to.be.greaterThan(during);
    await loop.abort();
  });
});
