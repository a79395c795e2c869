import { expect } from 'chai';

import { ExchangeLock } from '../../../agent/exchange-lock.js';

describe('the exchange lock', () => {
  it('is held by one, in order of asking; who does not wait is told so', async () => {
    const lock = new ExchangeLock();
    const order: number[] = [];
    const release = lock.tryAcquire()!;
    const first = lock.run(async () => void order.push(1));
    const second = lock.run(async () => void order.push(2));
    expect(lock.tryAcquire()).to.equal(undefined);
    release();
    release();
    expect(lock.tryAcquire(), 'handed over to the first').to.equal(undefined);
    await Promise.all([first, second]);
    expect(order).to.deep.equal([1, 2]);
    expect(lock.tryAcquire()).to.be.a('function');
  });

  it('is free again after a failure', async () => {
    const lock = new ExchangeLock();
    await lock.run(() => Promise.reject(new Error('broken'))).catch(() => undefined);
    expect(lock.tryAcquire()).to.be.a('function');
  });
});
